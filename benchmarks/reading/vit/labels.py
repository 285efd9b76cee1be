"""What the reader is asked to say of a picture, and how a string is read back from what it says.

A token of 16 x 16 pixels has 2 x 2 sub-cells; text is set so that no two glyphs have their centres
in one. The label of a sub-cell is the glyph whose ink centre lies in it, and that glyph's index in
its word: the index depends on the glyphs to its left, most of them in other tokens.

Letters: n items, g glyphs, R C rows and columns of sub-cells, L indices, G classes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reading.truth import LONGEST, NUMERALS, SHAPES, SMALL, Box, Item

PATCH = 16
GRID = SMALL[0] // PATCH  # tokens a side
DOWN, ACROSS = 2, 2  # sub-cells of a token
ROWS, COLUMNS = GRID * DOWN, GRID * ACROSS
HEIGHT, WIDTH = PATCH / DOWN, PATCH / ACROSS  # of a sub-cell in pixels

CLASSES = ("", *NUMERALS, *SHAPES)  # 0: blank
CLASS = {name: number for number, name in enumerate(CLASSES)}
TEXT = slice(1, 1 + len(NUMERALS))
SHAPE = slice(TEXT.stop, len(CLASSES))
IGNORE = -1  # the index of a shape
BLUR = 4.0  # pixels


@dataclass(frozen=True)
class Marks:
    """The glyphs and shapes of one picture as arrays."""

    box: NDArray[np.float32]  # [n, 4] of each item: left, top, right, bottom
    seen: NDArray[np.bool_]  # [n] may be asked about; cells of the others are not judged
    item: NDArray[np.int64]  # [g] the item of each glyph
    centre: NDArray[np.float32]  # [g, 2] of its ink: x, y
    name: NDArray[np.int64]  # [g] in CLASSES
    index: NDArray[np.int64]  # [g] in its word; IGNORE for a shape

    @classmethod
    def of(cls, items: Sequence[Item], frame: int) -> Self:
        """What ``items`` show in a frame; those not to be read are not ``seen``."""
        shown = [i for i in items if 0 <= frame - i.first < len(i.boxes)]
        boxes = [i.boxes[frame - i.first] for i in shown]
        seen = [bool(i.visible[frame - i.first]) for i in shown]
        which, centre, name, index = [], [], [], []
        for number, (item, box) in enumerate(zip(shown, boxes, strict=True)):
            words = [item.text] if item.kind == "shape" else item.text
            glyphs = np.array([[0, 0, 1, 1]]) if item.kind == "shape" else item.glyphs
            which += [number] * len(words)
            centre.append(box[:2] + (glyphs[:, :2] + glyphs[:, 2:]) / 2 * (box[2:] - box[:2]))
            name += [CLASS[word] for word in words]
            index += [IGNORE] if item.kind == "shape" else range(len(words))
        return cls(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(seen, np.bool_),
            np.array(which, np.int64),
            np.concatenate([np.empty((0, 2)), *centre]).astype(np.float32),
            np.array(name, np.int64),
            np.array(index, np.int64),
        )

    def moved(self, right: int, down: int) -> "Marks":
        """Everything elsewhere by so many pixels."""
        way = np.array([right, down], np.float32)
        return replace(self, box=self.box + np.tile(way, 2), centre=self.centre + way)

    def cropped(self, left: int, top: int) -> "Marks":
        """In the SMALL picture whose top left lies there; what is cut by its edge is not seen."""
        moved = self.moved(-left, -top)
        whole = (moved.box[:, :2] >= 0).all(1) & (moved.box[:, 2:] <= SMALL[::-1]).all(1)
        return replace(moved, seen=self.seen & whole)

    def spelled(self, item: int) -> str:
        """What an item says."""
        return "".join(CLASSES[name] for name in self.name[self.item == item])

    def targets(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The share of each glyph ``[R, C, G]`` and index ``[R, C, L]`` in every sub-cell.

        All of a sub-cell that shows no glyph is blank; one that is not judged has no share of
        anything. A centre is as wide as ``BLUR``: where it is to a pixel is hard to see, and on
        the line between two sub-cells it belongs to both.
        """
        glyph = np.zeros((ROWS, COLUMNS, len(CLASSES)), np.float32)
        index = np.zeros((ROWS, COLUMNS, LONGEST), np.float32)
        hidden = np.zeros((ROWS, COLUMNS), np.bool_)
        for left, top, right, bottom in self.box[~self.seen]:
            hidden[_span(top, bottom, HEIGHT), _span(left, right, WIDTH)] = True
        shown = self.seen[self.item]
        x, y = self.centre[shown].T
        name, number = self.name[shown], self.index[shown]
        counted = number != IGNORE
        for row, down in _parts(y, HEIGHT, ROWS):
            for column, across in _parts(x, WIDTH, COLUMNS):
                share = down * across
                np.add.at(glyph, (row, column, name), share)
                place = row[counted], column[counted], number[counted]
                np.add.at(index, place, share[counted])
        judged = ~hidden | glyph.any(2)
        glyph[..., 0] = judged * (1 - glyph.sum(2)).clip(0)
        return glyph, index


def _span(low: float, high: float, side: float) -> slice:
    """The sub-cells that an interval touches."""
    return slice(max(int(low // side), 0), max(int(-(-high // side)), 0))


def _parts(
    centre: NDArray[np.float32], side: float, most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The two sub-cells that centres may be in, and how much of each centre is."""
    first = ((centre - BLUR / 2) // side).astype(np.int64)
    second = ((centre + BLUR / 2 - side * (first + 1)) / BLUR).clip(0, 1)
    yield first.clip(0, most - 1), 1 - second
    yield (first + 1).clip(0, most - 1), second


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
