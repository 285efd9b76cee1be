"""From decoded pictures to pictures with a true time: stamps, spans, start/end, resampling.

Passive generators over any back end's pictures. What the stamps are, ``clock.py`` says.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .packets.clock import LOOK_AHEAD, NOTHING_FOLLOWS, Clock, Following, Mender, Picture

# Matroska, WebM and FLV round time stamps to milliseconds: with fps= the frame due at 41.667 ms may
# be stamped 42. So a frame counts as on the screen from this much before its stamp (fps= only).
_SLACK_SECONDS = 1e-3


P = TypeVar("P", bound=Picture)


class PictureAhead(Picture, Protocol):
    """One that knows when the next is shown, because its packets were read ahead."""

    @property
    def next_pts(self) -> int | None: ...


Q = TypeVar("Q", bound=PictureAhead)
Item = TypeVar("Item")


@dataclass(slots=True)
class Timed(Generic[P]):
    """A picture, its time stamp and for how long it is shown, in ticks."""

    picture: P
    ticks: int
    span: int = 0


def timed(
    pictures: Iterable[P], mender: Mender, following: Following = NOTHING_FOLLOWS
) -> Iterator[Timed[P]]:
    """Pictures with stamps that always rise, and spans that reach to the next picture.

    Holds one picture back: a span is the true distance to the next stamp. The last picture's is the
    container's, or else the span before it.
    """
    held: Timed[P] | None = None
    before = mender.clock.nominal
    for picture in pictures:
        ticks = mender.stamp(picture, following)
        if held is not None:
            before = held.span = ticks - held.ticks
            yield held
        held = Timed(picture, ticks)
    if held is not None:
        held.span = mender.last_span(held.picture.duration, before)
        yield held


def timed_ahead(
    pictures: Iterable[Q], mender: Mender, following: Following = NOTHING_FOLLOWS
) -> Iterator[Timed[Q]]:
    """The same stamps and spans as ``timed``, and no picture is held back."""
    span = mender.clock.nominal
    for picture in pictures:
        ticks = mender.stamp(picture, following)
        follows = picture.next_pts
        if follows is not None and follows + mender.offset > ticks:
            span = follows + mender.offset - ticks
        else:
            span = mender.last_span(picture.duration, span)
        yield Timed(picture, ticks, span)


class Ahead(Generic[Item]):
    """Packets in their order, read so far ahead that the picture shown next is known.

    A codec's pictures are shown at most 16 packets after they are decoded (H.264 A.3.1, HEVC
    A.4.2: the size of the decoded picture buffer), so the least later stamp among those read is
    the next one.
    """

    _PACKETS = LOOK_AHEAD

    def __init__(self, stamped: Iterable[tuple[Item, int | None]]) -> None:
        """``stamped``: packets, each with when its picture is shown; None: never, or not known."""
        self._stamped = stamped
        self._stamps: list[int] = []  # ascending; of all packets read that are not yet past

    def __iter__(self) -> Iterator[Item]:
        waiting: deque[Item] = deque()
        for item, pts in self._stamped:
            waiting.append(item)
            if pts is not None:
                insort(self._stamps, pts)
            if len(waiting) > self._PACKETS:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()

    def after(self, pts: int | None) -> int | None:
        """The stamp of the picture shown after that of ``pts``. Pictures are asked for in order."""
        if pts is None:
            return None
        del self._stamps[: bisect_right(self._stamps, pts)]
        return self._stamps[0] if self._stamps else None


def clipped(
    frames: Iterable[Timed[P]], clock: Clock, *, start: float | None, end: float | None
) -> Iterator[Timed[P]]:
    """From the frame shown at ``start`` up to the last one stamped before ``end`` (seconds)."""
    for frame in frames:
        if start is not None and clock.seconds(frame.ticks + frame.span) <= start:
            continue
        if end is not None and clock.seconds(frame.ticks) >= end:
            return
        yield frame


def resampled(
    frames: Iterable[Timed[P]], clock: Clock, *, fps: float, start: float | None
) -> Iterator[Timed[P]]:
    """The frames shown at ``start + k / fps``, each once; stamps and spans stay the source's.

    ``start`` None, or before the first frame, counts as the first frame's stamp.
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
