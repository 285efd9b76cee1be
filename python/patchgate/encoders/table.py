"""The tokens that cells can refer to, by the gate's token ids: a cache with pages of one token.

Letters: T frames, N cells of a frame, F frames that keep a cell, K kept patches, A rows of earlier
calls, R rows of this one, E numbers of a token.
"""

from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.encoders.packing import Segments


@dataclass(frozen=True)
class TokenTable:
    """Before a call: what is left of earlier ones. ``grown`` by it, it can show its frames;
    ``pruned`` after it, it is ready for the next.
    """

    prefix: int
    ids: Tensor  # [A - prefix] int64, ascending: patches of earlier calls
    emitted: int = 0  # tokens before this call: its first one's id
    rows: dict[str, Tensor] = field(default_factory=dict)  # name -> [A (+ R), E]
    pooled: Tensor | None = None  # [1, D] of the last frame that kept a cell
    made_with: tuple[torch.dtype, torch.device] | None = None  # the tower's weights
    shown: Tensor | None = None  # [T, prefix + N] int64: the row that each token shows
    segments: Segments | None = None  # of this call
    last: Tensor | None = None  # [T] int64: the last segment so far; -1: of an earlier call

    @classmethod
    def empty(cls, prefix: int, device: torch.device) -> Self:
        return cls(prefix, torch.empty(0, dtype=torch.int64, device=device))

    def grown(self, new: dict[str, Tensor], segments: Segments, source: Tensor) -> Self:
        """With the rows of this call.

        Args:
            new: ``[R, E]`` by name; empty if no cell was kept.
            source: ``[T, N]`` int64, the token id that explains each cell.
        """
        frames = torch.arange(len(source), device=source.device)
        last = torch.searchsorted(segments.frame, frames, right=True) - 1
        rows = self.rows or new
        if self.rows and new:
            rows = {name: torch.cat([self.rows[name], new[name]]) for name in new}
        patches = self._row_of(source.flatten(), segments).view_as(source)
        start = torch.cat([segments.start + self._earlier, segments.start.new_zeros(1)])
        prefix = start[last][:, None] + torch.arange(self.prefix, device=source.device)
        return replace(
            self,
            rows=rows,
            shown=torch.cat([prefix, patches], 1),
            segments=segments,
            last=last,
        )

    def show(self, name: str, frames: Tensor | None = None) -> Tensor:
        """``[T, prefix + N, E]``: every token of this call's frames (or of some of them)."""
        assert self.shown is not None
        return _ops.expand(self.rows[name], self.shown if frames is None else self.shown[frames])

    def pooled_frames(self, new: Tensor | None) -> Tensor | None:
        """Each frame's pooled output ``[T, D]``, from those of its segments ``[F, D]``, if any."""
        assert self.last is not None
        if new is None:
            return None if self.pooled is None else self.pooled.expand(len(self.last), -1).clone()
        if self.pooled is None:
            return new[self.last]
        return torch.cat([self.pooled.to(new.dtype), new])[self.last + 1]

    def pruned(self, ids: Tensor, pooled: Tensor | None, weight: Tensor) -> Self:
        """For the next call: of the patches only those with these ids, ascending.

        Args:
            pooled: ``[T, D]`` of this call. weight: of the tower.
        """
        assert self.shown is not None
        assert self.segments is not None
        keep = torch.cat([self.shown[-1, : self.prefix], self._row_of(ids, self.segments)])
        return replace(
            self,
            ids=ids,
            emitted=self.emitted + len(self.segments.patch_row),
            rows={name: rows.detach()[keep] for name, rows in self.rows.items()},
            pooled=None if pooled is None else pooled.detach()[-1:],
            made_with=(weight.dtype, weight.device),
            shown=None,
            segments=None,
            last=None,
        )

    def check_same(self, weight: Tensor, names: list[str]) -> None:
        """Raises if this call cannot go on from the one before."""
        if self.made_with != (weight.dtype, weight.device):
            raise ValueError(
                f"stream: its state was made with {self.made_with}, the tower is now "
                f"{(weight.dtype, weight.device)}; reset() it"
            )
        missing = [name for name in names if name not in self.rows]
        if missing:
            raise ValueError(
                f"stream: earlier calls did not ask for {', '.join(missing)}; ask for the same "
                "hidden states in every call since reset()"
            )

    @property
    def _earlier(self) -> int:
        """A."""
        return self.prefix + len(self.ids) if self.emitted else 0

    def _row_of(self, ids: Tensor, segments: Segments) -> Tensor:
        """The rows of tokens of this call or of earlier ones, ``[..]`` int64."""
        own = ids >= self.emitted
        row = self.prefix + torch.searchsorted(self.ids, ids)
        row[own] = self._earlier + segments.patch_row[ids[own] - self.emitted]
        return row
