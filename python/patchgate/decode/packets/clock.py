"""A stream's clock, and time stamps on it that always rise.

Time is kept in integer ticks and turned into seconds once, at the end, so that no error adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Protocol

from ..frames import Problems
from ..limits import DEFAULT_LIMITS, Limits

Stamps = Sequence[int | None]  # as the container has them; None: it has none

LOOK_AHEAD = 17  # packets: a codec's picture is shown at most 16 after it is decoded
_NEAR, _NEAR_PICTURES = 1.0, 16  # seconds and pictures, whichever is longer
_EVIDENCE = 2  # later stamps that say: a clock that jumped goes on from there
_FOR_EVER = 1 << 62  # ticks


@dataclass(frozen=True)
class Clock:
    """A stream's tick, and how many ticks a frame takes where nothing else is known."""

    tick: Fraction
    nominal: int
    _ratio: tuple[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ratio", self.tick.as_integer_ratio())

    def seconds(self, ticks: int) -> float:
        """Ticks in seconds, correctly rounded: equal to ``float(ticks * tick)``."""
        over, under = self._ratio
        return ticks * over / under

    def ticks(self, seconds: float | None) -> int:
        """Seconds in whole ticks, rounded down; None: more than any clock tells."""
        if seconds is None:
            return _FOR_EVER
        (over, under), (whole, part) = self._ratio, seconds.as_integer_ratio()
        return whole * under // (part * over)


class Picture(Protocol):
    """What a back end's decoded picture must tell of its time, in ticks."""

    @property
    def pts(self) -> int | None: ...
    @property
    def dts(self) -> int | None: ...
    @property
    def duration(self) -> int: ...


class Following(Protocol):
    """What is known of the pictures after the one shown last."""

    def undercuts(self, stamp: int) -> bool:
        """Whether one of the next few has this stamp or an earlier one. Must be quick."""
        ...

    def later(self, packets: int) -> tuple[Stamps, Stamps]:
        """Stamps of packets decoded before that of the picture shown last, and not shown yet, and
        after it; of these, where nobody has to wait for them, of so many packets."""
        ...


class NothingFollows:
    """Where nothing is known."""

    def undercuts(self, stamp: int) -> bool:
        return False

    def later(self, packets: int) -> tuple[Stamps, Stamps]:
        return (), ()


NOTHING_FOLLOWS = NothingFollows()


def near(clock: Clock) -> int:
    """Ticks within which stamps may be out of order, and beyond which one is far away."""
    return max(clock.ticks(_NEAR), _NEAR_PICTURES * clock.nominal)


class Mender:
    """Gives pictures, in their order of showing, stamps that rise.

    A stamp that is missing, does not rise or lies farther away than ``limits.gap`` is put between
    its neighbours, and no other moves. Where all that follow it agree with it and not with those
    before, the clock was set: they keep their distances and go on behind the picture before.
    """

    def __init__(
        self, clock: Clock, problems: Problems, limits: Limits = DEFAULT_LIMITS, name: str = ""
    ) -> None:
        self.clock, self._problems, self._limits, self._name = clock, problems, limits, name
        self._gap, self._longest = clock.ticks(limits.gap), clock.ticks(limits.duration)
        self.near = near(clock)
        self._first: int | None = None
        self._last = self._until = 0
        self._step = clock.nominal  # of the last picture
        self.offset = 0  # what was added to the container's stamps since the clock was set
        self._bad: list[int] = []  # stamps of the last pictures, none of which was good

    def stamp(self, picture: Picture, following: Following = NOTHING_FOLLOWS) -> int:
        """When the picture is shown, in ticks: later than all before it."""
        raw = picture.pts
        if self._first is None:
            self._first = ticks = self._begin(picture, following)
            self._until = ticks + self._longest
        elif raw is None:
            ticks = self._looked_at(picture, following)
        else:
            ticks = raw + self.offset
            if not 0 < ticks - self._last <= self._gap or following.undercuts(raw):
                ticks = self._looked_at(picture, following)
            elif self._bad:
                self._bad = []
        self._last, self._step = ticks, picture.duration or self.clock.nominal
        if ticks > self._until:
            seconds = self.clock.seconds(ticks - self._first)
            self._limits.check(self._name, "duration", seconds, f"a length of {seconds:,.0f} s")
        return ticks

    def last_span(self, said: int, before: int) -> int:
        """For how long a picture is shown that none is known to follow: as the container says."""
        return said if 0 < said <= self._gap else before

    def _begin(self, picture: Picture, following: Following) -> int:
        """The first stamp, unless it does not go with those after it."""
        raw, nominal = picture.pts, self.clock.nominal
        known = [stamp for stamp in following.later(_EVIDENCE)[1] if stamp is not None]
        fits = [k for k in known if raw is not None and -self.near < k - raw <= self._gap]
        if raw is not None and (fits or len(known) < _EVIDENCE):
            return raw
        self._problems.repaired_timestamps += 1
        if raw is None and picture.dts is not None:
            return picture.dts
        return min(known) - (picture.duration or nominal) if known else 0

    def _looked_at(self, picture: Picture, following: Following) -> int:
        """The stamp of a picture whose own is odd, by those that follow."""
        last, reach = self._last, self._last + self._gap
        before, after = following.later(LOOK_AHEAD)
        decoded = [k + self.offset for k in after if k is not None]
        ticks = None if picture.pts is None else picture.pts + self.offset
        if ticks is not None and last < ticks <= reach:
            # If it is good, those that follow with less are bad; if not, it is, and of some with
            # the same stamp all but one are. In doubt it is good, unless it is far away.
            equal = any(k + self.offset == ticks for k in (*before, *after) if k is not None)
            doubt = not equal and ticks - last <= self.near
            if sum(last < k < ticks for k in decoded) <= doubt:
                self._bad = []
                return ticks
        coming = [None if k is None else k + self.offset for k in (*before, *after)]
        good = [k for k in coming if k is not None and last < k <= reach]
        elsewhere = ticks is not None and not last < ticks <= reach and not good
        if ticks is not None and elsewhere and self._goes_on(ticks, decoded):
            return self._carried_on(ticks)
        self._problems.repaired_timestamps += 1
        self._bad = [] if ticks is None else [*self._bad[1 - _EVIDENCE :], ticks]
        bound = min(good, default=_FOR_EVER)
        if ticks is None and picture.dts is not None and last < picture.dts + self.offset < bound:
            return picture.dts + self.offset
        alike = 1 + next((i for i, k in enumerate(coming) if k in good), 0)
        if last + self._step * alike < bound:
            return last + self._step
        return last + max(1, (bound - last) // (alike + 1))

    def _carried_on(self, ticks: int) -> int:
        """Behind the picture before, from where the clock was set to ``ticks``."""
        now, seconds = self._last + self._step, self.clock.seconds
        self.offset += now - ticks
        self._bad = []
        self._problems.clock_jumps.append((seconds(now), seconds(now - ticks)))
        return now

    def _goes_on(self, ticks: int, decoded: Sequence[int]) -> bool:
        """Whether the clock was set, and runs on from these ticks."""
        after = sum(0 < k - ticks <= self._gap for k in decoded)
        if after >= _EVIDENCE and 2 * after > len(decoded):
            return True
        run = [*self._bad, ticks]
        rising = all(0 < b - a <= self._gap for a, b in pairwise(run))
        return len(run) > _EVIDENCE and rising
