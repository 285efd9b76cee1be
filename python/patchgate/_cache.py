"""Caches tables."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar, cast

import torch

Args = ParamSpec("Args")
Made = TypeVar("Made")


def cached_table(make: Callable[Args, Made]) -> Callable[Args, Made]:
    """Makes a function of hashable arguments remember its last 64 results.

    Under ``torch.inference_mode`` it makes ordinary tensors, too: a later call may need them for
    gradients.
    """

    @wraps(make)
    def made(*args: Args.args, **named: Args.kwargs) -> Made:
        with torch.inference_mode(False):
            return make(*args, **named)

    return cast("Callable[Args, Made]", lru_cache(maxsize=64)(made))
