"""Our gate and our merging in a row, as a method beside the peers.

The gate keeps what changed, each kept cell has the features that the dense tower gives it, and
``patchgate.merge`` brings them to a budget.

Letters: T frames, h w cells, N = h * w, K kept cells, D features.
"""

from dataclasses import dataclass
from typing import Any

import torch

import patchgate
from patchgate import Gate, VideoTokens
from patchgate.gate import CHANGED
from patchgate.tokens import spans
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
    result = Gate(**ours(**changes).settings).push(seen.planes)
    changed = result.kind == CHANGED  # [T, h, w]
    frame, row, column = changed.nonzero().unbind(1)  # [K] each
    counts = changed.flatten(1).sum(1)
    length = torch.full((len(changed),), 1 / seen.fps, dtype=torch.float64)
    return VideoTokens(
        features=seen.features[changed.flatten(1)],
        frame=frame,
        cell=torch.stack([row, column], 1),
        span=spans(frame, result.source),
        pts_seconds=length.cumsum(0) - length,
        duration_seconds=length,
        cu_seqlens=torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int(),
        source=result.source,
        kind=result.kind,
        motion=result.motion,
        layout=None,
    )
