"""Gives decoded pictures true times: stamps, spans, start/end, resampling.

These are generators over any back end's pictures. ``clock.py`` defines the stamps.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .packets.clock import LOOK_AHEAD, NOTHING_FOLLOWS, Clock, Following, Mender, Picture

# Matroska, WebM and FLV round time stamps to milliseconds: with fps=, the frame for 41.667 ms may
# have the stamp 42. So with fps=, a frame counts as shown from this time before its stamp on.
_SLACK_SECONDS = 1e-3


P = TypeVar("P", bound=Picture)


class PictureAhead(Picture, Protocol):
    """A picture that knows when the next one is shown, because packets were read ahead."""

    @property
    def next_pts(self) -> int | None: ...


Q = TypeVar("Q", bound=PictureAhead)
Item = TypeVar("Item")


@dataclass(slots=True)
class Timed(Generic[P]):
    """A picture, its time stamp, and how long it is shown, in ticks."""

    picture: P
    ticks: int
    span: int = 0


def timed(
    pictures: Iterable[P], mender: Mender, following: Following = NOTHING_FOLLOWS
) -> Iterator[Timed[P]]:
    """Yields pictures with stamps that always rise, and spans that reach to the next picture.

    It holds one picture back, because a span is the true distance to the next stamp. The last span
    is that of the container, or else the one before it.
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
    """Yields the same stamps and spans as ``timed``, and holds no picture back."""
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
    """Yields packets in their order, and reads so far ahead that it knows the next picture's stamp.

    A picture is shown at most 16 packets after it is decoded (H.264 A.3.1, HEVC A.4.2: the size of
    the decoded picture buffer). So the least later stamp among the packets read is the next one.
    """

    _PACKETS = LOOK_AHEAD

    def __init__(self, stamped: Iterable[tuple[Item, int | None]]) -> None:
        """``stamped``: packets, each with the stamp of its picture; None: not shown, or unknown."""
        self._stamped = stamped
        self._stamps: list[int] = []  # stamps of packets that were read and not passed, ascending

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
        """Returns the stamp of the picture after that of ``pts``. Call it in order of pictures."""
        if pts is None:
            return None
        del self._stamps[: bisect_right(self._stamps, pts)]
        return self._stamps[0] if self._stamps else None


def clipped(
    frames: Iterable[Timed[P]], clock: Clock, *, start: float | None, end: float | None
) -> Iterator[Timed[P]]:
    """Yields frames from the one shown at ``start`` to the last with a stamp before ``end``.

    Both are in seconds.
    """
    for frame in frames:
        if start is not None and clock.seconds(frame.ticks + frame.span) <= start:
            continue
        if end is not None and clock.seconds(frame.ticks) >= end:
            return
        yield frame


def resampled(
    frames: Iterable[Timed[P]], clock: Clock, *, fps: float, start: float | None
) -> Iterator[Timed[P]]:
    """Yields the frames shown at ``start + k / fps``, each once, with their own stamps and spans.

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
            k = max(k + 1, math.floor((until - first) * fps))  # at most one before the next
            while first + k / fps < until:
                k += 1
