"""Films for the GPU's decoder, and what PyAV says of their frames. Both are made once and kept: in
what was carried here, else in a temporary folder.
"""

import functools
import hashlib
import json
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from commit import ROOT

import patchgate
from patchgate import FrameBatch

CARRIED = ROOT / "build" / "gpu-carry" / "films"
LARGE = "large.mp4"


class Film(NamedTuple):
    """How a film is encoded, and how it is read."""

    codec: str = "libx264"
    size: tuple[int, int] = (320, 240)
    pixels: str = "yuv420p"
    frames: int = 24
    options: dict[str, str] = {"preset": "veryfast", "bf": "3", "g": "12"}  # noqa: RUF012
    read: dict[str, Any] = {}  # noqa: RUF012 (keywords of open_video)


_OPEN_GOPS = {"x264-params": "bframes=3:keyint=12:min-keyint=12:open-gop=1:scenecut=0"}
FILMS = {
    "b.mp4": Film(),
    "b.mkv": Film(),
    "b.ts": Film(),
    "odd.webm": Film("libvpx-vp9", (321, 241), options={}),
    "deep.mp4": Film("libx265", pixels="yuv420p10le", options={"x265-params": "log-level=none"}),
    # The key packet that is sought is no IDR picture.
    "open.mkv": Film(frames=48, options=_OPEN_GOPS, read={"start": 1.2}),
}


@functools.cache
def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="patchgate-films-"))


def film(name: str, folder: Path | None = None) -> Path:
    """One of ``FILMS``, or ``large.mp4``.

    Args:
        folder: where it is, or is made; None: where it was carried to, else a temporary one.
    """
    if folder is None:
        folder = CARRIED if (CARRIED / name).exists() else _temporary()
    path = folder / name
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f"unfinished-{name}"
        if name in FILMS:  # also where a rehearsal takes one of them for the large one
            moving(unfinished, FILMS[name])
        else:
            _large(unfinished)
        unfinished.rename(path)
    return path


def _large(path: Path, seconds: int = 20) -> None:
    """The NASA film of examples/clips, again and again, 1920 x 1080, H.264 with B-frames."""
    import av

    source = ROOT / "examples" / "clips" / "torchcodec_nasa_13013.mp4"
    with av.open(str(source)) as container:
        frames = list(container.decode(video=0))
    with av.open(str(path), "w") as out:
        options = {"preset": "veryfast", "crf": "23", "bf": "3", "g": "60"}
        stream = out.add_stream("libx264", rate=30, options=options)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index in range(seconds * 30):
            shown = frames[index % len(frames)].reformat(1920, 1080, "yuv420p")
            shown.pts, shown.time_base = index, Fraction(1, 30)
            out.mux(stream.encode(shown))
        out.mux(stream.encode(None))


def moving(path: Path, made: Film) -> None:
    """A gradient that moves, in any codec and size."""
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream(made.codec, rate=25, options=dict(made.options))
        stream.width, stream.height = made.size
        stream.pix_fmt = made.pixels
        for index in range(made.frames):
            y, x = np.mgrid[: made.size[1], : made.size[0]]
            grey = ((x * 2 + y * 3 + index * 7) % 200 + 20).astype(np.uint8)
            colour = np.stack([grey, 255 - grey, np.roll(grey, 9 * index, 1)], 2)
            frame = av.VideoFrame.from_ndarray(colour, "rgb24").reformat(format=made.pixels)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


TOLD = ("pts_seconds", "duration_seconds", "key_frame", "Y", "Cb", "Cr")


def told(batches: Iterable[FrameBatch]) -> list[list[Any]]:
    """What is known of every frame: its stamps, and hashes of its planes (``TOLD``)."""
    found = []
    for batch in batches:
        planes = [plane.cpu().contiguous().numpy() for plane in batch.planes]
        for i in range(len(batch)):
            hashes = [hashlib.sha256(plane[i].tobytes()).hexdigest()[:16] for plane in planes]
            stamps = [float(batch.pts_seconds[i]), float(batch.duration_seconds[i])]
            found.append([*stamps, bool(batch.key_frame[i]), *hashes])
    return found


def told_by_pyav(path: Path) -> list[list[Any]]:
    """What PyAV says of one of ``FILMS``, as written beside it or, if it is not, now."""
    beside = path.with_name(f"{path.name}.json")
    if not beside.exists():
        with patchgate.open_video(path, **FILMS[path.name].read) as video:
            beside.write_text(json.dumps(told(video)))
    return list(json.loads(beside.read_text()))
