"""The readers of one ``Video``: the first, which waits to be read, and those that are being
read.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from typing import Protocol

from .pyav import PyAVReader
from .source.source import Source
from .source.waiting import Halt


class Openings:
    """Opens a source again and again, and knows what can be stopped.

    Args:
        source: what is opened.
        reader: opens it; what waits in it ends when the flag is raised.
    """

    def __init__(self, source: Source, reader: Callable[[Halt], PyAVReader]) -> None:
        self._source, self._reader = source, reader
        self._process = os.getpid()
        self._halts: list[Halt] = []  # of what is being opened or read
        self._first: PyAVReader | None = None

    def first(self) -> PyAVReader:
        """Opens it, and keeps that for the first iteration."""
        self._first = self._open()
        return self._first

    def take(self) -> PyAVReader:
        """For an iteration, which calls ``done`` with it."""
        reader = self._first or self._open()
        self._first = None
        return reader

    def done(self, reader: PyAVReader) -> None:
        """Closes it."""
        if reader.halt in self._halts:
            self._halts.remove(reader.halt)
        reader.close()

    def _open(self) -> PyAVReader:
        halt = Halt()
        self._halts.append(halt)
        try:
            return self._reader(halt)
        except BaseException:
            self._halts.remove(halt)
            raise

    def stop(self) -> None:
        """All that is open ends where it is. Any thread may call it, and signal handlers."""
        for halt in tuple(self._halts):
            halt.asked = True

    def follow_fork(self) -> bool:
        """In a forked process what the parent opened is left alone: the source is opened anew.

        Returns:
            Whether this is another process than before.

        Raises:
            RuntimeError: what is shared with the parent cannot be opened again.
        """
        if self._process == os.getpid():
            return False
        if self._source.is_file_object or not self._source.seekable:
            raise RuntimeError(
                f"{self._source.name} was opened before this process was forked, and is read by "
                "the other process, too; open it in this one"
            )
        self.close()  # which frees nothing here
        self._halts, self._process = [], os.getpid()
        return True

    def close(self) -> None:
        """Closes the readers that nobody has taken."""
        if self._first is not None:
            self._first.close()
            self._first = None


class Closable(Protocol):
    """What has decoders."""

    def close_within(self, seconds: float) -> None: ...


_closables: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_exit(thing: Closable) -> None:
    """Before Python ends, if it still lives then: decoders' threads that want to log are stopped
    by Python for good when it ends, and whoever frees their decoder waits for them."""
    _closables.add(thing)


@atexit.register
def _close_all() -> None:
    for thing in list(_closables):
        thing.close_within(1.0)
