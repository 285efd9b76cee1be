"""The pictures that a gate remembers of one stream: which come back, and which are kept.

These are the rules of docs/gate.md, "Pictures that come back": integers only, so that every device
gives the same bits. ``turns.py`` calls them in the course of a push.

Letters: f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w, p cell side, M pictures.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

_MANY = 8  # more than one cell of so many are many
_GAIN = 4  # of the changed cells, at least one in so many must come back
_WHOLE = 4  # a picture is kept if at least one cell of so many can come back
_ALIKE = 8  # two pictures are one if fewer than one cell of so many differs


class Picture(NamedTuple):
    """A reference picture from the past."""

    pixels: Tensor  # [f, C, H, W] uint8
    tokens: Tensor  # [h, w] int64: the token of each cell; -1: the cell cannot come back
    used: int  # the number of the turn at which it was kept, or cells came from it
    shot: int  # the number of the turn that began its shot


class Remembered(NamedTuple):
    """What a gate remembers of one stream. It is never written to: each turn makes another."""

    pictures: tuple[Picture | None, ...]  # M
    whole: Tensor  # [h, w] bool: cells of the reference that show one token as it was encoded
    turns: int = 0  # so far
    shot: int = 0  # the number of the turn that began the shot at hand
    busy: bool = False  # many cells changed in the last frame
    quiet: int = 1 << 30  # frames since the last turn; it decides nothing, but how soon

    @classmethod
    def nothing(cls, count: int, like: Tensor) -> Self:
        """Makes the memory of a stream that has seen no frame, for ``count`` pictures.

        Args:
            like: ``[h, w]``, of any dtype.
        """
        return cls((None,) * count, torch.zeros_like(like, dtype=torch.bool))


class Choice(NamedTuple):
    """What comes back at a turn."""

    taken: Tensor  # [h, w] int64: 0, or 1 + the number of the picture that the cell comes from
    base: int  # 1 + the number of the picture that returns as a whole; 0: none does


def forget(remembered: tuple[Remembered, ...], streams: list[int]) -> tuple[Remembered, ...]:
    """Returns what is remembered of all streams when those with some numbers begin anew."""
    return tuple(
        Remembered.nothing(len(own.pictures), own.whole) if s in streams else own
        for s, own in enumerate(remembered)
    )


def most_changes(cells: int) -> int:
    """Returns how many of N cells may change in a frame before these are many."""
    return cells // _MANY


def whole_after(whole: Tensor, kind: Tensor, moved: int, changed: int) -> Tensor:
    """Returns which cells show one token as it was encoded, after some frames.

    Args:
        whole: ``[h, w]`` bool, the same before them.
        kind: ``[T, h, w]`` uint8, their kinds.
        moved, changed: the kinds of cells that have moved, and of those that were encoded.
    """
    one = torch.arange(1, len(kind) + 1, dtype=torch.int32, device=kind.device)[:, None, None]
    last_moved, last_new = (((kind == each) * one).amax(0) for each in (moved, changed))  # [h, w]
    return (last_new > last_moved) | (whole & (last_moved == 0))


def chosen(fits: Tensor, changed: Tensor, pictures: tuple[Picture | None, ...]) -> Choice | None:
    """Chooses what comes back at a turn; None: nothing does. Synchronises.

    Args:
        fits: ``[1 + M, h, w]`` bool: the cells that equal their place in the reference (first) or
            in a picture.
        changed: ``[h, w]`` bool: the cells that are encoded if nothing comes back.
        pictures: M.
    """
    counts = fits.flatten(1).sum(1).tolist()
    used = [0, *(-1 if each is None else each.used for each in pictures)]
    # The one that explains most cells comes first, among equals the reference, then the latest.
    order = sorted(range(len(counts)), key=lambda i: (-counts[i], i > 0, -used[i]))
    taken = torch.zeros_like(fits[0], dtype=torch.int64)  # [h, w]
    for i in reversed(order):
        taken = torch.where(fits[i], i, taken)
    gained, lost = torch.stack([(taken > 0) & changed, changed]).flatten(1).sum(1).tolist()
    return Choice(taken, order[0]) if gained and _GAIN * gained >= lost else None


def slot_for(new: Picture, now: Remembered, base: int) -> int | None:
    """Returns the number of the picture in whose place a new one is kept; None: it is not kept.

    Synchronises.

    Args:
        new: the reference before a turn.
        now: what was remembered before the turn.
        base: see ``Choice``.
    """
    cells = new.tokens.numel()
    can = new.tokens >= 0
    if _WHOLE * int(can.sum()) < cells:
        return None
    there = [(i, each) for i, each in enumerate(now.pictures) if each is not None]
    for i, each in there:
        same = int((can & (each.tokens == new.tokens)).sum())
        if _ALIKE * (cells - same) < cells:
            return i
    if base:
        return base - 1  # what returned is the reference now
    if len(there) < len(now.pictures):
        return now.pictures.index(None)
    own = [(i, each) for i, each in there if each.shot == new.shot]
    if 2 * len(own) >= len(there) and len(there) > 1:
        there = own  # one shot has at most half of the places
    return min(there, key=lambda pair: pair[1].used)[0]
