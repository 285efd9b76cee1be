"""Text that fades in slowly: no frame differs much from the one before."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reading.truth import Item, Size

from .backdrop import backdrop
from .record import Film, Scene, moving, seen
from .typeset import face, lines, theme, vocabulary

READABLE = 0.6  # of its contrast


def fade(rng: np.random.Generator, size: Size, frames: int, fps: int) -> Scene:
    """Every line fades in over 2 to 4 seconds, from a moment of its own."""
    height, width = size
    colours, style = theme(rng), face(rng, size)
    filled = lines(rng, vocabulary(rng, size), style, colours, (12, 10, width - 6, height - 6))
    paper = backdrop(rng, size, colours.paper)
    written = paper.copy()
    start, lasts = rng.uniform(0, 1.5 * fps, len(filled)), rng.uniform(2, 4, len(filled)) * fps
    share = np.clip((np.arange(frames)[:, None] - start) / lasts, 0, 1)  # [T, lines]
    items: list[Item] = []
    for line, (words, shown) in enumerate(zip(filled, share.T, strict=True)):
        first = int(start[line]) + 1
        for word in words:
            word.draw(written)
            boxes = np.tile(word.box, (max(0, frames - first), 1))
            items.append(moving(word, "fade", first, boxes, shown[first:] >= READABLE))
    tops = [round(words[0].top + words[0].setting.rise) - 2 for words in filled]
    return _mixed(paper, written, share, [*tops, height]), seen(items, size)


def _mixed(
    paper: Image.Image,
    written: Image.Image,
    share: NDArray[np.floating],  # [T, lines]
    bounds: list[int],  # [lines + 1]
) -> Film:
    """[T, H, W, 3]: the lines between ``bounds`` at their share of the ink."""
    start = np.asarray(paper, np.float32)
    ink = np.asarray(written, np.float32) - start
    film = np.empty((len(share), *start.shape), np.uint8)
    film[:] = np.asarray(paper)
    for line, (top, bottom) in enumerate(pairwise(bounds)):
        for t, part in enumerate(share[:, line]):
            film[t, top:bottom] = np.rint(start[top:bottom] + part * ink[top:bottom])
    return film
