"""The positions of a prompt whose videos show kept cells only: m-RoPE of Qwen3-VL and Qwen2.5-VL.

A kept cell stands where it stands in the whole grid, and what is left out leaves its place empty:
the positions are those that the same cells have in the dense prompt.

Letters: L ids of the prompt, T tubelets, h w cells, K ids of a part.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange, whole

_ROUNDING = 1e-4  # a time that should be whole must not fall below it by the rounding of a stamp


class Shown(NamedTuple):
    """An image or a video of a prompt."""

    offset: int  # its first id in the prompt
    mask: Tensor  # [T, h, w] bool: the cells that the prompt shows; of an image all of one frame
    # The ids of each tubelet's time in words, [T]; None: an image, or a model without such words.
    words: Sequence[int] | None = None
    places: Sequence[int] | None = None  # [T]: Qwen2.5-VL's position in time of each tubelet


class Places:
    """Positions of a prompt, part after part."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []  # [3, K] each
        self.next = 0

    def text(self, ids: int) -> None:
        """Adds ids that take one position each."""
        if ids < 0:
            raise ValueError(f"positions: the prompt has {-ids} ids less than its parts")
        self._parts.append((arange(ids) + self.next).expand(3, -1))
        self.next += ids

    def cells(self, mask: Tensor, places: Sequence[int] | None = None, extent: int = 0) -> None:
        """Adds the cells of a mask ``[T, h, w]`` in order; then skips ``extent`` positions."""
        frame, row, column = mask.nonzero().unbind(1)
        time = frame if places is None else whole(places)[frame]
        self._parts.append(torch.stack([time, row, column]) + self.next)
        self.next += extent

    def skip(self, positions: int) -> None:
        """Leaves out positions."""
        self.next += positions

    def result(self, ids: int) -> tuple[Tensor, int]:
        """Returns the positions ``[3, L]`` int64, and by how much the next one exceeds L."""
        places = torch.cat(self._parts, 1)
        if places.shape[1] != ids:
            raise ValueError(f"positions: the prompt has {ids} ids, its parts {places.shape[1]}")
        return places, self.next - ids


def qwen3_positions(ids: Sequence[int], items: Iterable[Shown], begin: int) -> tuple[Tensor, int]:
    """Makes Qwen3-VL's positions. Each frame with tokens has its time in words before it.

    Args:
        ids: the prompt.
        items: its images and videos, in any order.
        begin: the id of the mark where vision begins.

    Returns:
        ``[3, L]`` int64, and the number that is added to L for the position of the next id.

    Raises:
        ValueError: the prompt does not have the ids of these items.
    """
    places, at = Places(), 0
    for item in sorted(items, key=lambda each: each.offset):
        extent = max(item.mask.shape[1:])
        places.text(item.offset - at)
        at = item.offset
        if item.words is None:
            places.cells(item.mask, extent=extent)
            at += int(item.mask.sum())
            continue
        counts = item.mask.flatten(1).sum(1).tolist()
        for frame, count, words in zip(item.mask, counts, item.words, strict=True):
            if not count:
                places.skip(words + 2 + extent)
                continue
            first = ids.index(begin, at) + 1
            places.text(first - at)
            places.cells(frame[None], extent=extent)
            places.text(1)  # the mark where vision ends
            at = first + count + 1
    places.text(len(ids) - at)
    return places.result(len(ids))


def qwen25_positions(ids: Sequence[int], items: Iterable[Shown]) -> tuple[Tensor, int]:
    """Makes Qwen2.5-VL's positions. Time is a coordinate, and a video is one run of tokens.

    Args:
        ids: the prompt.
        items: its images and videos, in any order.

    Returns:
        ``[3, L]`` int64, and the number that is added to L for the position of the next id. As in
        vLLM, what follows a video begins after its largest coordinate, time included; transformers
        5.17 and later leave time out of it.
    """
    places, at = Places(), 0
    for item in sorted(items, key=lambda each: each.offset):
        places.text(item.offset - at)
        last = 0 if item.places is None else item.places[-1]
        extent = max(last + 1, *item.mask.shape[1:])
        places.cells(item.mask, item.places, extent)
        at = item.offset + int(item.mask.sum())
    places.text(len(ids) - at)
    return places.result(len(ids))


def clock_places(seconds: Sequence[float], tokens_per_second: float) -> list[int]:
    """Returns Qwen2.5-VL's positions in time of tubelets that begin at these seconds."""
    return [int((each - seconds[0]) * tokens_per_second + _ROUNDING) for each in seconds]


def even_places(tubelets: int, step: float) -> list[int]:
    """Returns the same of tubelets at even distances: as vLLM, rounded down without tolerance."""
    return [int(t * step) for t in range(tubelets)]
