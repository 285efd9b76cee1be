"""What a live source has done so far, in numbers."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

State = Literal["opening", "live", "waiting", "ended", "closed"]
Dropped = Literal["newer", "delay", "fps", "corrupt", "incomplete"]

_REMEMBERED = 1024  # delays, and times of arrival
_RECENT = 5.0  # seconds over which frames are counted for ``fps``


@dataclass(frozen=True)
class LiveStats:
    """The numbers of a live source at one moment. Times are in seconds.

    Attributes:
        state: "opening", "live", "waiting" (until it is opened again), "ended" or "closed".
        received: the number of packets (of an iterator: of pictures) that came.
        decoded: the number of pictures that were decoded.
        delivered: the number of pictures that were taken.
        dropped: the number of pictures that were not, by reason: "newer" (a later one came before
            they were taken), "delay" (they had waited for longer than ``max_delay``), "fps" (the
            rate that was asked for is lower), "corrupt" (damaged), "incomplete" (before the first
            whole key picture).
        corrupt: the number of damaged packets and pictures.
        reconnects: how often the source was opened again.
        clock_jumps: how often its clock was set, reconnections included.
        fps: decoded pictures a second, over the last five seconds.
        delay_p50, delay_p99: from the arrival of a picture until it was taken, of the last 1024
            pictures; None before the first.
        last_frame_age: since the last decoded picture arrived; None before the first.
        size: (height, width) of the last picture; None before the first.
        error: why it was opened again last, or ended; None: never.
    """

    state: State
    received: int
    decoded: int
    delivered: int
    dropped: Mapping[str, int]
    corrupt: int
    reconnects: int
    clock_jumps: int
    fps: float
    delay_p50: float | None
    delay_p99: float | None
    last_frame_age: float | None
    size: tuple[int, int] | None
    error: str | None


@dataclass
class Meter:
    """Counts. Any thread may write to it or read it.

    Args:
        now: our clock, in seconds; it never runs back.
    """

    now: Callable[[], float] = time.monotonic
    state: State = "opening"
    received: int = 0
    decoded: int = 0
    delivered: int = 0
    reconnects: int = 0
    clock_jumps: int = 0
    corrupt: int = 0
    size: tuple[int, int] | None = None
    error: str | None = None
    last_arrival: float | None = None
    _dropped: dict[str, int] = field(default_factory=dict)
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _delays: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _lock: Lock = field(default_factory=Lock)

    def arrived(self, when: float) -> None:
        """Counts a decoded picture that arrived then."""
        with self._lock:
            self.decoded += 1
            self.last_arrival = when
            self._arrivals.append(when)

    def dropped(self, why: Dropped, count: int = 1) -> None:
        """Counts pictures that are not given."""
        if count:
            with self._lock:
                self._dropped[why] = self._dropped.get(why, 0) + count

    def taken(self, arrived: float) -> None:
        """Counts a picture that is given now, and arrived then."""
        with self._lock:
            self.delivered += 1
            self._delays.append(self.now() - arrived)

    def stats(self) -> LiveStats:
        """Returns the numbers of this moment."""
        with self._lock:
            now, delays = self.now(), sorted(self._delays)
            recent = [when for when in self._arrivals if now - when <= _RECENT]
            span = now - recent[0] if recent else 0.0
            last = self.last_arrival
            return LiveStats(
                state=self.state,
                received=self.received,
                decoded=self.decoded,
                delivered=self.delivered,
                dropped=dict(self._dropped),
                corrupt=self.corrupt,
                reconnects=self.reconnects,
                clock_jumps=self.clock_jumps,
                fps=len(recent) / span if len(recent) > 1 and span > 0 else 0.0,
                delay_p50=quantile(delays, 0.5),
                delay_p99=quantile(delays, 0.99),
                last_frame_age=None if last is None else now - last,
                size=self.size,
                error=self.error,
            )


def quantile(ordered: list[float], share: float) -> float | None:
    """Returns the least number that at least this share of them does not exceed; None: of none."""
    if not ordered:
        return None
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
