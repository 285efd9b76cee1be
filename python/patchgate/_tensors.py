"""Makes tensors with a device and a dtype, whatever defaults the user's program has set.

``torch.set_default_device`` and ``torch.set_default_dtype`` change what ``torch.arange(3)`` and
``torch.tensor([0.5])`` make. So patchgate calls no factory of torch without a device and a dtype;
``tests/test_torch_defaults.py`` checks the sources. The most frequent calls have a name here.

Letters: n numbers.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchgate._check import checked_count


def arange(*ends: int, device: torch.device | str = "cpu") -> Tensor:
    """Does what ``torch.arange`` does with whole numbers: ``[n]`` int64."""
    return torch.arange(*ends, dtype=torch.int64, device=device)


def whole(values: Iterable[int]) -> Tensor:
    """Makes a tensor ``[n]`` int64 on the CPU."""
    return torch.tensor(list(values), dtype=torch.int64, device="cpu")


def truths(values: Iterable[bool]) -> Tensor:
    """Makes a tensor ``[n]`` bool on the CPU."""
    return torch.tensor(list(values), dtype=torch.bool, device="cpu")


def doubles(values: Iterable[float]) -> Tensor:
    """Makes a tensor ``[n]`` float64 on the CPU."""
    return torch.tensor(list(values), dtype=torch.float64, device="cpu")


def chance_of(seed: int) -> torch.Generator:
    """Makes a random generator on the CPU with this seed."""
    checked = checked_count("seed", seed, -(1 << 63), (1 << 64) - 1)
    return torch.Generator(device="cpu").manual_seed(checked)


def drawn(shape: tuple[int, ...], chance: torch.Generator) -> Tensor:
    """Draws numbers uniformly from ``[0, 1)``: float32 of this shape, on the CPU."""
    return torch.rand(shape, generator=chance, dtype=torch.float32, device="cpu")


def as_given(value: Any) -> Tensor:
    """Returns a tensor unchanged, and converts a number, a list or an array to one on the CPU.

    Python's floats become float64, so that they keep their value. So do numpy's longer floats,
    which torch does not have.

    Raises:
        TypeError, ValueError: a tensor cannot have this value.
    """
    if isinstance(value, Tensor):
        return value.detach()
    array = np.asarray(value)
    wide = array.dtype.kind == "f" and array.itemsize > np.dtype(np.float64).itemsize
    native = np.dtype(np.float64) if wide else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.require(array, native, ["C", "W"]))
