"""Plans the scan over time (see ``waking``): which tokens exchange which keys in each frame.

The plan needs integers only, and is made for all frames at once.

Letters: T frames, M tokens of a frame, W windows of a frame, S remembered slots, c exchanged keys
of all frames, f far inheritances, H heads, d features of a head.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.encoders.run.slots import Slots


class Inherited(NamedTuple):
    """Which tokens inherit from elsewhere than their own place in the frame before, and whence."""

    near: list[Tensor]  # per frame: tokens that were elsewhere in the frame before
    column: list[Tensor]  # where they were
    far: list[Tensor]  # per frame: tokens that come from an older frame
    place: list[Tensor]  # their rows in a table of S + f rows
    saved: list[Tensor]  # per frame: tokens that later frames inherit, its rows of that table
    strange: Tensor  # [T, M] bool: those that come from an older frame
    parent: Tensor  # [T, M] int64: columns of the frame before, where not strange

    @classmethod
    def of(cls, slots: Slots) -> Self:
        frames, m = slots.parent.shape
        own = arange(m, device=slots.parent.device)
        start = slots.earlier + m * arange(-1, frames - 1, device=own.device)[:, None]
        start[0] = 0  # the last frame of the run before comes first
        column = slots.parent - start
        strange = (column < 0) | (column >= m)
        column = torch.where(strange, own, column)
        elsewhere = column != own
        late = slots.parent[strange]
        saved = late[late >= slots.earlier].unique()
        place = torch.where(
            slots.parent < slots.earlier,
            slots.parent,
            slots.earlier + torch.searchsorted(saved, slots.parent),
        )
        frame, token = (saved - slots.earlier) // m, (saved - slots.earlier) % m
        return cls(
            by_frame(elsewhere),
            list(column[elsewhere].split(elsewhere.sum(1).tolist())),
            by_frame(strange),
            list(place[strange].split(strange.sum(1).tolist())),
            list(token.split(frame.bincount(minlength=frames).tolist())),
            strange,
            column,
        )


@dataclass(frozen=True)
class Exchanges:
    """The tokens of each frame whose keys changed, and which keys these are."""

    token: list[Tensor]  # per frame: those that exchange keys, window after window
    cu_tokens: Tensor  # [T, W + 1] int32: where each window's end
    changed: list[Tensor]  # per frame: rows that occur more or less often than before
    weight: list[Tensor]  # by how much
    cu_changed: Tensor  # [T, W + 1] int32
    anew: list[Tensor]  # per frame: tokens that attend anew to all keys
    pairs: int  # queries times exchanged keys

    @classmethod
    def of(
        cls,
        active: Tensor,  # [T, M]
        row: Tensor,  # [T, M]
        before: Tensor,  # [M]: the rows of the frame before
        window: Tensor,  # [M]
        inherited: Inherited,
        dtype: torch.dtype,
    ) -> Self:
        """Plans exchanges for tokens whose window changed some of its keys, but not all. A token
        attends anew if its window changed as many keys as it has, or if its sums are elsewhere.
        """
        size = window.bincount()  # [W]
        last = torch.cat([before[None], row[:-1]])
        group, changed, weight = _exchanged(last, row, window)
        counts = group.bincount(minlength=len(row) * len(size)).view(len(row), -1)  # [T, W]
        homeless = inherited.strange | (window[inherited.parent] != window)
        anew = ~active & (homeless | (counts >= size)[:, window])
        some = ~active & ~anew & (counts > 0)[:, window]
        order = window.argsort(stable=True)
        tokens = torch.zeros_like(counts).index_add(1, window, some.to(counts.dtype))  # [T, W]
        lengths = counts.sum(1).tolist()
        return cls(
            [order[column] for column in by_frame(some[:, order])],
            _ends(tokens),
            list(changed.split(lengths)),
            list(weight.to(dtype).split(lengths)),
            _ends(counts),
            by_frame(anew),
            int((tokens * counts).sum()),
        )


def by_frame(mask: Tensor) -> list[Tensor]:
    """Lists the set tokens of each frame of ``[T, M]`` bool, ascending."""
    return list(mask.nonzero()[:, 1].split(mask.sum(1).tolist()))


def _exchanged(old: Tensor, new: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finds rows ``[c]`` that a window shows more or less often than before, and by how much.

    Args:
        old, new: ``[T, M]`` int64.

    Returns:
        Group (frame times W + window), row and weight, in order of groups.
    """
    frame, token = (old != new).nonzero().unbind(1)
    group = frame * (int(window.max()) + 1) + window[token]
    rows = torch.stack([old[frame, token], new[frame, token]])
    most = int(rows.max()) + 1 if rows.numel() else 1
    each, inverse = (group * most + rows).unique(return_inverse=True)
    sign = each.new_tensor([[-1], [1]]).expand(rows.shape)
    weight = torch.zeros_like(each).index_add(0, inverse.flatten(), sign.flatten())
    left = weight != 0
    return each[left] // most, each[left] % most, weight[left]


def _ends(counts: Tensor) -> Tensor:
    """``[T, W + 1]`` int32, running sums from 0."""
    return torch.nn.functional.pad(counts.cumsum(1), (1, 0)).int()
