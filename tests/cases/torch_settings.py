"""What a program may have told torch, and whether what comes out is the same."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves


@contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic(mode: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=True)


class NoneOfIntegers(TorchFunctionMode):
    """Refuses that floats are made of whole numbers in the default dtype, as ``2 / tensor`` does.

    float32 is torch's default and often what was meant: this finds it without another default.
    """

    MEANT = ("float", "double", "half", "bfloat16", "to", "view", "type_as", "__get__")

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        made = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        wanted = "dtype" in (kwargs or {}) or name in self.MEANT or name.startswith("new_")
        if not wanted and any(x.is_floating_point() for x in made):
            assert any(x.is_floating_point() or x.is_complex() for x in inputs), (name, args)
        return out


SETTINGS: dict[str, Callable[[], Any]] = {
    "meta": lambda: default_device("meta"),
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "deterministic": lambda: deterministic(True),
    "not deterministic": lambda: deterministic(False),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "no promotion": NoneOfIntegers,
}


def leaves(value: Any) -> list[Any]:
    """Tensors and plain values of whatever a job gives."""
    if is_dataclass(value):
        return leaves([getattr(value, field.name) for field in fields(value)])
    if isinstance(value, dict):
        return [*value, *leaves(list(value.values()))]
    if isinstance(value, (list, tuple)):
        return [leaf for each in value for leaf in leaves(each)]
    if hasattr(value, "__dict__") and not isinstance(value, (torch.Tensor, io.IOBase)):
        return leaves(vars(value))
    return [value]


def assert_same(got: list[Any], want: list[Any]) -> None:
    """Leaves of two results, to the bit."""
    assert len(got) == len(want) > 0
    for ours, theirs in zip(got, want, strict=True):
        if isinstance(theirs, torch.Tensor):
            assert (ours.dtype, ours.device) == (theirs.dtype, theirs.device)
            assert torch.equal(ours.isnan(), theirs.isnan())
            assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())
        else:
            assert ours == theirs
