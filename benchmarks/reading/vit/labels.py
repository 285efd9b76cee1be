"""What the reader says of a picture, and how a string is read back from it.

A token of 16 x 16 pixels has 2 x 2 sub-cells; text is set so that no two glyphs have their centres
in one. The label of a sub-cell is the glyph whose ink centre lies in it, and that glyph's index in
its word: the index depends on the glyphs to its left, most of them in other tokens.

Letters: R C rows and columns of sub-cells, L indices, G classes.
"""

from math import ceil, floor

import torch
from torch import Tensor

from reading.truth import NUMERALS, SHAPES, SMALL, Box

PATCH = 16
GRID = SMALL[0] // PATCH  # tokens a side
DOWN, ACROSS = 2, 2  # sub-cells of a token
ROWS, COLUMNS = GRID * DOWN, GRID * ACROSS
HEIGHT, WIDTH = PATCH / DOWN, PATCH / ACROSS  # of a sub-cell in pixels

CLASSES = ("", *NUMERALS, *SHAPES)  # 0: blank
TEXT = slice(1, 1 + len(NUMERALS))
SHAPE = slice(TEXT.stop, len(CLASSES))


def read_text(glyph: Tensor, index: Tensor, box: Box) -> str:
    """The string in a box: at each index the glyph that the sub-cells there give most weight.

    The weight of a glyph at an index is how many of them the sub-cells expect, so that a glyph
    on the line between two sub-cells, half seen by each, counts once. An index that nobody or
    more than one claims reads "?": nothing is sorted or guessed by position.

    Args:
        glyph: ``[R, C, G]`` probabilities. index: ``[R, C, L]`` probabilities.
    """
    cells = _inside(box)
    expected = torch.einsum("rcg,rcl->lg", glyph[cells][..., TEXT], index[cells])  # [L, letters]
    count = expected.sum(1)  # [L]
    claimed = (count > 0.5).nonzero().flatten().tolist()
    length = claimed[-1] + 1 if claimed else 0
    best = expected.argmax(1).tolist()
    once = ((count > 0.5) & (count < 1.5)).tolist()
    return "".join(NUMERALS[best[i]] if once[i] else "?" for i in range(length))


def read_shape(glyph: Tensor, box: Box) -> str:
    """The shape that the sub-cells in a box give most weight; nothing below one half."""
    expected = glyph[_inside(box)][..., SHAPE].sum((0, 1))
    best = int(expected.argmax())
    return SHAPES[best] if float(expected[best]) > 0.5 else ""


def _inside(box: Box) -> tuple[slice, slice]:
    """The sub-cells whose middle is in a box or just beside it: a quarter of a sub-cell, for the
    centre of a glyph at its edge lies that far inside; more if the box is smaller than one."""
    left, top, right, bottom = box
    return _middles(top, bottom, HEIGHT), _middles(left, right, WIDTH)


def _middles(low: float, high: float, side: float) -> slice:
    margin = max(side / 4, (side - (high - low)) / 2)
    first, end = ((x / side - 0.5) for x in (low - margin, high + margin))
    return slice(max(ceil(first), 0), max(floor(end) + 1, 0))
