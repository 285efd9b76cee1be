"""One iteration of a video."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Run(Generic[Item]):
    """One iteration, which another thread than the one that takes its items may end.

    Args:
        check: raises where it cannot go on; the iteration itself does not see the error.
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
        """Waits for the item that is being made: its decoder cannot be freed before.

        wait: for so many seconds at most (-1: for ever), and then leaves it as it is.
        """
        if self._process != os.getpid():
            return  # the lock may be held by a thread that is not here
        self._ended = True
        if self._lock.acquire(timeout=wait):
            try:
                self._items.close()
            finally:
                self._lock.release()
