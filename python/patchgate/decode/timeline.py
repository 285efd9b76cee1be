"""From decoded pictures to pictures with a true time: stamps, spans, start/end, resampling.

Passive generators over any back end's pictures. Time is kept in integer ticks of the stream's
clock and turned into seconds once, at the end, so that no error adds up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, Protocol, TypeVar

from .frames import Problems

# Matroska, WebM and FLV round time stamps to milliseconds: with fps= the frame due at 41.667 ms may
# be stamped 42. So a frame counts as on the screen from this much before its stamp (fps= only).
_SLACK_SECONDS = 1e-3


class Picture(Protocol):
    """What a back end's decoded picture must tell of its time, in ticks."""

    @property
    def pts(self) -> int | None: ...
    @property
    def dts(self) -> int | None: ...
    @property
    def duration(self) -> int: ...


P = TypeVar("P", bound=Picture)


@dataclass(frozen=True)
class Clock:
    """A stream's tick, and how many ticks a frame takes where nothing else is known."""

    tick: Fraction
    nominal: int

    def seconds(self, ticks: int) -> float:
        """Ticks in seconds, correctly rounded: equal to `float(ticks * tick)`."""
        return ticks * self.tick.numerator / self.tick.denominator


@dataclass(slots=True)
class Timed(Generic[P]):
    """A picture, its time stamp and for how long it is shown, in ticks."""

    picture: P
    ticks: int
    span: int = 0


def timed(pictures: Iterable[P], clock: Clock, problems: Problems) -> Iterator[Timed[P]]:
    """Pictures with stamps that always rise, and spans that reach to the next picture.

    Holds one picture back: a span is the true distance to the next stamp. The last picture's is the
    container's, or else the span before it.
    """
    held: Timed[P] | None = None
    before = clock.nominal
    for picture in pictures:
        ticks = _stamp(picture, held, clock, problems)
        if held is not None:
            before = held.span = ticks - held.ticks
            yield held
        held = Timed(picture, ticks)
    if held is not None:
        held.span = held.picture.duration or before
        yield held


def _stamp(picture: P, last: Timed[P] | None, clock: Clock, problems: Problems) -> int:
    """The picture's pts; where it is missing or goes backward, the best guess, and a note."""
    if picture.pts is not None and (last is None or picture.pts > last.ticks):
        return picture.pts
    problems.repaired_timestamps += 1
    guess = picture.dts if picture.pts is None else None
    if guess is not None and (last is None or guess > last.ticks):
        return guess
    if last is None:
        return 0
    return last.ticks + (last.picture.duration or clock.nominal)


def clipped(
    frames: Iterable[Timed[P]], clock: Clock, *, start: float | None, end: float | None
) -> Iterator[Timed[P]]:
    """From the frame shown at `start` up to the last one stamped before `end` (seconds)."""
    for frame in frames:
        if start is not None and clock.seconds(frame.ticks + frame.span) <= start:
            continue
        if end is not None and clock.seconds(frame.ticks) >= end:
            return
        yield frame


def resampled(
    frames: Iterable[Timed[P]], clock: Clock, *, fps: float, start: float | None
) -> Iterator[Timed[P]]:
    """The frames shown at `start + k / fps`, each once; stamps and spans stay the source's.

    `start` None, or before the first frame, counts as the first frame's stamp.
    """
    first: float | None = None
    k = 0
    for frame in frames:
        if first is None:
            first = max(clock.seconds(frame.ticks), -math.inf if start is None else start)
        until = clock.seconds(frame.ticks + frame.span) - _SLACK_SECONDS
        if k == 0 or first + k / fps < until:
            yield frame
            k = max(k + 1, math.floor((until - first) * fps))  # at most one short of the next
            while first + k / fps < until:
                k += 1
