"""Measures the time of the pipeline's stages, and shares the cores among them."""

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from patchgate.decode.source.source import usable_cpus

Item = TypeVar("Item")


@dataclass
class StageSeconds:
    """Wall-clock seconds of each stage. Decoding runs beside the others, which "wait" for it."""

    seconds: dict[str, float] = field(default_factory=dict)

    def time(self, stage: str) -> contextlib.AbstractContextManager[None]:
        """Counts the time inside of it as a stage's."""
        return _Counted(self.seconds, stage)


class _Counted(contextlib.AbstractContextManager[None]):
    """The time of one stage: it takes a live frame four times, and a generator would be slower."""

    __slots__ = ("_seconds", "_stage", "_start")

    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self._seconds, self._stage = seconds, stage

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        spent = time.perf_counter() - self._start
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + spent


def timed(items: Iterator[Item], stages: StageSeconds, stage: str) -> Generator[Item, None, None]:
    """Yields the same items, and counts the time in which each is made as a stage's."""
    while True:
        with stages.time(stage):
            item = next(items, None)
        if item is None:
            return
        yield item


@contextlib.contextmanager
def spare_threads(decoding: int) -> Iterator[None]:
    """Leaves the decoder its cores, which OpenMP's threads would take: they spin while they wait.

    Args:
        decoding: the number of threads that the decoder uses.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(1, usable_cpus() - decoding)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
