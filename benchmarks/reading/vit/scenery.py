"""Frames of coded clips, so that the reader knows what it will be asked to read."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reading.clips import footage
from reading.truth import SMALL, Split
from reading.vit.labels import Marks
from reading.vit.pages import SIDE

EDGE = (SIDE - SMALL[0]) // 2  # pixels around a frame, so that it too can be shown elsewhere


def frames(
    scene: str, split: Split, seed: int, seconds: float, count: int
) -> Iterator[tuple[NDArray[np.uint8], Marks]]:
    """Some frames of a clip, as ``pages.page``: pictures ``[SIDE, SIDE, 3]`` and what they show."""
    shown = footage(scene, split, seed, SMALL, seconds)
    rng = np.random.default_rng(seed)
    for t in rng.choice(len(shown.planes), count, replace=False):
        picture = shown.rgb(int(t)).permute(1, 2, 0).numpy()
        around = np.pad(picture, ((EDGE, EDGE), (EDGE, EDGE), (0, 0)), "edge")
        yield around, Marks.of(shown.truth.items, int(t)).moved(EDGE, EDGE)
