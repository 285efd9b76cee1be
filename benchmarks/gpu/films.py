"""Films for the GPU's decoder, encoded once into a temporary folder."""

import functools
import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import harness
import numpy as np

B_FRAMES = {"preset": "veryfast", "crf": "23", "bf": "3", "g": "60"}


@functools.cache
def folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="patchgate-films-"))


@functools.cache
def large(seconds: int) -> Path:
    """The NASA film of examples/clips, again and again, 1920 x 1080, H.264 with B-frames."""
    source = harness.ROOT / "examples" / "clips" / "torchcodec_nasa_13013.mp4"
    with av.open(str(source)) as film:
        frames = list(film.decode(video=0))
    pictures = (frames[i % len(frames)].reformat(1920, 1080) for i in range(seconds * 30))
    return _written(f"large_{seconds}.mp4", "libx264", (1920, 1080), pictures, 30, B_FRAMES)


def moving(name: str, codec: str, size: tuple[int, int], frames: int = 24,
           options: dict[str, str] | None = None) -> Path:  # fmt: skip
    """A gradient that moves, in any codec and size."""
    y, x = np.mgrid[: size[1], : size[0]]

    def picture(index: int) -> av.VideoFrame:
        grey = ((x * 2 + y * 3 + index * 7) % 200 + 20).astype(np.uint8)
        colour = np.stack([grey, 255 - grey, np.roll(grey, 9 * index, 1)], 2)
        return av.VideoFrame.from_ndarray(colour, "rgb24")

    return _written(name, codec, size, map(picture, range(frames)), 25, options or {})


def _written(name: str, codec: str, size: tuple[int, int], pictures: Iterable[av.VideoFrame],
             rate: int, options: dict[str, str]) -> Path:  # fmt: skip
    path = folder() / name
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=dict(options))
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        for index, picture in enumerate(pictures):
            shown = picture.reformat(format="yuv420p")
            shown.pts, shown.time_base = index, Fraction(1, rate)
            out.mux(stream.encode(shown))
        out.mux(stream.encode(None))
    return path
