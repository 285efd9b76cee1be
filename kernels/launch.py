"""What every Triton op needs around its kernels: named launches, and the device to launch on."""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Launch(NamedTuple):
    """A kernel and all that it is called with: what a call runs, and what a report compiles."""

    kernel: Any  # a @triton.jit function
    arguments: tuple[Any, ...]  # tensors (of the meta device where it is only compiled), numbers
    options: Mapping[str, Any]  # constexpr arguments, num_warps, num_stages

    def run(self, grid: tuple[int, ...], like: Tensor) -> None:
        """Launches on the current stream of the tensor's device. An empty grid is no launch."""
        if 0 in grid:
            return
        device = torch.cuda.device(like.device) if like.is_cuda else contextlib.nullcontext()
        with device:
            self.kernel[grid](*self.arguments, **self.options)


class Variant(NamedTuple):
    """A launch under a name: one row of the compile report. ``variants()`` gives a list of them."""

    name: str  # "NV12, fp16"
    launch: Launch
    hot: bool = True  # registers must not spill


def check_devices(op: str, like: Tensor, **others: Tensor | None) -> None:
    """Raises ValueError where a tensor is on another device than ``like``."""
    for name, tensor in others.items():
        if tensor is not None and tensor.device != like.device:
            raise ValueError(f"{op}: {name} is on {tensor.device}, expected {like.device}")


def next_power_of_two(value: int) -> int:
    """The least power of two that is no less: what a block's side must be."""
    return 1 << max(0, value - 1).bit_length()


def meta(*shape: int, dtype: torch.dtype) -> Tensor:
    """A tensor without memory, aligned like any other: an argument of a launch to compile."""
    return torch.empty(shape, dtype=dtype, device="meta")
