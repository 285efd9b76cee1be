"""What is remembered of every token that came in, by its name: in time that does not grow.

Letters: n names, c numbers of each, L names that are near at hand.
"""

import copy
from typing import Self

import torch
from torch import Tensor

_BLOCK = 1 << 16  # names


class Ledger:
    """``c`` whole numbers for each name 0, 1, 2, ..: appended to, read, and partly forgotten.

    Names are kept in blocks, so that what was appended before is never copied; those that will
    probably be asked for next are near at hand, however old they are.
    """

    def __init__(self, width: int) -> None:
        """``width``: c."""
        none = torch.zeros(0, width, dtype=torch.int64, device="cpu")
        self._near, self._near_rows = none.sum(1), none  # [L] ascending, [L, c]
        self._begin = 0  # the first name of the blocks
        self._blocks: list[Tensor] = []  # [_BLOCK, c] each, full
        self._last = none  # [less than _BLOCK, c]: those after the blocks

    @classmethod
    def of(cls, length: int, near: Tensor, near_rows: Tensor, rows: Tensor) -> Self:
        """One of so many names.

        Args:
            near: names ``[L]``, ascending: those that are near at hand.
            near_rows: what is known of them, ``[L, c]``.
            rows: what is known of the last n names, ``[n, c]``, n at most ``length``.
        """
        book = cls(rows.shape[1])
        book._begin = length - len(rows)
        book._near, book._near_rows = near, near_rows
        book.append(rows)
        return book

    @property
    def near(self) -> tuple[Tensor, Tensor]:
        """Names near at hand ``[L]``, and what is known of them ``[L, c]``."""
        return self._near, self._near_rows

    @property
    def begin(self) -> int:
        """The first name from which on every one is known, near at hand or not."""
        return self._begin

    def table(self) -> Tensor:
        """What is known of the names from ``begin`` on: ``[n, c]``."""
        return torch.cat([*self._blocks, self._last])

    @property
    def width(self) -> int:
        """c."""
        return self._last.shape[1]

    def __len__(self) -> int:
        """How many names there were, forgotten ones included."""
        return self._begin + len(self._blocks) * _BLOCK + len(self._last)

    def copy(self) -> Self:
        """One that goes on from here: what it is told is nothing to this one."""
        other = copy.copy(self)  # tensors are replaced, not written to
        other._blocks = list(self._blocks)
        return other

    def append(self, rows: Tensor) -> None:
        """Adds the rows of the next names, ``[n, c]`` int64."""
        rows = torch.cat([self._last, rows])
        whole = len(rows) // _BLOCK * _BLOCK
        self._blocks += [part.clone() for part in rows[:whole].split(_BLOCK)] if whole else []
        self._last = rows[whole:].clone() if whole else rows

    def rows(self, names: Tensor) -> Tensor:
        """What is known of names ``[..]`` int64, which are not forgotten: ``[.., c]``."""
        flat = names.flatten()
        out = self._last.new_empty(len(flat), self.width)
        near, at = self._find(flat)
        out[near] = self._near_rows[at[near]]
        far = (~near).nonzero().flatten()
        place = flat[far] - self._begin  # [n'] in the blocks
        if len(place) and int(place.min()) < 0:
            raise ValueError(f"token {int(flat[far[place.argmin()]])} is forgotten")
        block = place // _BLOCK
        for b in block.unique().tolist():
            own = (block == b).nonzero().flatten()
            of = self._blocks[b] if b < len(self._blocks) else self._last
            out[far[own]] = of[place[own] - b * _BLOCK]
        return out.view(*names.shape, self.width)

    def forgotten(self, names: Tensor) -> Tensor:
        """Which of ``names [..]`` int64 are not known any more, bool ``[..]``."""
        if not self._begin:
            return torch.zeros_like(names, dtype=torch.bool)
        near, _ = self._find(names)
        return (names < self._begin) & ~near

    def keep_near(self, names: Tensor, only: bool = False) -> Tensor:
        """These will be asked for next.

        Args:
            names: ``[n]`` int64, known.
            only: no others ever will: they are forgotten.

        Returns:
            What is known of them, in ascending order of names, ``[L, c]``.
        """
        wanted = names.unique()
        found = self.rows(wanted)
        near, rows = wanted, found
        if not only and self._begin:  # what no block has must stay here
            near = torch.cat([wanted, self._near[self._near < self._begin]]).unique()
            rows = self.rows(near)
        self._near, self._near_rows = near, rows
        if only:
            self._begin, self._blocks, self._last = len(self), [], self._last[:0].clone()
        return found

    def _find(self, names: Tensor) -> tuple[Tensor, Tensor]:
        """Which names are near, and where."""
        if not len(self._near):
            return torch.zeros_like(names, dtype=torch.bool), names
        at = torch.searchsorted(self._near, names).clamp(max=len(self._near) - 1)
        return self._near[at] == names, at


def checked_names(names: Tensor | None, tokens: int) -> Tensor | None:
    """Ids ``[n]`` int64 on the CPU, of so many tokens at most.

    Raises:
        TypeError, ValueError: no tensor of whole numbers, or of no token that came.
    """
    if names is None:
        return None
    if not isinstance(names, Tensor) or names.dtype not in (torch.int32, torch.int64):
        got = names.dtype if isinstance(names, Tensor) else type(names).__name__
        raise TypeError(f"names: expected int32 or int64 ids such as gate.picture_ids, got {got}")
    # In a picture, neighbours are mostly of one token.
    ids = names.detach().flatten().unique_consecutive().cpu().long().unique()
    if len(ids) and not 0 <= int(ids[0]) <= int(ids[-1]) < tokens:
        raise ValueError(
            f"names: expected ids of the {tokens} tokens so far, got {int(ids[0])}..{int(ids[-1])}"
        )
    return ids


def keep_named(cells: Ledger, shown: Tensor, names: Tensor | None) -> None:
    """What chunks to come will ask for: what is shown now, and ``names`` if no others can come.

    Raises:
        ValueError: one of these names was not among those of a push before.
    """
    wanted = shown.flatten() if names is None else torch.cat([names, shown.flatten()])
    gone = wanted[cells.forgotten(wanted)]
    if len(gone):
        raise ValueError(
            f"names: expected those of the push before and newer ones, got {int(gone[0])}"
        )
    if names is not None or cells.width:
        cells.keep_near(wanted, only=names is not None)
