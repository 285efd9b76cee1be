"""Our gate and our merging in a row, as a method beside the peers.

The gate keeps what changed, each kept cell has the features that the dense tower gives it, and
``patchgate.merge`` brings them to a budget.

Letters: T frames, h w cells, N = h * w, K kept cells, D features.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import patchgate
from patchgate import Gate, VideoTokens
from patchgate.gate import CHANGED
from patchgate.tokens import TokenGrid, cu_seqlens, grid_of, spans
from patchgate.tokens.chunk import HostResult, chunk_of
from reading.methods import Seen, Trace, ours
from reading.rivals import Encoded, Rival

FAMILY = "patchgate, merged"
SHARES = (0.5, 0.25, 0.125, 0.09, 0.06, 0.04, 0.02)  # of all cells


@dataclass(frozen=True)
class Merged(Rival):
    """At ``value`` times as many tokens as there are cells, or what the gate keeps, if fewer."""

    family: str = FAMILY
    value: float = 0.125

    @property
    def setting(self) -> str:
        return f"share={self.value:g}"

    @property
    def looks(self) -> str:
        return "features"

    def traces(self, seen: Seen) -> list[Trace]:
        frames, h, w = seen.shape
        return [merged(seen, max(1, int(self.value * frames * h * w)))]


def merged(seen: Seen, tokens: int, **changes: Any) -> Trace:
    """What our gate keeps, with changes to its default, in no more tokens than these."""
    kept = gated(seen, **changes)
    if len(kept) > tokens:
        kept = patchgate.merge(kept, budget=tokens)
    return Encoded(kept.kind, kept.motion, kept.dense().flatten(1, 2))


def gated(seen: Seen, **changes: Any) -> VideoTokens:
    """The dense tower's features of what our gate keeps, with changes to its default."""
    gate = Gate(**ours(**changes).settings)
    result = gate.push(seen.planes)
    kept = seen.features[(result.kind == CHANGED).flatten(1)]  # [K, D]
    return container(kept, result.kind, result.source, result.motion, seen.fps, grid_of(gate))


def every_cell(features: Tensor, grid: tuple[int, int], fps: float) -> VideoTokens:
    """Dense features ``[T, N, D]`` as tokens of which each stands for itself."""
    kind = torch.full((len(features), *grid), CHANGED, dtype=torch.uint8)
    source = torch.arange(kind.numel()).view(kind.shape)
    motion = torch.zeros((*kind.shape, 2), dtype=torch.int8)
    return container(features.flatten(0, 1), kind, source, motion, fps)


def container(
    features: Tensor,
    kind: Tensor,
    source: Tensor,
    motion: Tensor,
    fps: float,
    grid: TokenGrid | None = None,
) -> VideoTokens:
    """Features ``[K, D]`` of what a gate keeps, with what it says of all cells ``[T, h, w]``, and
    over which pixels they move.
    """
    length = torch.full((len(kind),), 1 / fps, dtype=torch.float64)
    told = HostResult((kind == CHANGED).flatten().nonzero().flatten(), source, kind, motion)
    chunk = chunk_of(features, told, length.cumsum(0) - length, length, 0)
    return VideoTokens(
        **chunk._asdict(),
        span=spans(chunk.frame, source),
        cu_seqlens=cu_seqlens(kind),
        layout=None,
        grid=grid,
    )
