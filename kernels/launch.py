"""Shared parts of all Triton ops: named launches, and checks of devices."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Launch(NamedTuple):
    """A kernel and its arguments: a call runs it, and a report compiles it."""

    kernel: Any  # a @triton.jit function
    arguments: tuple[Any, ...]  # tensors (of the meta device where it is only compiled), numbers
    options: Mapping[str, Any]  # constexpr arguments, num_warps, num_stages

    def run(self, grid: tuple[int, ...], like: Tensor) -> None:
        """Launches on the current stream of the tensor's device, unless the grid is empty."""
        if 0 in grid:
            return
        device = torch.cuda.device(like.device) if like.is_cuda else contextlib.nullcontext()
        with device:
            self.kernel[grid](*self.arguments, **self.options)


class Variant(NamedTuple):
    """A launch with a name: one row of the compile report. ``variants()`` lists them."""

    name: str  # "NV12, fp16"
    launch: Launch
    hot: bool = True  # it must not spill registers


def check_devices(op: str, like: Tensor, **others: Tensor | None) -> None:
    """Raises a ``ValueError`` if a tensor is on another device than ``like``."""
    for name, tensor in others.items():
        if tensor is not None and tensor.device != like.device:
            raise ValueError(f"{op}: {name} is on {tensor.device}, expected {like.device}")


def next_power_of_two(value: int) -> int:
    """Returns the least power of two that is at least ``value``: a valid side of a block."""
    return 1 << max(0, value - 1).bit_length()


def meta(*shape: int, dtype: torch.dtype) -> Tensor:
    """Makes a tensor without memory, aligned like others, for a launch that is only compiled."""
    return torch.empty(shape, dtype=dtype, device="meta")
