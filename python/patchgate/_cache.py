"""Tables that are made once and kept."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar, cast

import torch

Args = ParamSpec("Args")
Made = TypeVar("Made")


def cached_table(make: Callable[Args, Made]) -> Callable[Args, Made]:
    """A function of hashable arguments that remembers the last 64 results.

    What it makes under ``torch.inference_mode`` are ordinary tensors all the same: a later call may
    need them for gradients.
    """

    @wraps(make)
    def made(*args: Args.args, **named: Args.kwargs) -> Made:
        with torch.inference_mode(False):
            return make(*args, **named)

    return cast("Callable[Args, Made]", lru_cache(maxsize=64)(made))
