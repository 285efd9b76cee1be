"""A stream's clock, and time stamps on it that always rise.

Times are integer ticks. They become seconds only at the end, so that rounding errors do not add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Protocol

from ..frames import Problems
from ..limits import DEFAULT_LIMITS, Limits

Stamps = Sequence[int | None]  # the container's; None: it has none

LOOK_AHEAD = 17  # packets: a picture is shown at most 16 packets after it is decoded
_NEAR, _NEAR_PICTURES = 1.0, 16  # seconds and pictures; the longer of both is near
_EVIDENCE = 2  # so many later stamps prove that a clock that jumped goes on from there
_FOR_EVER = 1 << 62  # ticks


@dataclass(frozen=True)
class Clock:
    """A stream's tick, and the ticks of a frame whose duration is unknown."""

    tick: Fraction
    nominal: int
    _ratio: tuple[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ratio", self.tick.as_integer_ratio())

    def seconds(self, ticks: int) -> float:
        """Converts ticks to seconds, correctly rounded: equal to ``float(ticks * tick)``."""
        over, under = self._ratio
        return ticks * over / under

    def ticks(self, seconds: float | None) -> int:
        """Converts seconds to whole ticks, rounded down; None: more ticks than any clock has."""
        if seconds is None:
            return _FOR_EVER
        (over, under), (whole, part) = self._ratio, seconds.as_integer_ratio()
        return whole * under // (part * over)


class Picture(Protocol):
    """The times of a back end's decoded picture, in ticks."""

    @property
    def pts(self) -> int | None: ...
    @property
    def dts(self) -> int | None: ...
    @property
    def duration(self) -> int: ...


class Following(Protocol):
    """Gives the stamps of pictures after the one shown last."""

    def undercuts(self, stamp: int) -> bool:
        """Whether one of the next few pictures has this stamp or an earlier one; must be fast."""
        ...

    def later(self, packets: int) -> tuple[Stamps, Stamps]:
        """Returns the stamps of packets whose pictures are not shown yet.

        Args:
            packets: how many packets may be read ahead, if reading does not have to wait.

        Returns:
            The stamps of packets decoded before that of the picture shown last, and of those
            decoded after it.
        """
        ...


class NothingFollows:
    """Knows no later stamps."""

    def undercuts(self, stamp: int) -> bool:
        return False

    def later(self, packets: int) -> tuple[Stamps, Stamps]:
        return (), ()


NOTHING_FOLLOWS = NothingFollows()


def near(clock: Clock) -> int:
    """Returns the ticks by which stamps may be out of order; a stamp beyond them is far away."""
    return max(clock.ticks(_NEAR), _NEAR_PICTURES * clock.nominal)


class Mender:
    """Gives pictures, in their order of showing, stamps that rise.

    A stamp that is missing, does not rise or lies farther away than ``limits.gap`` is put between
    its neighbours; no other stamp changes. If the stamps after it agree with it and not with those
    before, the clock was set: they keep their distances, and continue behind the picture before.
    """

    def __init__(
        self, clock: Clock, problems: Problems, limits: Limits = DEFAULT_LIMITS, name: str = ""
    ) -> None:
        self.clock, self._problems, self._limits, self._name = clock, problems, limits, name
        self._gap, self._longest = clock.ticks(limits.gap), clock.ticks(limits.duration)
        self.near = near(clock)
        self._first: int | None = None
        self._last = self._until = 0
        self._step = clock.nominal  # the duration of the last picture
        self.offset = 0  # is added to the container's stamps, since the clock was set
        self._bad: list[int] = []  # the stamps of the last pictures, if all of them were bad

    def stamp(self, picture: Picture, following: Following = NOTHING_FOLLOWS) -> int:
        """Returns the picture's stamp, in ticks; it is later than those of all pictures before."""
        raw = picture.pts
        if self._first is None:
            self._first = ticks = self._begin(picture, following)
            self._until = ticks + self._longest
        elif raw is None:
            ticks = self._mended(picture, following)
        else:
            ticks = raw + self.offset
            if not 0 < ticks - self._last <= self._gap or following.undercuts(raw):
                ticks = self._mended(picture, following)
            elif self._bad:
                self._bad = []
        self._last, self._step = ticks, picture.duration or self.clock.nominal
        if ticks > self._until:
            seconds = self.clock.seconds(ticks - self._first)
            self._limits.check(self._name, "duration", seconds, f"a length of {seconds:,.0f} s")
        return ticks

    def last_span(self, duration: int, before: int) -> int:
        """Returns how long the last picture is shown: its duration if sound, or ``before``."""
        return duration if 0 < duration <= self._gap else before

    def _begin(self, picture: Picture, following: Following) -> int:
        """Returns the first stamp, or a better one if it contradicts those after it."""
        raw, nominal = picture.pts, self.clock.nominal
        known = [stamp for stamp in following.later(_EVIDENCE)[1] if stamp is not None]
        fits = [k for k in known if raw is not None and -self.near < k - raw <= self._gap]
        if raw is not None and (fits or len(known) < _EVIDENCE):
            return raw
        self._problems.repaired_timestamps += 1
        if raw is None and picture.dts is not None:
            return picture.dts
        return min(known) - (picture.duration or nominal) if known else 0

    def _mended(self, picture: Picture, following: Following) -> int:
        """Finds the stamp of a picture whose own is odd, from those that follow."""
        last, reach = self._last, self._last + self._gap
        before, after = following.later(LOOK_AHEAD)
        decoded = [k + self.offset for k in after if k is not None]
        ticks = None if picture.pts is None else picture.pts + self.offset
        if ticks is not None and last < ticks <= reach:
            # If the stamp is good, later pictures with a lesser one are bad; otherwise it is bad
            # itself. Of pictures with equal stamps, all but one are bad. In doubt the stamp is
            # good, unless it is far away.
            equal = any(k + self.offset == ticks for k in (*before, *after) if k is not None)
            doubt = not equal and ticks - last <= self.near
            if sum(last < k < ticks for k in decoded) <= doubt:
                self._bad = []
                return ticks
        coming = [None if k is None else k + self.offset for k in (*before, *after)]
        good = [k for k in coming if k is not None and last < k <= reach]
        elsewhere = ticks is not None and not last < ticks <= reach and not good
        if ticks is not None and elsewhere and self._goes_on(ticks, decoded):
            return self._continued(ticks)
        self._problems.repaired_timestamps += 1
        self._bad = [] if ticks is None else [*self._bad[1 - _EVIDENCE :], ticks]
        bound = min(good, default=_FOR_EVER)
        if ticks is None and picture.dts is not None and last < picture.dts + self.offset < bound:
            return picture.dts + self.offset
        alike = 1 + next((i for i, k in enumerate(coming) if k in good), 0)
        if last + self._step * alike < bound:
            return last + self._step
        return last + max(1, (bound - last) // (alike + 1))

    def _continued(self, ticks: int) -> int:
        """Continues behind the picture before, when the clock was set to ``ticks``."""
        now, seconds = self._last + self._step, self.clock.seconds
        self.offset += now - ticks
        self._bad = []
        self._problems.clock_jumps.append((seconds(now), seconds(now - ticks)))
        return now

    def _goes_on(self, ticks: int, decoded: Sequence[int]) -> bool:
        """Whether the clock was set to these ticks, and runs on from there."""
        after = sum(0 < k - ticks <= self._gap for k in decoded)
        if after >= _EVIDENCE and 2 * after > len(decoded):
            return True
        run = [*self._bad, ticks]
        rising = all(0 < b - a <= self._gap for a, b in pairwise(run))
        return len(run) > _EVIDENCE and rising
