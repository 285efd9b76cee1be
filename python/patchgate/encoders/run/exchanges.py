"""Plans the scan over time (see ``waking``): which tokens exchange which keys in each frame.

The plan needs integers only, and is made for all frames at once.

Letters: T frames, M tokens of a frame, W windows of a frame, S remembered slots, c exchanged keys
of all frames, H heads, d features of a head.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.encoders.run.slots import Slots


class Inherited(NamedTuple):
    """The tokens that do not inherit from their own place in the frame before, and their sources.

    Outputs that tokens inherit from older frames are in a table: rows of the S remembered slots,
    then those of the saved tokens, frame after frame.
    """

    near: list[Tensor]  # per frame: tokens that inherit from another place in the frame before
    column: list[Tensor]  # per frame: these places
    far: list[Tensor]  # per frame: tokens that inherit from an older frame
    place: list[Tensor]  # per frame: their rows in the table
    saved: list[Tensor]  # per frame: tokens from which later frames inherit
    strange: Tensor  # [T, M] bool: those that inherit from an older frame
    parent: Tensor  # [T, M] int64: the place in the frame before, of those that are not strange

    @classmethod
    def of(cls, slots: Slots) -> Self:
        frames, tokens = slots.parent.shape
        own = arange(tokens, device=slots.parent.device)
        start = slots.earlier + tokens * arange(-1, frames - 1, device=own.device)[:, None]
        start[0] = 0  # the last frame of the run before comes first
        column = slots.parent - start
        strange = (column < 0) | (column >= tokens)
        column = torch.where(strange, own, column)
        elsewhere = column != own
        late = slots.parent[strange]
        saved = late[late >= slots.earlier].unique()
        place = torch.where(
            slots.parent < slots.earlier,
            slots.parent,
            slots.earlier + torch.searchsorted(saved, slots.parent),
        )
        frame, token = (saved - slots.earlier) // tokens, (saved - slots.earlier) % tokens
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
    cu_tokens: Tensor  # [T, W + 1] int32: where each window's tokens end
    changed: list[Tensor]  # per frame: rows that occur more or less often than before
    weight: list[Tensor]  # per frame: by how much
    cu_changed: Tensor  # [T, W + 1] int32: where each window's rows end
    renewed: list[Tensor]  # per frame: tokens that attend to all keys again
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
        """Plans exchanges for tokens whose window changed some of its keys, but not all.

        A token attends to all keys again if its window changed as many keys as it has, or if the
        token inherits from an older frame or another window, so that it has no sums.
        """
        size = window.bincount()  # [W]
        last = torch.cat([before[None], row[:-1]])
        group, changed, weight = _exchanged(last, row, window)
        counts = group.bincount(minlength=len(row) * len(size)).view(len(row), -1)  # [T, W]
        homeless = inherited.strange | (window[inherited.parent] != window)
        renewed = ~active & (homeless | (counts >= size)[:, window])
        some = ~active & ~renewed & (counts > 0)[:, window]
        order = window.argsort(stable=True)
        tokens = torch.zeros_like(counts).index_add(1, window, some.to(counts.dtype))  # [T, W]
        lengths = counts.sum(1).tolist()
        return cls(
            [order[column] for column in by_frame(some[:, order])],
            _ends(tokens),
            list(changed.split(lengths)),
            list(weight.to(dtype).split(lengths)),
            _ends(counts),
            by_frame(renewed),
            int((tokens * counts).sum()),
        )


def by_frame(mask: Tensor) -> list[Tensor]:
    """Lists the set tokens of each frame of ``[T, M]`` bool, ascending."""
    return list(mask.nonzero()[:, 1].split(mask.sum(1).tolist()))


def _exchanged(old: Tensor, new: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Finds rows that a window shows more or less often than before, and by how much.

    Args:
        old, new: ``[T, M]`` int64, the row of each token in the frame before and in the frame.
        window: ``[M]`` int64.

    Returns:
        Group (frame times W + window), row and weight, ``[c]`` each, in order of groups.
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
    """Returns running sums from 0, ``[T, W + 1]`` int32."""
    return torch.nn.functional.pad(counts.cumsum(1), (1, 0)).int()
