"""Pictures that an iterator gives, with their times, as a live source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from patchgate.decode import FrameBatch
from patchgate.decode.source.waiting import Halt

from .handover import Picture
from .meter import Meter

_EXPECTED = (
    "expected (picture, seconds) from the iterator: uint8 RGB [H, W, 3] of numpy or torch, or a "
    "frame of PyAV, and its time or None"
)


class IteratorFeed:
    """An iterator of pictures. It has the attributes of ``ContainerFeed``."""

    ends, again, iterates = True, False, True

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items
        self.name = f"<{type(items).__name__}>"

    @contextmanager
    def opened(self, halt: Halt, meter: Meter) -> Iterator[Iterator[Picture]]:
        """Gives the pictures. A generator is closed in the end."""
        items = iter(self._items)
        try:
            yield _pictures(items, halt, meter)
        finally:
            if close := getattr(items, "close", None):
                close()


def _pictures(items: Iterator[Any], halt: Halt, meter: Meter) -> Iterator[Picture]:
    for item in items:
        if halt.asked:
            return
        meter.received += 1
        frame, seconds = _parted(item)
        yield Picture(_kept(frame), seconds, meter.now())


def _parted(item: Any) -> tuple[Any, float | None]:
    """Returns a picture and its time in seconds, which may be unknown."""
    if isinstance(item, tuple) and len(item) == 2:
        frame, seconds = item
        if seconds is None:
            return frame, None
        if isinstance(seconds, bool) or not isinstance(seconds, Real) or seconds != seconds:
            raise TypeError(f"open_live: {_EXPECTED}, got {seconds!r} as the time")
        return frame, float(seconds)
    if isinstance(item, FrameBatch):
        if len(item) != 1:
            raise ValueError(f"open_live: expected batches of one frame, got {len(item)} frames")
        seconds = float(item.pts_seconds[0])
        return item, None if seconds != seconds else seconds
    if hasattr(item, "planes") and hasattr(item, "time"):
        return item, item.time
    if isinstance(item, np.ndarray | Tensor):
        return item, None
    raise TypeError(f"open_live: {_EXPECTED}, got {type(item).__name__}")


def _kept(frame: Any) -> Any:
    """Copies what the iterator may write to again, as cameras do with their buffers."""
    if isinstance(frame, np.ndarray):
        return frame.copy()
    if isinstance(frame, Tensor):
        return frame.clone()
    if hasattr(frame, "pts") and hasattr(frame, "planes") and not isinstance(frame, FrameBatch):
        frame.pts = None  # its time is beside it; a batch would check it
    return frame
