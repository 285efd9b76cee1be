"""A way from decoded frames in memory to features, and how it is timed.

Letters: K kept cells, D features.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import FrameBatch
from patchgate.pipeline import StageSeconds

Timer = Callable[[str], AbstractContextManager[None]]


class Done(NamedTuple):
    """What one run made of a clip."""

    tokens: int  # that leave the tower
    flops: float  # of the tower
    features: Tensor  # [K, D]


Way = Callable[[FrameBatch, Timer], Done]


def timed(way: Way, batch: FrameBatch) -> tuple[Done, dict[str, float], float]:
    """One run: what it made, seconds of each stage, seconds in all."""
    stages, start = StageSeconds(), time.perf_counter()
    with torch.inference_mode():
        done = way(batch, stages.time)
    return done, stages.seconds, time.perf_counter() - start
