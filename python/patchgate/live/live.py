"""``Live``: an opened live source, as an iterator of ``LiveBatch``."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

import torch

from patchgate.decode import Limits
from patchgate.decode.openings import close_at_exit
from patchgate.decode.pictures import Channels

from .batch import LiveBatch, batch_of
from .handover import Handover, Picture
from .meter import LiveStats, Meter
from .worker import Worker

_FAREWELL = 0.8  # seconds that ``close`` waits for the thread at most
_GRACE = 0.5  # seconds by which the thread, which knows the reason, may be later than the limit


class Live:
    """An opened live source, made by ``open_live``. Iterating it yields ``LiveBatch``es.

    There is one iteration: each batch is given once, whoever asks. ``for``, ``async for`` and
    ``next`` may be used, in any thread.

    Attributes:
        name: its name in messages, without user, password and query.
        device: the device of the planes.
        iterates: whether its source is an iterable of pictures.
    """

    def __init__(self, worker: Worker, handover: Handover, meter: Meter, *, name: str,
                 chunk: int, channels: Channels, device: torch.device, limits: Limits,
                 open_timeout: float | None, read_timeout: float | None,
                 iterates: bool) -> None:  # fmt: skip
        self.name, self.device = name, device
        self._worker, self._handover, self._meter = worker, handover, meter
        self._chunk, self._channels, self._limits = chunk, channels, limits
        self._open_timeout, self._read_timeout = open_timeout, read_timeout
        self.iterates = iterates
        self._began, self._process = meter.now(), os.getpid()
        self._thread = threading.Thread(target=worker.run, name="patchgate-live", daemon=True)
        self._thread.start()
        close_at_exit(self)

    def __iter__(self) -> Iterator[LiveBatch]:
        return self

    def __next__(self) -> LiveBatch:
        """Waits for the next frames.

        Raises:
            StopIteration: the source ended, or was closed.
            TimeoutError: no frame came within ``open_timeout``; or, where nothing can be opened
                again, within ``read_timeout``.
            Exception: why the source cannot be opened or read.
        """
        self._check_process()
        found = self._guarded(lambda: self._handover.take(self._chunk, self._until))
        if found is None:
            raise self._too_late()
        if not found:
            self.close()
            raise StopIteration
        return self._batch(found)

    def poll(self) -> LiveBatch | None:
        """Returns the next frames if there are any, and never waits; None: there are none now.

        Raises:
            StopIteration: the source ended, or was closed.
            Exception: why the source cannot be opened or read.
        """
        self._check_process()
        found = self._guarded(lambda: self._handover.poll(self._chunk))
        if found is None:
            return None
        if not found:
            self.close()
            raise StopIteration
        return self._batch(found)

    def on_change(self, waker: Callable[[], None]) -> None:
        """Calls ``waker`` once when ``poll`` has something new, from any thread, or at once."""
        self._handover.on_change(waker)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveBatch:
        """Does what ``__next__`` does, and lets the event loop run meanwhile."""
        self._check_process()
        loop = asyncio.get_running_loop()
        while (found := self._guarded(lambda: self._handover.poll(self._chunk))) is None:
            new = asyncio.Event()
            self._handover.on_change(lambda e=new: _tell(loop, e))  # type: ignore[misc]
            end = self._until()
            left = None if end is None else end - self._meter.now()
            if left is not None and left <= 0:
                raise self._too_late()
            try:
                await asyncio.wait_for(new.wait(), left)
            except TimeoutError:
                continue
        if not found:
            self.close()
            raise StopAsyncIteration
        return self._batch(found)

    @property
    def stats(self) -> LiveStats:
        """The numbers of this moment. It never waits."""
        return self._meter.stats()

    @property
    def last_arrival(self) -> float | None:
        """When the last picture arrived, on our clock; None before the first."""
        return self._meter.last_arrival

    def close(self) -> None:
        """Ends the iteration and lets go of the source, in whatever state it is.

        An iteration that waits ends. The call returns within a second: a thread that hangs in a
        library is left behind, and ends when the library returns. Any thread and signal handlers
        may call it, more than once.
        """
        self.close_within(_FAREWELL)

    def close_within(self, seconds: float) -> None:
        """Does what ``close`` does, but waits for the thread for at most so many seconds."""
        self._worker.stop()
        if self._process == os.getpid() and threading.current_thread() is not self._thread:
            self._thread.join(max(0.0, seconds))

    def _guarded(self, take: Callable[[], list[Picture] | None]) -> list[Picture] | None:
        """Takes pictures; an error of the source closes it."""
        try:
            return take()
        except BaseException:
            if not self._thread.is_alive() or self._meter.state == "ended":
                self._worker.stop()
            raise

    def _batch(self, pictures: list[Picture]) -> LiveBatch:
        try:
            batch = batch_of(pictures, self._channels, self._limits, self.name)
        except (TypeError, ValueError):
            self._worker.stop()
            raise
        self._meter.size = batch.height, batch.width
        return batch.to(self.device) if self.device.type != batch.device.type else batch

    def _until(self) -> float | None:
        """Returns when waiting ends, on our clock; None: it does not."""
        last, meter = self._meter.last_arrival, self._meter
        grace = 0.0 if self.iterates else _GRACE
        if meter.state == "opening" and not meter.delivered:
            return None if self._open_timeout is None else self._began + self._open_timeout + grace
        if not self.iterates or self._read_timeout is None:
            return None  # the thread keeps this limit, and opens the source again
        return (self._began if last is None else last) + self._read_timeout

    def _too_late(self) -> TimeoutError:
        option = "read_timeout" if self._meter.decoded else "open_timeout"
        seconds = self._read_timeout if self._meter.decoded else self._open_timeout
        self._worker.stop()
        return TimeoutError(
            f"{self.name} gave no picture within {option}={seconds:g} seconds; give a larger "
            f"{option}=, or None to wait for ever"
        )

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise RuntimeError(
                f"{self.name} was opened before this process was forked, and the thread that reads "
                "it is in the other one; open it in this one"
            )

    def __repr__(self) -> str:
        stats = self.stats
        size = "" if stats.size is None else f", {stats.size[1]}x{stats.size[0]}"
        return f"Live({self.name!r}, {stats.state}{size}, {stats.fps:.3g} frames/s)"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_thread"):
            self._worker.stop()


def _tell(loop: asyncio.AbstractEventLoop, new: asyncio.Event) -> None:
    """Sets an event of a loop from another thread; the loop may have ended by then."""
    try:
        loop.call_soon_threadsafe(new.set)
    except RuntimeError:
        return
