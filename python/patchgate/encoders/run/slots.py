"""Slots find whose state each token of each frame shows: its own, or one that it inherits.

A *slot* is a token's place in a frame. Slots are numbered: first the remembered ones, 0 to S - 1
(those of the last frame, then one per source that later frames may still name), then those of this
run, frame by frame. Each slot has a parent, which is the same in all layers. In a layer in which
its token is active, a slot shows its own row; in any other layer it shows the row of its parent.

Letters: T frames of a run, N cells, M = prefix + N tokens of a frame, S remembered slots, I
remembered sources, K kept cells, A active tokens, r remembered rows.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from patchgate._tensors import arange


@dataclass(frozen=True)
class Slots:
    """The slots of a run."""

    earlier: int  # S
    parent: Tensor  # [T, M] int64: the slot that a token inherits from
    last: Tensor  # [I + K] int64: the last slot that shows each source

    @classmethod
    def of(cls, source: Tensor, moved: Tensor, prefix: int, remembered: int, new: int) -> Self:
        """Follows every source through the run.

        Args:
            source: ``[T, N]`` int64, each cell's source as an index into the I + K sources.
            moved: ``[T, N]`` bool: cells that were not kept and have another source than in the
                frame before.
            prefix: prefix tokens of a frame.
            remembered: I. S is M + I, or 0 if nothing is remembered.
            new: K.
        """
        (frames, n), device = source.shape, source.device
        tokens = prefix + n
        earlier = tokens + remembered if remembered else 0
        last = torch.zeros(remembered + new, dtype=torch.int64, device=device)
        last[:remembered] = tokens + arange(remembered, device=device)
        own = arange(frames * tokens, device=device).view(frames, tokens) + earlier
        # A still token inherits from the frame before; of what is remembered that comes first.
        parent = torch.cat([arange(tokens, device=device)[None], own[:-1]])
        moves = moved.any(1).tolist()
        for t in range(frames):
            if moves[t]:
                parent[t, prefix:][moved[t]] = last[source[t][moved[t]]]
            # If several cells show a source, the first one represents it.
            last.scatter_reduce_(0, source[t], own[t, prefix:], "amin", include_self=False)
        return cls(earlier, parent, last)

    def rows(self, active: Tensor, remembered: Tensor, count: int) -> Tensor:
        """Returns the row of a layer's table that every slot of the run shows, ``[T, M]`` int64.

        Args:
            active: ``[T, M]`` bool.
            remembered: ``[S]`` int64, the rows of the remembered slots.
            count: r. The A rows of active slots follow the remembered ones, in order.
        """
        flat = active.flatten()
        own = arange(len(flat), device=flat.device) + self.earlier
        root = torch.where(flat, own, self.parent.flatten())
        for _ in range(len(active).bit_length()):  # every step doubles the distance
            here = root >= self.earlier
            root = torch.where(here, root[(root - self.earlier).clamp(min=0)], root)
        table = torch.cat([remembered, flat.cumsum(0) - 1 + count])  # [S + T * M]
        return table[root].view_as(active)

    def remembered(self, sources: Tensor) -> Tensor:
        """Returns the slots to keep for the next run: the last frame's, then one per source.

        Args:
            sources: int64, the sources that the next run remembers.
        """
        frames, tokens = self.parent.shape
        here = arange(tokens, device=sources.device) + self.earlier + (frames - 1) * tokens
        return torch.cat([here, self.last[sources]])
