"""One iteration of a video."""

from __future__ import annotations

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
        self._check = check

    def __iter__(self) -> Run[Item]:
        return self

    def __next__(self) -> Item:
        self._check()
        with self._lock:
            if self._ended:
                raise StopIteration
            return next(self._items)

    def close(self) -> None:
        """Waits for the item that is being made: its decoder cannot be freed before."""
        self._ended = True
        with self._lock:
            self._items.close()
