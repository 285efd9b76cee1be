"""States of gates, for the tests of what may be loaded and of calls that fail."""

from typing import Any

import torch
from torch import Tensor

from patchgate import Gate, GateResult

RULES: dict[str, Any] = {
    "patch": 8, "search_radius": 4, "max_age": 5, "hysteresis": 0.5, "noise": "adaptive",
}  # fmt: skip


def state_of(gate: Gate) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in gate.state_dict().items()}


def assert_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name


def assert_same(a: GateResult, b: GateResult) -> None:
    for name, got, expected in zip(a._fields, a, b, strict=True):
        assert got.dtype == expected.dtype, name
        assert torch.equal(got, expected), name
