"""The pictures that a gate remembers of one stream: which come back, and which are kept.

These are the rules of docs/gate.md, "Pictures that come back": integers only, so that every device
gives the same bits. ``turns.py`` calls them in the course of a push. Only pixels are on the gate's
device. All that is decided with is on the host, in numpy: a few hundred cells are no work for
torch, whose calls would take longer than the gate does.

Letters: f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w, M pictures.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from patchgate.gate.settings import CHANGED, MOVED

Flags = NDArray[np.bool_]
Ids = NDArray[np.int64]
Bytes = NDArray[np.uint8]

_MANY = 8  # more than one cell of so many are many
_GAIN = 4  # of the changed cells, at least one in so many must come back
_WHOLE = 4  # a picture is kept if at least one cell of so many can come back
_NOTED = 64  # pushes before their frames are looked at
_ALIKE = 8  # two pictures are one if fewer than one cell of so many differs


class Picture(NamedTuple):
    """A reference picture from the past."""

    pixels: Tensor  # [f, C, H, W] uint8
    glance: Bytes  # [4, h, w]: four samples of each cell, see ``fitting.glance``
    tokens: Ids  # [h, w]: the token of each cell; -1: the cell cannot come back
    used: int  # the number of the turn at which it was kept, or cells came from it
    shot: int  # the number of the turn that began its shot


class Remembered(NamedTuple):
    """What a gate remembers of one stream. It is never written to: each turn makes another."""

    pictures: tuple[Picture | None, ...]  # M
    before: Flags  # [h, w]: cells of the reference that showed one token as it was encoded, when
    turns: int = 0  # so far
    shot: int = 0  # the number of the turn that began the shot at hand
    busy: bool = False  # many cells changed in the last frame
    since: tuple[bytes, ...] = ()  # frames of these kinds were still to come, h * w bytes of each

    @property
    def whole(self) -> Flags:
        """Cells of the reference that show one token as it was encoded, ``[h, w]``."""
        if not self.since:
            return self.before
        kinds = np.frombuffer(b"".join(self.since), np.uint8)
        return whole_after(self.before, kinds.reshape(-1, *self.before.shape))

    def followed(self, kind: Bytes, busy: bool) -> Self:
        """Returns what is remembered after frames of these kinds ``[T, h, w]``.

        Args:
            busy: many cells changed in the last.
        """
        # A frame is noted as bytes, and looked at when it is wanted: this is done for every frame.
        new = self._replace(since=(*self.since, kind.tobytes()), busy=busy)
        return new if len(new.since) < _NOTED else new.settled()

    def settled(self) -> Self:
        """Returns the same, with all frames looked at."""
        return self._replace(before=self.whole, since=())

    @classmethod
    def nothing(cls, count: int, grid: tuple[int, ...]) -> Self:
        """Makes the memory of a stream that has seen no frame, for ``count`` pictures.

        Args:
            grid: ``(h, w)``.
        """
        return cls((None,) * count, np.zeros(grid, np.bool_))


class Choice(NamedTuple):
    """What comes back at a turn."""

    taken: Ids  # [h, w]: 0, or 1 + the number of the picture that the cell comes from
    base: int  # 1 + the number of the picture that returns as a whole; 0: none does


def forget(remembered: tuple[Remembered, ...], streams: list[int]) -> tuple[Remembered, ...]:
    """Returns what is remembered of all streams when those with some numbers begin anew."""
    return tuple(
        Remembered.nothing(len(own.pictures), own.whole.shape) if s in streams else own
        for s, own in enumerate(remembered)
    )


def are_many(count: int, cells: int) -> bool:
    """Whether so many of N cells are many."""
    return count > cells // _MANY


def whole_after(whole: Flags, kind: Bytes) -> Flags:
    """Returns which cells show one token as it was encoded, after some frames.

    Args:
        whole: ``[h, w]``, the same before them.
        kind: ``[T, h, w]``, their kinds.
    """
    if len(kind) == 1:  # as below, in few calls
        return (whole & (kind[0] != MOVED)) | (kind[0] == CHANGED)
    told = (kind == MOVED) | (kind == CHANGED)  # [T, h, w]
    last = kind[::-1][np.argmax(told[::-1], 0), *np.indices(whole.shape)]  # [h, w]
    return np.where(told.any(0), last == CHANGED, whole)


def chosen(fits: Flags, changed: Flags, pictures: tuple[Picture | None, ...]) -> Choice | None:
    """Chooses what comes back at a turn; None: nothing does.

    Args:
        fits: ``[1 + M, h, w]``: the cells that equal their place in the reference (first) or in a
            picture.
        changed: ``[h, w]``: the cells that are encoded if nothing comes back.
        pictures: M.
    """
    counts = [int(np.count_nonzero(own)) for own in fits]
    used = [0, *(-1 if each is None else each.used for each in pictures)]
    # The one that explains most cells comes first, among equals the reference, then the latest.
    order = sorted(range(len(counts)), key=lambda i: (-counts[i], i > 0, -used[i]))
    taken = np.zeros(changed.shape, np.int64)  # [h, w]
    for i in reversed(order):
        taken[fits[i]] = i
    gained, lost = (int(np.count_nonzero(own)) for own in ((taken > 0) & changed, changed))
    return Choice(taken, order[0]) if gained and _GAIN * gained >= lost else None


def slot_for(tokens: Ids, shot: int, now: Remembered, base: int) -> int | None:
    """Returns the number of the picture in whose place a new one is kept; None: it is not kept.

    Args:
        tokens: ``[h, w]``, the new one's: of the reference before a turn. shot: its shot.
        now: what was remembered before the turn.
        base: see ``Choice``.
    """
    can = tokens >= 0
    if _WHOLE * int(np.count_nonzero(can)) < can.size:
        return None
    there = [(i, each) for i, each in enumerate(now.pictures) if each is not None]
    for i, each in there:
        same = int(np.count_nonzero(can & (each.tokens == tokens)))
        if _ALIKE * (can.size - same) < can.size:
            return i
    if base:
        return base - 1  # what returned is the reference now
    if len(there) < len(now.pictures):
        return now.pictures.index(None)
    own = [(i, each) for i, each in there if each.shot == shot]
    if 2 * len(own) >= len(there) and len(there) > 1:
        there = own  # one shot has at most half of the places
    return min(there, key=lambda pair: pair[1].used)[0]
