"""A budget of time: the gate becomes coarser while tokens come late, and finer again after that."""

from __future__ import annotations

from dataclasses import dataclass

_LATE = 3  # so many late frames in a row make the gate one step coarser
_EARLY = 25  # so many early ones in a row make it one step finer
_ROOM = 0.5  # of the budget: a frame within it is early
_STEPS = 4


@dataclass
class Budget:
    """Steps between a gate's own threshold and a ceiling, climbed while frames are late.

    Frames are dropped first: a camera that is watched gives its newest frame, however long the
    tower took. Only if even that frame's tokens come later than the budget, three frames in a row,
    the threshold goes one of four steps up. After 25 frames within half of the budget it goes one
    step down. The steps are equal ratios: with a threshold of 4 and a ceiling of 16 they lead to
    5.7, 8, 11.3 and 16.

    Args:
        max_delay: the budget, in seconds from the arrival of a frame to its tokens; None: there is
            none, and the threshold stays.
        threshold: the gate's own, in grey levels.
        ceiling: the highest one.
    """

    max_delay: float | None
    threshold: float
    ceiling: float
    step: int = 0
    _late: int = 0
    _early: int = 0

    @property
    def now(self) -> float:
        """The threshold of the next frame."""
        if not self.step:
            return self.threshold
        base = max(self.threshold, 0.5)  # a threshold of 0 has no ratios
        if self.step == _STEPS or self.ceiling <= base:
            return self.ceiling
        return base * (self.ceiling / base) ** (self.step / _STEPS)

    def saw(self, delay: float) -> bool:
        """Notes a frame's delay in seconds; returns whether the threshold changes."""
        if self.max_delay is None:
            return False
        self._late = self._late + 1 if delay > self.max_delay else 0
        self._early = self._early + 1 if delay <= _ROOM * self.max_delay else 0
        up, down = (
            self._late >= _LATE and self.step < _STEPS,
            self._early >= _EARLY and self.step > 0,
        )
        if not (up or down):
            return False
        self.step += 1 if up else -1
        self._late = self._early = 0
        return True
