"""Hands pictures from the thread that reads a live source to whoever iterates it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from .meter import Meter

Policy = Literal["newest", "all"]


class Picture(NamedTuple):
    """One picture of a live source, not copied yet."""

    frame: Any  # PyAV's, or what an iterator gave
    seconds: float | None  # its time; None: the source gave none
    arrived: float  # on our clock
    key: bool = True  # decoding can begin there
    corrupt: bool = False
    gap: bool = False  # the source was opened again before it


class Handover:
    """The pictures that wait to be taken: the newest one, or a bounded number of them.

    Args:
        policy: "newest": a new picture takes the place of one that waits. "all": the reading thread
            waits while there is no room.
        room: the most pictures that wait, with "all".
        max_delay: pictures that have waited for longer than so many seconds are dropped, except
            for the last one; None: no limit.
        meter: counts what is dropped and taken.
    """

    def __init__(self, policy: Policy, room: int, max_delay: float | None, meter: Meter) -> None:
        self._policy, self._max_delay, self._meter = policy, max_delay, meter
        self._room = 1 if policy == "newest" else room
        self._waiting: deque[Picture] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None
        self._wakers: list[Callable[[], None]] = []

    def offer(self, picture: Picture) -> bool:
        """Hands a picture over; returns False if nobody will take any more."""
        with self._changed:
            if self._policy == "newest" and self._waiting:
                old = self._waiting.pop()
                picture = picture._replace(gap=picture.gap or old.gap)
                self._meter.dropped("newer")
            while len(self._waiting) >= self._room and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._waiting.append(picture)
            self._wake()
        return True

    def finish(self, error: BaseException | None) -> None:
        """Ends the iteration after the pictures that wait, with an error if there is one."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._wake()

    def close(self) -> None:
        """Ends the iteration now. Any thread and signal handlers may call it."""
        with self._changed:
            self._closed = self._ended = True
            self._error = None
            self._waiting.clear()
            self._wake()

    def take(self, most: int, until: Callable[[], float | None]) -> list[Picture] | None:
        """Waits for pictures and takes them; returns none of them at the end.

        Args:
            most: take at most so many. They are of one form, without a gap between them.
            until: when waiting ends, on the meter's clock; None: it does not. It is asked again
                after each wait.

        Returns:
            The pictures, in order; None: the time is over.
        """
        with self._changed:
            while (found := self.poll(most)) is None:
                end = until()
                left = None if end is None else end - self._meter.now()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            return found

    def poll(self, most: int) -> list[Picture] | None:
        """Takes pictures if there are any; None: one has to wait for them. See ``take``."""
        with self._changed:
            self._drop_late()
            if self._waiting:
                found = [self._waiting.popleft()]
                while len(found) < most and self._waiting and _alike(found[0], self._waiting[0]):
                    found.append(self._waiting.popleft())
                self._changed.notify_all()
                for picture in found:
                    self._meter.taken(picture.arrived)
                return found
            if not self._ended:
                return None
            error, self._error = self._error, None
            if error is not None:
                raise error
            return []

    def on_change(self, waker: Callable[[], None]) -> None:
        """Calls ``waker`` once, from any thread, when there is something new."""
        with self._changed:
            if self._waiting or self._ended:
                waker()
            else:
                self._wakers.append(waker)

    def _drop_late(self) -> None:
        if self._max_delay is None:
            return
        oldest = self._meter.now() - self._max_delay
        gap = False
        while len(self._waiting) > 1 and self._waiting[0].arrived < oldest:
            gap |= self._waiting.popleft().gap
            self._meter.dropped("delay")
            self._changed.notify_all()
        if gap:
            self._waiting[0] = self._waiting[0]._replace(gap=True)

    def _wake(self) -> None:
        self._changed.notify_all()
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            waker()


def _alike(one: Picture, other: Picture) -> bool:
    return not other.gap and form_of(one.frame) == form_of(other.frame)


def form_of(frame: Any) -> Any:
    """Returns what pictures of one batch have in common."""
    if hasattr(frame, "format") and hasattr(frame, "planes"):
        turned = frame.rotation
        return (
            frame.width,
            frame.height,
            frame.format.name,
            turned,
            frame.colorspace,
            frame.color_range,
        )
    return type(frame), getattr(frame, "shape", None), str(getattr(frame, "device", ""))
