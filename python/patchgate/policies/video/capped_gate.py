"""A plan's ``ratio``: how much of a frame the gate may keep. No policy does a gate's work again.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Self, Unpack

import torch
from torch import Tensor

from patchgate._check import checked_number
from patchgate._signature import spelled
from patchgate.decode import FrameBatch
from patchgate.gate import CHANGED, Gate, GateResult, GateSettings
from patchgate.gate.calls import Undo
from patchgate.gate.settings import GateKwargs


class CappedGate(Gate):
    """A gate that keeps at most a share of each frame's cells, by a higher threshold where needed.

    A frame that would keep more is compared again, with a factor on every cell's limit
    (``threshold_map``): the least of those at which one of its own cells begins to pass, found by
    bisection, under which the share is kept. The guarantee then holds with that limit. A stream's
    first frame is whole, and cells that are due by ``max_age`` come on top.

    Args:
        shares: of each frame (or tubelet) of the stream, in (0, 1]; 1: the gate as it is.
        settings: of ``Gate``; a threshold above 0.
    """

    @spelled(GateSettings)
    def __init__(self, shares: Sequence[float], **settings: Unpack[GateKwargs]) -> None:
        super().__init__(**settings)
        self._shares = [checked_number("shares", s, 0, 1, "of the cells") for s in shares]
        if not self.settings.limit and min(self._shares, default=1.0) < 1:
            raise ValueError("a share of less than 1 needs a threshold above 0, to be raised")
        self._next = 0

    @spelled(GateKwargs)
    def fresh(self, **changes: Unpack[GateKwargs]) -> Self:
        """A gate of the same shares and settings but for ``changes``, with no state."""
        return type(self)(self._shares, **{**asdict(self.settings), **changes})

    def push(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None = None) -> GateResult:
        """As ``Gate.push``, of one stream and whole tubelets, without a map of your own.

        Raises:
            ValueError: more frames than there are shares; a map, streams or a ``FrameBatch``.
        """
        return super().push(planes, threshold_map)

    def _mark(self) -> Undo:
        undo, frames = super()._mark(), self._next

        def back() -> None:
            undo()
            self._next = frames

        return back

    def _reset(self, streams: Iterable[int] | Tensor | None) -> None:
        super()._reset(streams)
        self._next = 0

    def _pushed(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None) -> GateResult:
        if threshold_map is not None or not isinstance(planes, Tensor) or planes.dim() != 4:
            raise ValueError("CappedGate.push: expected planes [T, C, H, W] and no threshold_map")
        f = self.settings.temporal_patch
        count = len(planes) // f
        shares = self._shares[self._next : self._next + count]
        if len(shares) < count:
            raise ValueError(f"expected {len(self._shares)} frames in all, got more")
        self._next += count
        if min(shares, default=1.0) >= 1:
            return super()._pushed(planes, None)
        parts = [self._one(planes[t * f : t * f + f], share) for t, share in enumerate(shares)]
        return GateResult(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    def _one(self, planes: Tensor, share: float) -> GateResult:
        """One frame (or tubelet)."""
        before = self._now
        if share >= 1 or before.memory is None:
            return super()._pushed(planes, None)
        then = before.memory.before.snapshot()
        result = super()._pushed(planes, None)
        most = math.floor(share * result.kind.numel())
        if _kept(result) <= most:
            return result

        def tried(factor: float) -> GateResult:
            """The frame with a factor on every limit, from the state that there was before it."""
            assert before.memory is not None
            before.memory.before.set_back(then)
            self._now = before
            h, w = result.kind.shape[1:]
            return super(CappedGate, self)._pushed(
                planes, torch.full((h, w), factor, dtype=torch.float64, device="cpu")
            )

        limit = int(result.limit)
        costs = result.cost[result.cost > limit].unique().tolist()
        # In units of the limit, half a step above the cost that shall pass.
        factors = [(cost + 0.5) / limit for cost in costs] + [math.inf]
        low, high = -1, len(factors) - 1  # low keeps too much; high is the last resort
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _kept(tried(factors[middle])) <= most else (middle, high)
        return tried(factors[high])


def _kept(result: GateResult) -> int:
    return int((result.kind == CHANGED).sum())
