"""Tensors that are what they say, whatever the user's program has told torch.

``torch.set_default_device`` and ``torch.set_default_dtype`` change what ``torch.arange(3)`` and
``torch.tensor([0.5])`` are. So patchgate calls no factory of torch without a device and a dtype;
``tests/test_torch_defaults.py`` reads the sources for it. What is made most often has a name here.

Letters: n numbers.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchgate._check import checked_count


def arange(*ends: int, device: torch.device | str = "cpu") -> Tensor:
    """``torch.arange`` of whole numbers, ``[n]`` int64."""
    return torch.arange(*ends, dtype=torch.int64, device=device)


def whole(values: Iterable[int]) -> Tensor:
    """``[n]`` int64 on the CPU."""
    return torch.tensor(list(values), dtype=torch.int64, device="cpu")


def truths(values: Iterable[bool]) -> Tensor:
    """``[n]`` bool on the CPU."""
    return torch.tensor(list(values), dtype=torch.bool, device="cpu")


def doubles(values: Iterable[float]) -> Tensor:
    """``[n]`` float64 on the CPU."""
    return torch.tensor(list(values), dtype=torch.float64, device="cpu")


def chance_of(seed: int) -> torch.Generator:
    """A generator on the CPU, begun with ``seed``."""
    checked = checked_count("seed", seed, -(1 << 63), (1 << 64) - 1)
    return torch.Generator(device="cpu").manual_seed(checked)


def drawn(shape: tuple[int, ...], chance: torch.Generator) -> Tensor:
    """Uniform in ``[0, 1)``, of ``shape``, float32 on the CPU, from a generator there."""
    return torch.rand(shape, generator=chance, dtype=torch.float32, device="cpu")


def as_given(value: Any) -> Tensor:
    """A tensor as it is; a number, a list or an array as the tensor on the CPU that says the same.

    Python's floats become float64: what was written is what is computed with. So do numpy's longer
    ones, which no tensor can hold.

    Raises:
        TypeError, ValueError: this is nothing that a tensor can hold.
    """
    if isinstance(value, Tensor):
        return value.detach()
    array = np.asarray(value)
    wide = array.dtype.kind == "f" and array.itemsize > np.dtype(np.float64).itemsize
    native = np.dtype(np.float64) if wide else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, ["C", "W"]))
