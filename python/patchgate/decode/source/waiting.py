"""Makes calls that may never return in a thread that can be abandoned.

FFmpeg reads in C from servers and pipes that may send nothing. Neither Ctrl-C nor a time limit of
ours can end that. So a thread of its own, one for each open source, makes such calls. The calling
thread waits for the answer in Python: Ctrl-C can interrupt it, and it keeps its time limit. An
abandoned call ends when FFmpeg or the source returns; then its resources are closed.

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

_POLL = 0.1  # seconds until a waiting thread notices that it should stop
_FAREWELL = 0.5  # the most seconds to wait for the end of a running call

_scope = threading.local()


class Stopped(InterruptedError):
    """The read was asked to end."""


@contextlib.contextmanager
def ends_with(event: threading.Event) -> Iterator[None]:
    """Ends calls for which this thread waits inside, with ``Stopped``, when the event is set."""
    before = getattr(_scope, "event", None)
    _scope.event = event
    try:
        yield
    finally:
        _scope.event = before


class Halt:
    """A flag that ends reading. It is raised in one step, so that signal handlers may do it."""

    asked = False


class Direct:
    """Makes calls in the calling thread."""

    left = False

    def call(self, job: Callable[[], Answer]) -> Answer:
        return job()

    def limit(self, seconds: float | None, option: str, *, together: bool = False) -> None:
        """Does nothing, because no call waits."""

    def end(self, last: Callable[[], object]) -> None:
        last()


class Waiting:
    """Makes calls in a thread of its own, and waits for their answers up to a limit.

    Args:
        name: the name of the source, for messages.
        wake: tells the source that nobody waits for it any more.
        halt: a flag; raising it ends a call that waits.
    """

    def __init__(self, name: str, wake: Callable[[], None], halt: Halt) -> None:
        self.left = False  # a call was abandoned, and no other may follow
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
        """Sets the time limit of later calls.

        Args:
            seconds: the most that a call may take; None: no limit.
            option: the name of the option that sets it, for messages.
            together: the limit holds for all later calls together.
        """
        self._seconds, self._option = seconds, option
        self._ends = time.monotonic() + seconds if together and seconds is not None else 0.0

    def call(self, job: Callable[[], Answer]) -> Answer:
        """Returns what ``job`` returns, or raises what it raises.

        Raises:
            TimeoutError: it takes too long.
            Stopped: it was asked to stop.

        In both cases, and after Ctrl-C, the job is abandoned, and the source cannot be used again.
        """
        if self._process != os.getpid():
            raise RuntimeError(f"{self._name} was opened before this process was forked")
        if self.left:
            raise Stopped(f"{self._name} was abandoned while it was read; open it again")
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
            del value  # the error refers to this frame

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
        """Makes a last call after the running one, and ends the thread.

        It waits for a moment for them, but never for an abandoned call, nor in the thread itself
        (from which the garbage collector may call it).
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
        except BaseException as error:  # the calling thread raises it
            self.answer.put((False, error))


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """Runs in the thread. It refers only to its jobs, so that its owner can be collected."""
    while (job := jobs.get()) is not None:
        job.run()
        del job  # otherwise the last answer would live until the next job
