"""What is left of a clip's cells, and what each other one is known as.

Letters: T frames, h w cells, N = h * w, M = T * N, D features.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Choice(NamedTuple):
    """Which cells are tokens, and which token stands for every other cell.

    Cells are numbered over the whole clip, frame after frame, row after row: ``t * N + cell``.
    """

    source: Tensor  # [T, h, w] or [T, N] int64: the token of each cell; its own: kept; -1: none
    mean: bool = False  # a token is the mean of all that it stands for, not the cell of its name

    @classmethod
    def of(cls, keep: Tensor) -> "Choice":
        """The choice of a mask ``[T, ...]``: the others are known as what was kept last at their
        place.
        """
        return cls(held(keep))

    @property
    def keep(self) -> Tensor:
        """``[T, ...]`` bool: the cells that are tokens."""
        return self.source == numbered(self.source)

    @property
    def tokens(self) -> int:
        """How many there are. Synchronises."""
        return int(self.keep.sum())

    @property
    def token_ids(self) -> Tensor:
        """``source`` as positions in the packed kept cells: what ``GatedTower.encode`` takes."""
        ids = self.keep.flatten().cumsum(0) - 1  # [M]
        return torch.where(self.source < 0, -1, ids[self.source.clamp(min=0)])

    def sizes(self) -> Tensor:
        """``[T, ...]`` int64: how many cells each token stands for; 0 where there is none."""
        known = self.source.flatten()
        counts = torch.bincount(known[known >= 0], minlength=known.numel())
        return counts.view(self.source.shape)

    def shown(self, features: Tensor) -> Tensor:
        """What is known of every cell, ``[T, N, D]``, from the features of all; 0 where nothing is.

        Args:
            features: ``[T, N, D]``, or ``[T, h, w, D]``, of the dense tower.
        """
        source = self.source.flatten()  # [M]
        table = features.reshape(len(source), -1)  # [M, D]
        known = source >= 0
        if self.mean:
            sums = torch.zeros_like(table).index_add_(0, source[known], table[known])
            table = sums / self.sizes().flatten().clamp(min=1)[:, None]
        seen = table[source.clamp(min=0)] * known[:, None]
        return seen.view(features.shape)


def numbered(like: Tensor) -> Tensor:
    """The cells' numbers, in the shape of ``like``."""
    return torch.arange(like.numel(), device=like.device).view(like.shape)


def held(keep: Tensor) -> Tensor:
    """The sources of a mask ``[T, ...]``: the last kept cell at the same place.

    Before the first one, it is the next (a receiver of the whole clip has it); -1: none is kept.
    """
    frames = len(keep)
    index = torch.arange(frames, device=keep.device).view(-1, *[1] * (keep.ndim - 1))
    last = torch.where(keep, index, -1).cummax(0).values  # [T, ...]
    following = torch.where(keep, index, frames).flip(0).cummin(0).values.flip(0)  # [T, ...]
    frame = torch.where(last >= 0, last, torch.where(following < frames, following, -1))
    place = numbered(keep[0])
    return torch.where(frame >= 0, frame * keep[0].numel() + place, -1)
