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

    @contextlib.contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


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
