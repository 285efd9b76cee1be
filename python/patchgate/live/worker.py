"""The thread that reads a live source: it drains it, opens it again, and keeps its clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from patchgate.decode.source.waiting import Halt

from .backoff import Waits
from .clock import Pace, RisingClock
from .events import LiveEvent, What
from .handover import Handover, Picture
from .meter import Meter

_MOST_INCOMPLETE = 250  # pictures: a source without key pictures (intra refresh) is whole by then


class Feed(Protocol):
    """A source of pictures; see ``ContainerFeed``."""

    name: str
    ends: bool
    again: bool
    iterates: bool

    def opened(self, halt: Halt, meter: Meter) -> AbstractContextManager[Iterator[Picture]]: ...


class Worker:
    """Reads a source until it ends for good. ``run`` is the thread's.

    Args:
        feed: the source.
        handover: takes the pictures.
        meter: counts.
        waits: how long to wait until it is opened again; None: it is not.
        patient: open it again even if no picture has come yet.
        pace: which pictures are wanted.
        tell: is called with each event, in this thread.
    """

    def __init__(self, feed: Feed, handover: Handover, meter: Meter, waits: Waits | None,
                 patient: bool, pace: Pace, tell: Callable[[LiveEvent], None]) -> None:  # fmt: skip
        self._feed, self._handover, self._meter = feed, handover, meter
        self._waits, self._patient, self._pace, self._tell = waits, patient, pace, tell
        self._clock = RisingClock()
        self._halt, self._closed = Halt(), threading.Event()
        self._failed = False  # it is out of order, and that was told
        self._came = False  # a picture has come, ever
        self._whole = False  # a whole key picture has come since it was opened last
        self._seen = 0  # pictures since then

    def run(self) -> None:
        """Reads until the end, and hands errors over."""
        error: BaseException | None = None
        try:
            error = self._lasting()
        except BaseException as unexpected:  # whoever iterates raises it
            error = unexpected
        finally:
            if not self._closed.is_set():
                self._meter.state = "ended"
                self._event("ended", "it ended" if error is None else str(error))
            self._handover.finish(error)

    def stop(self) -> None:
        """Asks for the end. Any thread and signal handlers may call it."""
        self._closed.set()
        self._halt.asked = True
        if self._meter.state != "ended":
            self._meter.state = "closed"
        self._handover.close()

    def _lasting(self) -> BaseException | None:
        """Opens the source again and again; returns the error that ends it, if there is one."""
        while True:
            error = self._play()
            if self._closed.is_set():
                return None
            if error is None and self._feed.ends:
                return None
            if error is None:
                error = ConnectionError(f"{self._feed.name}: the stream ended")
            self._meter.error = str(error)
            lasts = self._waits is not None and self._feed.again
            if not lasts or not (self._came or self._patient):
                return error
            self._fail("stalled" if isinstance(error, TimeoutError) else "lost", str(error))
            self._meter.state = "waiting"
            assert self._waits is not None
            if self._closed.wait(self._waits.next()):
                return None
            self._meter.reconnects += 1
            self._clock.reopened()

    def _play(self) -> Exception | None:
        """Reads the source once; returns why it ended, None if it came to its end."""
        self._halt = Halt()
        if self._closed.is_set():  # it was closed before the flag was there
            return None
        self._whole, self._seen = False, 0
        try:
            with self._feed.opened(self._halt, self._meter) as pictures:
                for picture in pictures:
                    self._see(picture)
                    if self._closed.is_set():
                        break
        except Exception as error:
            return error
        return None

    def _see(self, picture: Picture) -> None:
        meter, self._seen = self._meter, self._seen + 1
        meter.arrived(picture.arrived)
        if not self._whole:
            if picture.corrupt or not (picture.key or self._seen > _MOST_INCOMPLETE):
                meter.dropped("incomplete")
                return
            self._whole = True
            picture = picture._replace(gap=self._came)
            self._comes()
        elif picture.corrupt:
            meter.dropped("corrupt")
            return
        seconds = self._clock.at(picture.seconds, picture.arrived)
        meter.clock_jumps = self._clock.jumps
        if not self._pace.takes(seconds) and not picture.gap:
            meter.dropped("fps")
            return
        self._handover.offer(picture._replace(seconds=seconds))

    def _comes(self) -> None:
        """Notes the first whole picture since the source was opened."""
        self._meter.state = "live"
        if self._waits is not None:
            self._waits.reset()
        if self._failed:
            self._event("back", "it gives pictures again")
        elif not self._came:
            self._event("opened", "its first picture came")
        self._came, self._failed = True, False

    def _fail(self, what: What, text: str) -> None:
        """Tells that the source is out of order, once until it is back."""
        if not self._failed:
            self._event(what, text)
        self._failed = True

    def _event(self, what: What, text: str) -> None:
        self._tell(LiveEvent(what, text, self._meter.now()))
