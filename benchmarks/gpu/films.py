"""Films for the GPU's decoder, encoded once into a temporary folder."""

import functools
import tempfile
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
    path = folder() / f"large_{seconds}.mp4"
    with av.open(str(source)) as film:
        frames = list(film.decode(video=0))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options=dict(B_FRAMES))
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for index in range(seconds * 30):
            shown = frames[index % len(frames)].reformat(1920, 1080, "yuv420p")
            shown.pts, shown.time_base = index, Fraction(1, 30)
            out.mux(stream.encode(shown))
        out.mux(stream.encode(None))
    return path


def moving(name: str, codec: str, size: tuple[int, int], pixels: str = "yuv420p",
           frames: int = 24, options: dict[str, str] | None = None) -> Path:  # fmt: skip
    """A gradient that moves, in any codec and size."""
    path = folder() / name
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        for index in range(frames):
            y, x = np.mgrid[: size[1], : size[0]]
            grey = ((x * 2 + y * 3 + index * 7) % 200 + 20).astype(np.uint8)
            colour = np.stack([grey, 255 - grey, np.roll(grey, 9 * index, 1)], 2)
            frame = av.VideoFrame.from_ndarray(colour, "rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path
