"""Static, moved and changed cells, and where things moved, drawn over a frame.

Letters: H W pixels shown, h w cells, n blocks of cells.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from patchgate.gate import CHANGED, MOVED, RETURNED
from patchgate.gate.settings import Kind
from patchgate.tokens.notebook import CHANGED_COLOUR, MOVED_COLOUR, RETURNED_COLOUR

_SHORTEST = 0.25  # pixels: the mean of vectors that cancel points nowhere
_HEAD = 0.38  # of an arrow's length


def hex_of(rgb: tuple[int, int, int]) -> str:
    """Writes a colour as CSS and matplotlib do."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def overlay(rgb: Tensor, kind: Tensor) -> np.ndarray:
    """Draws the frame in grey, with changed and moved cells in colour.

    Args:
        rgb: ``[3, H, W]`` uint8.
        kind: ``[h, w]`` uint8.

    Returns:
        ``[H, W, 3]`` uint8.
    """
    grey = rgb.float().mean(0).round().byte()
    return tinted(grey.numpy(), kind.numpy())


def tinted(grey: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Colours the cells of a grey frame ``[H, W]`` uint8 of any size; returns ``[H, W, 3]``."""
    rows, columns, edge = _cell_of_pixel(grey.shape, kind.shape)
    shade = kind[rows[:, None], columns] * np.uint8(2) + edge  # [H, W]
    return _shades().take(shade * np.intp(256) + grey, axis=0)  # (twice as fast as two indices)


@lru_cache(maxsize=8)
def _cell_of_pixel(
    pixels: tuple[int, int], cells: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the row ``[H]`` and column ``[W]`` of each pixel's cell; cells' edges ``[H, W]``."""
    rows, columns = (np.arange(n) * k // n for n, k in zip(pixels, cells, strict=True))
    begins = [np.diff(index, prepend=-1) > 0 for index in (rows, columns)]
    return rows, columns, begins[0][:, None] | begins[1]


@lru_cache(maxsize=1)
def _shades() -> np.ndarray:
    """Makes the table of colours, ``[(kind * 2 + edge) * 256 + grey, 3]`` uint8."""
    grey = np.arange(256.0)[:, None]
    shades = np.empty((2 * len(Kind), 256, 3))
    shades[:] = 90 + 0.45 * grey
    colours = ((MOVED, MOVED_COLOUR), (CHANGED, CHANGED_COLOUR), (RETURNED, RETURNED_COLOUR))
    for kind, colour in colours:
        shades[2 * kind] = 0.40 * grey + 0.60 * np.array(colour)
        shades[2 * kind + 1] = 0.75 * shades[2 * kind]
    return shades.round().astype(np.uint8).reshape(-1, 3)


class Arrow(NamedTuple):
    """An arrow that shows where something moved, in pixels shown."""

    x: float  # the middle
    y: float
    dx: float
    dy: float


def arrows(
    kind: np.ndarray, motion: np.ndarray, size: tuple[int, int], cell: int, reach: int, apart: float
) -> Iterator[Arrow]:
    """Makes one arrow for every block of cells in which some moved: the mean of their motion.

    Args:
        kind: ``[h, w]``.
        motion: ``[h, w, 2]``, (dy, dx) in pixels to the place where a cell came from.
        size: ``(H, W)`` of the picture shown.
        cell: the side of a cell in pixels of the grid.
        reach: the reach of the motion search. A motion of this length makes an arrow as long as a
            block. Arrows are as long as the root of the motion, so that slow motion is still seen.
        apart: the least distance between arrows, in pixels shown.
    """
    y, x = np.nonzero(kind == MOVED)
    if not len(y):
        return
    tall, wide = size[0] / kind.shape[0], size[1] / kind.shape[1]  # pixels shown per cell
    side = max(1, int(np.ceil(apart / min(tall, wide))))  # of a block, in cells
    across = -(-kind.shape[1] // side)
    block = np.unique(y // side * across + x // side, return_inverse=True)[1]
    count = np.bincount(block)  # [n]
    way = -motion[y, x].astype(np.float64)
    dy, dx, middle_y, middle_x = (
        np.bincount(block, values) / count for values in (way[:, 0], way[:, 1], y + 0.5, x + 0.5)
    )
    enough = (count >= side) & (np.hypot(dy, dx) >= _SHORTEST)  # a stray cell is no motion
    longest = side * min(tall, wide)
    for b in np.nonzero(enough)[0]:
        across_x, across_y = dx[b] * wide / cell, dy[b] * tall / cell  # pixels shown
        length = longest * min(1.0, np.hypot(dy[b], dx[b]) / max(reach, 1)) ** 0.5
        scale = length / np.hypot(across_x, across_y)
        yield Arrow(middle_x[b] * wide, middle_y[b] * tall, across_x * scale, across_y * scale)


def draw_arrows(image: Image.Image, shown: Iterator[Arrow]) -> None:
    """Draws the arrows in white on black, so that they are seen on any picture."""
    pen = ImageDraw.Draw(image)
    stroke = max(1, round(min(image.size) / 300))
    for x, y, dx, dy in shown:
        tip, tail = (x + dx / 2, y + dy / 2), (x - dx / 2, y - dy / 2)
        back = (tip[0] - _HEAD * dx, tip[1] - _HEAD * dy)
        wing = (-_HEAD * 0.7 * dy, _HEAD * 0.7 * dx)
        barbs = [(back[0] + side * wing[0], back[1] + side * wing[1]) for side in (1, -1)]
        for colour, width in (("black", stroke + 2), ("white", stroke)):
            pen.line([tail, tip], fill=colour, width=width)
            pen.line([barbs[0], tip, barbs[1]], fill=colour, width=width, joint="curve")


def shown_size(aspect: float, longest: int) -> tuple[int, int]:
    """Returns ``(H, W)`` of about this aspect (W / H). Both are even, as video codecs want them."""
    width, height = (longest, longest / aspect) if aspect >= 1 else (longest * aspect, longest)
    return max(2, round(height / 2) * 2), max(2, round(width / 2) * 2)
