"""Executes a plan's ``ratio``: a gate that keeps at most a share of each frame.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
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
    """A gate that keeps at most a share of each frame's cells; it raises the threshold for that.

    A frame that would keep more is compared again, with a factor on the limit of every cell
    (``threshold_map``). The factor is the least one with which the frame keeps its share. Bisection
    finds it among the factors at which one more cell of the frame counts as unchanged. The
    guarantee then holds with the raised limit. The first frame of a stream is kept whole, and cells
    that are due by ``max_age`` are kept beyond the share.

    Args:
        shares: the share of each frame (or tubelet) of the stream, in (0, 1]; 1 leaves the gate as
            it is.
        settings: the keywords of ``Gate``. If a share is less than 1, the threshold must be
            above 0.

    Raises:
        ValueError: a share is outside (0, 1]; the threshold is 0 and a share is less than 1; there
            is ``memory``.
    """

    @spelled(GateSettings)
    def __init__(self, shares: Sequence[float], **settings: Unpack[GateKwargs]) -> None:
        super().__init__(**settings)
        if self.settings.memory:
            raise ValueError(
                f"memory: a gate that keeps at most a share of a frame tries it several times, and "
                f"remembers no pictures; expected None, got {self.settings.memory}"
            )
        self._shares = [checked_number("shares", s, 0, 1, "of the cells") for s in shares]
        if not self.settings.limit and min(self._shares, default=1.0) < 1:
            raise ValueError("a share of less than 1 needs a threshold above 0, to be raised")
        self._next = 0

    @spelled(GateKwargs)
    def fresh(self, **changes: Unpack[GateKwargs]) -> Self:
        """Makes a gate without state, with the same shares and, but for ``changes``, settings."""
        return type(self)(self._shares, **{**asdict(self.settings), **changes})

    def push(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None = None) -> GateResult:
        """Does what ``Gate.push`` does, for one stream ``[T * f, C, H, W]`` of whole tubelets.

        A call that fails leaves the gate as it was.

        Raises:
            ValueError: there are more frames than shares, or the call has a ``threshold_map``,
                several streams or a ``FrameBatch``.
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
        """Gates one frame (or tubelet)."""
        before = self._now
        if share >= 1 or before.memory is None:
            return super()._pushed(planes, None)
        then = before.memory.before.snapshot()
        result = super()._pushed(planes, None)
        most = math.floor(share * result.kind.numel())
        if _kept(result) <= most:
            return result

        def tried(factor: float) -> GateResult:
            """Gates the frame with a factor on every limit, from the state before the frame."""
            assert before.memory is not None
            before.memory.before.set_back(then)
            self._now = before
            h, w = result.kind.shape[1:]
            return super(CappedGate, self)._pushed(
                planes, torch.full((h, w), factor, dtype=torch.float64, device="cpu")
            )

        limit = int(result.limit)
        costs = result.cost[result.cost > limit].unique().tolist()
        # In units of the limit: each factor lies half a step above a cost, so that a cell of this
        # cost counts as unchanged.
        factors = [(cost + 0.5) / limit for cost in costs] + [math.inf]
        low, high = -1, len(factors) - 1  # low keeps too much; high is the last resort
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if _kept(tried(factors[middle])) <= most else (middle, high)
        return tried(factors[high])


def _kept(result: GateResult) -> int:
    return int((result.kind == CHANGED).sum())
