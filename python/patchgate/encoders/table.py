"""The tokens that cells can refer to, addressed by the gate's token ids: a cache with pages of one.

Letters: T frames, N cells of a frame, F frames that keep a cell, R packed rows, A rows from earlier
calls, E numbers of a token.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from patchgate.encoders.packing import Segments


@dataclass(frozen=True)
class TokenTable:
    """Rows: the last frame's prefix tokens, then the patches in order of their ids."""

    prefix: int
    ids: Tensor  # [A - prefix] int64, ascending; those that a later frame can still name
    emitted: int = 0  # tokens since the stream began: the next token's id
    rows: dict[str, Tensor] = field(default_factory=dict)  # name -> [A, E]
    pooled: Tensor | None = None  # [1, D] of the last frame that kept a cell

    @classmethod
    def empty(cls, prefix: int, device: torch.device) -> Self:
        return cls(prefix, torch.empty(0, dtype=torch.int64, device=device))

    def joined(self, new: dict[str, Tensor]) -> dict[str, Tensor]:
        """The earlier rows and this call's, ``[A + R, E]`` by name."""
        if not self.rows or not new:
            return self.rows or new
        return {name: torch.cat([self.rows[name], new[name]]) for name in new}

    def index(self, source: Tensor, segments: Segments, last: Tensor) -> Tensor:
        """Which joined row each token of the dense output shows, ``[T, prefix + N]`` int64.

        Args:
            source: ``[T, N]`` int64 ids. segments: of this call's rows.
            last: ``[T]`` int64, the last segment so far; -1: it was in an earlier call.
        """
        earlier = self.prefix + len(self.ids) if self.rows else 0  # A
        row = source.new_empty(source.shape)
        own = source >= self.emitted
        row[own] = earlier + segments.patch_row[source[own] - self.emitted]
        row[~own] = self.prefix + torch.searchsorted(self.ids, source[~own])
        if not self.prefix:
            return row
        within = torch.arange(self.prefix, device=source.device)
        start = torch.cat([segments.start + earlier, segments.start.new_zeros(1)])  # last: -1
        return torch.cat([start[last][:, None] + within, row], 1)

    def pooled_of(self, new: Tensor | None, last: Tensor) -> Tensor | None:
        """Each frame's pooled output ``[T, D]``, from those of this call ``[F, D]``."""
        if new is None:
            return None
        if self.pooled is not None:
            new, last = torch.cat([self.pooled, new]), last + 1
        return new[last]

    def after(
        self,
        joined: dict[str, Tensor],
        index: Tensor,
        segments: Segments,
        live: Tensor,
        pooled: Tensor | None,
    ) -> Self:
        """The table for the next call: of the patches only those with a ``live`` id, ascending."""
        earlier = self.prefix + len(self.ids) if self.rows else 0
        own = live >= self.emitted
        row = torch.cat(
            [
                index[-1, : self.prefix],
                self.prefix + torch.searchsorted(self.ids, live[~own]),
                earlier + segments.patch_row[live[own] - self.emitted],
            ]
        )
        return replace(
            self,
            ids=live,
            emitted=self.emitted + len(segments.patch_row),
            rows={name: rows.detach()[row] for name, rows in joined.items()},
            pooled=None if pooled is None else pooled.detach()[-1:],
        )
