"""Keeps a few numbers of every token that came in, by its name; access time does not grow.

Letters: n names, c numbers of each name.
"""

import copy
from typing import Self

import torch
from torch import Tensor

_BLOCK = 1 << 16  # names


class Ledger:
    """Has c whole numbers for each name 0, 1, 2, ...; names are appended, read, and forgotten.

    Names are kept in blocks, so that earlier ones are never copied. Those that will probably be
    asked for next are in a small table beside the blocks, however old they are: the near ones.
    """

    def __init__(self, width: int) -> None:
        """``width``: c."""
        none = torch.zeros(0, width, dtype=torch.int64, device="cpu")
        self._near, self._near_rows = none.sum(1), none  # [near] ascending, [near, c]
        self._begin = 0  # the first name of the blocks
        self._blocks: list[Tensor] = []  # [_BLOCK, c] each, full
        self._last = none  # [less than _BLOCK, c]: those after the blocks

    @classmethod
    def of(cls, length: int, near: Tensor, near_rows: Tensor, rows: Tensor) -> Self:
        """Makes a ledger of ``length`` names.

        Args:
            length: the number of names, with forgotten ones.
            near: ``[near]`` int64, ascending: the near names.
            near_rows: ``[near, c]`` int64, their numbers.
            rows: ``[n, c]`` int64, the numbers of the last n names.
        """
        book = cls(rows.shape[1])
        book._begin = length - len(rows)
        book._near, book._near_rows = near, near_rows
        book.append(rows)
        return book

    @property
    def near(self) -> tuple[Tensor, Tensor]:
        """The near names ``[near]``, and their numbers ``[near, c]``."""
        return self._near, self._near_rows

    @property
    def begin(self) -> int:
        """The first name from which on all names are in the blocks."""
        return self._begin

    def table(self) -> Tensor:
        """Returns the numbers of all names from ``begin`` on: ``[n, c]``."""
        return torch.cat([*self._blocks, self._last])

    @property
    def width(self) -> int:
        """The count of numbers of each name, c."""
        return self._last.shape[1]

    def __len__(self) -> int:
        """The number of names, with forgotten ones."""
        return self._begin + len(self._blocks) * _BLOCK + len(self._last)

    def copy(self) -> Self:
        """Returns a copy; what happens to it does not change this one."""
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
        """Returns the numbers of names ``[...]`` int64: ``[..., c]``.

        Raises:
            ValueError: a name is forgotten.
        """
        flat = names.flatten()
        out = self._last.new_empty(len(flat), self.width)
        near, at = self._find(flat)
        out[near] = self._near_rows[at[near]]
        far = (~near).nonzero().flatten()
        place = flat[far] - self._begin  # their places in the blocks
        if len(place) and int(place.min()) < 0:
            raise ValueError(f"token {int(flat[far[place.argmin()]])} is forgotten")
        block = place // _BLOCK
        for b in block.unique().tolist():
            own = (block == b).nonzero().flatten()
            of = self._blocks[b] if b < len(self._blocks) else self._last
            out[far[own]] = of[place[own] - b * _BLOCK]
        return out.view(*names.shape, self.width)

    def forgotten(self, names: Tensor) -> Tensor:
        """Returns which of ``names`` ``[...]`` int64 are forgotten, ``[...]`` bool."""
        if not self._begin:
            return torch.zeros_like(names, dtype=torch.bool)
        near, _ = self._find(names)
        return (names < self._begin) & ~near

    def keep_near(self, names: Tensor, only: bool = False) -> Tensor:
        """Makes names the near ones.

        Args:
            names: ``[n]`` int64, not forgotten.
            only: forget all others, because they will never be asked for.

        Returns:
            The numbers of these names, each once, in ascending order: ``[near, c]``.
        """
        wanted = names.unique()
        found = self.rows(wanted)
        near, rows = wanted, found
        if not only and self._begin:  # names that are in no block must stay in the table
            near = torch.cat([wanted, self._near[self._near < self._begin]]).unique()
            rows = self.rows(near)
        self._near, self._near_rows = near, rows
        if only:
            self._begin, self._blocks, self._last = len(self), [], self._last[:0].clone()
        return found

    def _find(self, names: Tensor) -> tuple[Tensor, Tensor]:
        """Returns which names are near, and their places in the table."""
        if not len(self._near):
            return torch.zeros_like(names, dtype=torch.bool), names
        at = torch.searchsorted(self._near, names).clamp(max=len(self._near) - 1)
        return self._near[at] == names, at


def checked_names(names: Tensor | None, tokens: int) -> Tensor | None:
    """Checks ids of tokens; returns them ``[n]`` int64 on the CPU, each once.

    Raises:
        TypeError: they are not a tensor of int32 or int64.
        ValueError: an id is not in 0..tokens - 1.
    """
    if names is None:
        return None
    if not isinstance(names, Tensor) or names.dtype not in (torch.int32, torch.int64):
        got = names.dtype if isinstance(names, Tensor) else type(names).__name__
        raise TypeError(f"names: expected int32 or int64 ids such as gate.picture_ids, got {got}")
    # In a picture, adjacent pixels mostly have one token.
    ids = names.detach().flatten().unique_consecutive().cpu().long().unique()
    if len(ids) and not 0 <= int(ids[0]) <= int(ids[-1]) < tokens:
        raise ValueError(
            f"names: expected ids of the {tokens} tokens so far, got {int(ids[0])}..{int(ids[-1])}"
        )
    return ids


def keep_named(cells: Ledger, shown: Tensor, names: Tensor | None) -> None:
    """Keeps the names that later chunks will ask for near: shown ones and, if given, ``names``.

    If ``names`` is given, all others are forgotten.

    Raises:
        ValueError: a name is forgotten already.
    """
    wanted = shown.flatten() if names is None else torch.cat([names, shown.flatten()])
    gone = wanted[cells.forgotten(wanted)]
    if len(gone):
        raise ValueError(
            f"names: expected those of the push before and newer ones, got {int(gone[0])}"
        )
    if names is not None or cells.width:
        cells.keep_near(wanted, only=names is not None)
