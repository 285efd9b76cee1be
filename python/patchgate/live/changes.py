"""Where a camera's picture changed: rectangles of cells, in the pixels of its own frames.

Letters: h w cells.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from patchgate.gate import CHANGED
from patchgate.grid import Placement


class Box(NamedTuple):
    """A rectangle in pixels of a camera's frames: from (left, top) to before (right, bottom)."""

    left: int
    top: int
    right: int
    bottom: int


def boxes_of(
    kind: Tensor, place: tuple[Placement, Placement], picture: tuple[int, int]
) -> list[Box]:
    """Returns the rectangles around changed cells that touch, in the order of their top left cells.

    Cells touch if they share a side or a corner. Rectangles that overlap are joined.

    Args:
        kind: ``[h, w]`` uint8 on the CPU, what the gate calls each cell.
        place: where the resized picture lies on the grid, down and across.
        picture: (height, width) of the frames in pixels.
    """
    changed = {(row, column) for row, column in (kind == CHANGED).nonzero().tolist()}
    found: list[tuple[int, int, int, int]] = []  # top, left, bottom, right, in cells
    while changed:
        group, todo = [], [min(changed)]
        changed.remove(todo[0])
        while todo:
            row, column = todo.pop()
            group.append((row, column))
            near = [(row + dy, column + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            todo += [cell for cell in near if cell in changed]
            changed.difference_update(near)
        rows, columns = zip(*group, strict=True)
        found.append((min(rows), min(columns), max(rows) + 1, max(columns) + 1))
    sides = kind.shape
    return [_in_pixels(each, sides, place, picture) for each in _apart(found)]


def _apart(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Joins rectangles until none overlap."""
    done: list[tuple[int, int, int, int]] = []
    for box in boxes:
        while other := next((each for each in done if _overlap(each, box)), None):
            done.remove(other)
            box = (min(box[0], other[0]), min(box[1], other[1]),
                   max(box[2], other[2]), max(box[3], other[3]))  # fmt: skip
        done.append(box)
    return sorted(done)


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    down = one[0] < other[2] and other[0] < one[2]
    return down and one[1] < other[3] and other[1] < one[3]


def _in_pixels(
    box: tuple[int, int, int, int],
    sides: tuple[int, ...],
    place: tuple[Placement, Placement],
    picture: tuple[int, int],
) -> Box:
    edges = []
    for axis in (0, 1):
        where, pixels = place[axis], picture[axis]
        cell, scale = where.size / sides[axis], pixels / where.resized
        first = math.floor((box[axis] * cell + where.offset) * scale)
        last = math.ceil((box[axis + 2] * cell + where.offset) * scale)
        edges.append((min(max(first, 0), pixels - 1), max(min(last, pixels), 1)))
    (top, bottom), (left, right) = edges
    return Box(left, top, right, bottom)
