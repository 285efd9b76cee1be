"""A clock that never runs back, made of a source's time stamps and the times of arrival."""

from __future__ import annotations

LEAP = 10.0  # seconds that a stamp may lie ahead of what has passed since the last arrival
_EVIDENCE = 3  # so many odd stamps in a row that agree prove that the source's clock was set
_TICK = 1e-6  # seconds, the least step


class RisingClock:
    """Gives each picture a time, in seconds, that is later than that of the picture before.

    As long as the source's stamps rise, they are the times, bit for bit. A stamp that does not
    rise, or lies farther ahead than what has passed on our clock and ``LEAP`` seconds, counts as
    bad: its picture is put behind the one before. Three bad stamps in a row that agree with each
    other mean that the source's clock was set (a wrap, a jump, a reset). Its later stamps keep
    their distances and go on behind what was before. After ``reopened`` that is so at once.

    Attributes:
        jumps: how often the source's clock was set, reconnections included.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self._offset = 0.0  # is added to the source's stamps
        self._last: float | None = None  # the time given last
        self._arrived = 0.0  # when that picture arrived
        self._bad: list[float] = []  # the last stamps, if they were bad
        self._new = False  # the source was opened again

    def reopened(self) -> None:
        """Notes that the source was opened again: its stamps may begin anywhere."""
        self._new = self._last is not None

    def at(self, stamp: float | None, arrived: float) -> float:
        """Returns the time of the next picture.

        Args:
            stamp: the source's own, in seconds; None: it has none, and the arrival counts.
            arrived: when it arrived, in seconds of our clock, which never runs back.
        """
        if self._last is None:
            time = 0.0 if stamp is None else stamp
        else:
            passed = max(_TICK, arrived - self._arrived)
            time = max(self._next(self._last, stamp, passed), self._last + _TICK)
        self._last, self._arrived = time, arrived
        return time

    def _next(self, last: float, stamp: float | None, passed: float) -> float:
        if stamp is None:
            self._new = False
            return last + passed
        time = stamp + self._offset
        if not self._new and 0 < time - last <= passed + LEAP:
            self._bad = []
            return time
        agrees = bool(self._bad) and 0 < stamp - self._bad[-1] <= passed + LEAP
        self._bad = [*self._bad, stamp] if agrees else [stamp]
        if self._new or len(self._bad) >= _EVIDENCE:
            self._offset = last + passed - stamp
            self._bad, self._new = [], False
            self.jumps += 1
        return last + passed


class Pace:
    """Chooses the pictures that are shown at ``first + k / fps``, each at most once."""

    _SLACK = 1e-3  # seconds: containers round stamps to milliseconds

    def __init__(self, fps: float | None) -> None:
        """``fps``: pictures a second; None: all of them."""
        self._fps, self._first, self._due = fps, 0.0, -1

    def takes(self, seconds: float) -> bool:
        """Whether the picture at this time is taken. Call it in order of time."""
        if self._fps is None:
            return True
        if self._due < 0:
            self._first, self._due = seconds, 1
            return True
        # The number of the last moment at or before this picture.
        passed = int((seconds + self._SLACK - self._first) * self._fps)
        if passed < self._due:
            return False
        self._due = passed + 1
        return True
