"""Calls that may wait for ever, made where they can be left.

FFmpeg reads from servers and pipes that may say nothing, in C, where neither Ctrl-C nor a time
limit of ours reaches it. So such calls are made by a thread of their own, one for each open source,
and the thread that asked waits for the answer: in Python, interruptibly, and not for longer than it
was told. A call that was left ends when FFmpeg or the source lets it; then what it held is closed.

Plain files never wait. Their calls are made directly (``Direct``).
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Answer = TypeVar("Answer")

_POLL = 0.1  # seconds until a waiting thread notices that it shall stop
_FAREWELL = 0.5  # seconds that an orderly end may take

_scope = threading.local()


class Stopped(InterruptedError):
    """Somebody asked this read to end."""


@contextlib.contextmanager
def ends_with(event: threading.Event) -> Iterator[None]:
    """What this thread waits for in here ends, with ``Stopped``, when the event is set."""
    before = getattr(_scope, "event", None)
    _scope.event = event
    try:
        yield
    finally:
        _scope.event = before


class Halt:
    """A flag that ends reading. Raised in one step, so that a signal handler may do it."""

    asked = False


class Direct:
    """Makes calls where they are asked for."""

    left = False

    def call(self, job: Callable[[], Answer]) -> Answer:
        return job()

    def limit(self, seconds: float | None, option: str, *, together: bool = False) -> None:
        """Nothing here waits."""

    def end(self, last: Callable[[], object]) -> None:
        last()


class Waiting:
    """Makes calls in a thread of its own, and waits for their answers for so long.

    Args:
        name: of the source, for messages.
        wake: tells the source that nobody waits for it any more.
        halt: what waits ends with it.
    """

    def __init__(self, name: str, wake: Callable[[], None], halt: Halt) -> None:
        self.left = False  # a call was left: no other may follow
        self._name, self._wake, self._halt = name, wake, halt
        self._seconds: float | None = None
        self._option, self._ends = "", float("inf")
        self._process = os.getpid()
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_work, args=(self._jobs,), name="patchgate-source", daemon=True
        )
        self._thread.start()

    def limit(self, seconds: float | None, option: str, *, together: bool = False) -> None:
        """From here on: how long a call may take (None: for ever), and which option says so.

        together: all calls from here on.
        """
        self._seconds, self._option = seconds, option
        self._ends = time.monotonic() + seconds if together and seconds is not None else 0.0

    def call(self, job: Callable[[], Answer]) -> Answer:
        """What ``job`` gives or raises. TimeoutError where it takes too long, ``Stopped`` where it
        was
        asked to stop: then, and after Ctrl-C, the job is left, and the source with it."""
        if self._process != os.getpid():
            raise RuntimeError(f"{self._name} was opened before this process was forked")
        if self.left:
            raise Stopped(f"{self._name} was left while it was read; open it again")
        asked = _Job(job)
        self._jobs.put(asked)
        try:
            done, value = self._answer(asked)
        except BaseException:
            self.left = True
            self._wake()
            raise
        if done:
            return value
        try:
            raise value
        finally:
            del value  # which holds this frame

    def _answer(self, asked: _Job) -> tuple[bool, Any]:
        until = self._until()
        event = getattr(_scope, "event", None)
        while True:
            with contextlib.suppress(Empty):
                return asked.answer.get(timeout=max(0.0, min(_POLL, until - time.monotonic())))
            if self._halt.asked or (event is not None and event.is_set()):
                raise Stopped(f"{self._name}: reading was stopped")
            if time.monotonic() >= until:
                raise self._too_late()

    def _until(self) -> float:
        if self._seconds is None:
            return float("inf")
        return self._ends or time.monotonic() + self._seconds

    def _too_late(self) -> TimeoutError:
        what = "was not opened" if self._ends else "gave nothing"
        return TimeoutError(
            f"{self._name} {what} within {self._option}={self._seconds:g} seconds; give a larger "
            f"{self._option}=, or None to wait for ever"
        )

    def end(self, last: Callable[[], object]) -> None:
        """Makes a last call, when what is under way has come back, and ends the thread.

        Waits for a moment; never for a call that was left, nor in the thread itself (where the
        collector may have brought us).
        """
        if self._process != os.getpid():
            return
        job = _Job(last)
        self._jobs.put(job)
        self._jobs.put(None)
        if not self.left and threading.current_thread() is not self._thread:
            with contextlib.suppress(Empty):
                job.answer.get(timeout=_FAREWELL)
        self.left = True


class _Job:
    __slots__ = ("answer", "call")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.answer: SimpleQueue[tuple[bool, Any]] = SimpleQueue()

    def run(self) -> None:
        try:
            self.answer.put((True, self.call()))
        except BaseException as error:  # raised where it was asked for
            self.answer.put((False, error))


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """The thread: it knows its jobs alone, so that what it serves can be collected."""
    while (job := jobs.get()) is not None:
        job.run()
        del job  # or the last answer would live until the next job comes
