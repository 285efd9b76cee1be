"""What the tests of the report and the overlay share: clips of known content and a page of one."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np

SIZE, CELL = (112, 112), 14
GATE = ("--size", "112")


def lossless(path: Path, frames: Iterable[np.ndarray], rate: int = 10) -> Path:
    """Writes RGB frames ``[H, W, 3]`` so that they come back as they were."""
    with av.open(str(path), "w") as out:
        stream = None
        for shown in frames:
            if stream is None:
                stream = out.add_stream("libx264rgb", rate=rate, options={"qp": "0"})
                stream.height, stream.width = shown.shape[:2]
                stream.pix_fmt = "rgb24"
            out.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        out.mux(stream.encode(None))
    return path


def story(count: int = 40) -> Iterable[np.ndarray]:
    """Noise that stands still and fades; cell (2, 5) is new in every frame; a cut at the half."""
    random = np.random.default_rng(0)
    scenes = random.integers(60, 160, (2, *SIZE, 3))
    for t in range(count):
        shown = (scenes[int(t >= count // 2)] + t % (count // 2)).astype(np.uint8)
        shown[2 * CELL : 3 * CELL, 5 * CELL : 6 * CELL] = (t * 37) % 256
        yield shown


def fade(count: int = 60) -> Iterable[np.ndarray]:
    """One grey level a frame."""
    for t in range(count):
        yield np.full((*SIZE, 3), 60 + t, np.uint8)


def dimmed(count: int = 24) -> Iterable[np.ndarray]:
    """Noise by a lamp that goes down by a fiftieth of its light a frame; a word appears at half."""
    scene = np.random.default_rng(1).integers(60, 220, (*SIZE, 3)).astype(np.float64)
    for t in range(count):
        if t == count // 2:
            scene[CELL : 2 * CELL, : 3 * CELL] = 255 - scene[CELL : 2 * CELL, : 3 * CELL]
        yield (scene * (1 - 0.02 * t)).round().astype(np.uint8)
