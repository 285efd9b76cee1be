"""Ways to spoil an argument of an op: what a tensor holds, its shape, strides, dtype; numbers."""

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

WHOLE = [
    -1, 0, 1, 2, 3, 4, 7, 8, 13, 100, 127, 128, 255, 256, 257, -2, -128,
    2**14, 2**14 + 1, 2**15, 2**16, 2**20 + 1, 2**31 - 1, 2**31, -(2**31), 2**32, 2**40,
    2**62, 2**63 - 1, -(2**63), -(2**62),
]  # fmt: skip
REAL = [
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-320, 1e300, -1e300, 1e38, 3e9, -3e9, float("inf"), -float("inf"),
    float("nan"),
]  # fmt: skip
LARGE = [2**20, 2**31 - 1, 2**31, 2**33, 2**40, 2**61, 2**62]  # of a dimension that holds nothing
DTYPES = [
    torch.uint8, torch.int8, torch.int32, torch.int64, torch.bool, torch.float32, torch.float64,
    torch.float16, torch.bfloat16, torch.uint16, torch.complex64,
]  # fmt: skip


MOST = 1 << 18  # elements of a tensor that is looked at one by one


def spoiled(args: list[Any], luck: random.Random, endless: bool) -> tuple[list[Any], bool]:
    """The arguments with some of them spoiled, and whether that changed more than what tensors
    hold and how they lie in memory.

    Args:
        endless: whether tensors may have sizes, by strides of 0, that nobody can go through.
    """
    args, seen = list(args), False
    for _ in range(luck.choice([1, 1, 1, 2, 3])):
        at = luck.randrange(len(args))
        if not isinstance(args[at], Tensor):
            args[at], seen = _number(args[at], luck), True
            continue
        hidden = luck.random() < 0.6 and args[at].numel() < MOST
        try:
            change = luck.choice(_HIDDEN if hidden else _SEEN)
            if change is _repeated and not endless:
                continue
            args[at] = change(args[at], luck)
        except RuntimeError:  # a copy of what one of them has made too large
            continue
        seen |= not hidden
    return args, seen


def _number(value: Any, luck: random.Random) -> Any:
    if value is None:
        return torch.zeros(luck.randint(0, 4), dtype=luck.choice(DTYPES))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return luck.choice([*WHOLE, value + 1, value - 1, 2 * value])
    return luck.choice(REAL)


# ---- what a tensor holds, and how it lies in memory


def _some(x: Tensor, luck: random.Random) -> Tensor:
    x = x.clone(memory_format=torch.contiguous_format)
    flat = x.view(-1)
    for _ in range(luck.choice([1, 1, 3, 20]) if flat.numel() else 0):
        flat[luck.randrange(flat.numel())] = _entry(x, luck)
    return x


def _all(x: Tensor, luck: random.Random) -> Tensor:
    return torch.empty_like(x).copy_(_entry(x, luck))


def _shuffled(x: Tensor, luck: random.Random) -> Tensor:
    order = list(range(x.numel()))
    luck.shuffle(order)
    return x.reshape(-1)[torch.tensor(order, dtype=torch.int64)].view(x.shape)


def _entry(x: Tensor, luck: random.Random) -> Tensor:
    if x.dtype == torch.bool:
        return torch.tensor(luck.random() < 0.5)
    if x.is_floating_point() or x.is_complex():
        return torch.tensor(luck.choice(REAL), dtype=torch.float64).to(x.dtype)
    bounds = torch.iinfo(x.dtype)
    sizes = [x.numel(), x.numel() - 1, x.numel() + 1, *x.shape]
    number = min(max(luck.choice([*WHOLE, *sizes]), bounds.min), bounds.max)
    return torch.tensor(number, dtype=x.dtype)


def _gapped(x: Tensor, luck: random.Random) -> Tensor:
    return x.repeat_interleave(2, -1)[..., ::2] if x.dim() else x


def _turned(x: Tensor, luck: random.Random) -> Tensor:
    axis = luck.randrange(max(1, x.dim()))
    return x.movedim(axis, 0).contiguous().movedim(0, axis) if x.dim() else x


def _shifted(x: Tensor, luck: random.Random) -> Tensor:
    """One element behind the beginning of its memory: rows lie on other bytes."""
    memory = torch.empty(x.numel() + 1, dtype=x.dtype)
    memory[1:] = x.reshape(-1)
    return memory[1:].view(x.shape)


_HIDDEN: list[Callable[[Tensor, random.Random], Any]] = [
    _some, _some, _some, _all, _shuffled, _gapped, _turned, _shifted,
]  # fmt: skip


# ---- its shape and dtype


def _dtype(x: Tensor, luck: random.Random) -> Tensor:
    return x.to(luck.choice(DTYPES))


def _shorter(x: Tensor, luck: random.Random) -> Tensor:
    if not x.dim():
        return x
    axis = luck.randrange(x.dim())
    keep = luck.choice([0, 1, max(0, x.shape[axis] - 1)])
    return x.narrow(axis, 0, min(keep, x.shape[axis])).clone()


def _longer(x: Tensor, luck: random.Random) -> Tensor:
    if not x.dim():
        return x
    axis = luck.randrange(x.dim())
    return torch.cat([x, x.narrow(axis, 0, min(luck.randint(1, 2), x.shape[axis]))], axis)


def _flat(x: Tensor, luck: random.Random) -> Tensor:
    return luck.choice([x.reshape(-1), x[None].clone(), x[..., None].clone()])


def _without(x: Tensor, luck: random.Random) -> Tensor:
    if not x.dim():
        return x
    axis = luck.randrange(x.dim())
    return x.narrow(axis, 0, min(1, x.shape[axis])).sum(axis).to(x.dtype)


def _swapped(x: Tensor, luck: random.Random) -> Tensor:
    if x.dim() < 2:
        return x
    one, two = luck.sample(range(x.dim()), 2)
    return x.transpose(one, two).contiguous()


def _hollow(x: Tensor, luck: random.Random) -> Tensor:
    """No element, but a large size or two."""
    shape = list(x.shape) if luck.random() < 0.5 else [1] * max(1, x.dim())
    none = luck.randrange(len(shape)) if shape else 0
    shape = shape or [1]
    for axis in range(len(shape)):
        if luck.random() < 0.5:
            shape[axis] = luck.choice(LARGE)
    shape[none] = 0
    try:
        return torch.empty(shape, dtype=x.dtype)
    except RuntimeError:  # even torch has its limits
        return torch.empty(0, dtype=x.dtype)


def _repeated(x: Tensor, luck: random.Random) -> Tensor:
    """One element over and over: a large size that takes no memory."""
    if not x.dim() or not x.numel():
        return x
    axis = luck.randrange(x.dim())
    shape = list(x.shape)
    shape[axis] = luck.choice([2**20, 2**33, 2**40])
    return x.narrow(axis, 0, 1).expand(shape)


def _none(x: Tensor, luck: random.Random) -> Any:
    return None


_SEEN: list[Callable[[Tensor, random.Random], Any]] = [
    _dtype, _shorter, _longer, _flat, _without, _swapped, _hollow, _repeated, _none,
]  # fmt: skip
