"""One iteration of a video."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Run(Generic[Item]):
    """One iteration. Any thread may end it.

    Args:
        items: yields the items.
        check: is called before each item, and raises if the iteration cannot go on. The generator
            does not get this error.
    """

    def __init__(
        self, items: Generator[Item, None, None], check: Callable[[], None] = lambda: None
    ) -> None:
        self._items, self._lock, self._ended = items, threading.RLock(), False
        self._check, self._process = check, os.getpid()

    def __iter__(self) -> Run[Item]:
        return self

    def __next__(self) -> Item:
        self._check()
        if self._process != os.getpid():
            raise RuntimeError(
                "this iteration began before the process was forked; begin another in the child"
            )
        with self._lock:
            if self._ended:
                raise StopIteration
            return next(self._items)

    def close(self, wait: float = -1) -> None:
        """Ends the iteration. It waits for an item that is being made, to free its decoder.

        Args:
            wait: the most seconds to wait; the decoder is then not freed. -1: wait for ever.
        """
        if self._process != os.getpid():
            return  # a thread that does not exist in this process may hold the lock
        self._ended = True
        if self._lock.acquire(timeout=wait):
            try:
                self._items.close()
            finally:
                self._lock.release()
