"""The readers of one ``Video``: one that waits for the first iteration, and those in use."""

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
    """Opens a source for each iteration, and can stop all that is open.

    Args:
        source: the source.
        reader: opens it. Waiting in it ends when the flag is raised.
    """

    def __init__(self, source: Source, reader: Callable[[Halt], PyAVReader]) -> None:
        self._source, self._reader = source, reader
        self._process = os.getpid()
        self._halts: list[Halt] = []  # flags of all readers that are being opened or read
        self._first: PyAVReader | None = None

    def first(self) -> PyAVReader:
        """Opens the source, and keeps the reader for the first iteration."""
        self._first = self._open()
        return self._first

    def take(self) -> PyAVReader:
        """Returns a reader for an iteration, which must call ``done`` with it."""
        reader = self._first or self._open()
        self._first = None
        return reader

    def done(self, reader: PyAVReader) -> None:
        """Closes a reader."""
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
        """Ends all reading. Any thread and signal handlers may call it."""
        for halt in tuple(self._halts):
            halt.asked = True

    def follow_fork(self) -> bool:
        """Opens the source again in a forked process, and leaves the parent's readers alone.

        Returns:
            Whether this is another process than before.

        Raises:
            RuntimeError: the source cannot be opened again.
        """
        if self._process == os.getpid():
            return False
        if self._source.is_file_object or not self._source.seekable:
            raise RuntimeError(
                f"{self._source.name} was opened before this process was forked, and is read by "
                "the other process, too; open it in this one"
            )
        self.close()  # frees nothing in a fork
        self._halts, self._process = [], os.getpid()
        return True

    def close(self) -> None:
        """Closes the readers that nobody has taken."""
        if self._first is not None:
            self._first.close()
            self._first = None


class Closable(Protocol):
    """An object with decoders."""

    def close_within(self, seconds: float) -> None: ...


_closables: weakref.WeakSet[Closable] = weakref.WeakSet()


def close_at_exit(thing: Closable) -> None:
    """Closes an object before Python ends, if it still exists then.

    When Python ends, it stops threads of decoders that write a log. Freeing such a decoder would
    then wait for them for ever.
    """
    _closables.add(thing)


@atexit.register
def _close_all() -> None:
    for thing in list(_closables):
        thing.close_within(1.0)
