"""From what a scene drew to the items that are true of it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reading.truth import Box, Item, Size

from .typeset import Word, meet

Film = NDArray[np.uint8]  # [T, H, W, 3]
Scene = tuple[Film, list[Item]]  # what a scene gives


def still(word: Word, group: str, first: int, end: int) -> Item:
    """A word that stands from frame ``first`` until before ``end``."""
    return moving(word, group, first, np.tile(word.box, (end - first, 1)))


def moving(
    word: Word,
    group: str,
    first: int,
    boxes: NDArray[np.floating],  # [n, 4]
    visible: NDArray[np.bool_] | None = None,  # [n]
) -> Item:
    """A word with its boxes over time."""
    seen = np.ones(len(boxes), bool) if visible is None else visible
    text = word.setting
    return Item(text.text, "text", group, first, boxes.astype(np.float32), seen, text.glyphs)


def hide(items: list[Item], cover: NDArray[np.floating]) -> list[Item]:
    """Items behind something with a box ``[T, 4]`` in every frame of the clip."""
    return [_hidden(item, meet(item.boxes, _during(item, cover))) for item in items]


def inside(items: list[Item], area: Box) -> list[Item]:
    """Items that can be seen through a window only."""
    low, high = np.array(area[:2]), np.array(area[2:])
    return [
        _hidden(item, ((item.boxes[:, :2] < low) | (item.boxes[:, 2:] > high)).any(axis=1))
        for item in items
    ]


def seen(items: list[Item], size: Size) -> list[Item]:
    """Items that are whole in the picture at some time."""
    height, width = size
    return [item for item in inside(items, (0, 0, width, height)) if item.visible.any()]


def _hidden(item: Item, hidden: NDArray[np.bool_]) -> Item:
    return replace(item, visible=item.visible & ~hidden)


def _during(item: Item, of_clip: NDArray[np.floating]) -> NDArray[np.floating]:
    return of_clip[item.first : item.first + len(item.boxes)]
