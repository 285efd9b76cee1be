"""Gated towers of fixed capacity for tests, compiled or not."""

import math
from typing import Any

import torch
from gated_cases import MEAN, STD
from torch import nn

import patchgate

EXACT = {"rtol": 0, "atol": 1e-10}  # float64: rounding only
FULL = {"context": "full", "tolerance": math.inf, "moved": "lend"}
OUTPUTS = ("last_hidden_state", "pooler_output")


def gated(model: nn.Module, **settings: Any) -> Any:
    """Without tolerance, unless it is asked for."""
    settings = settings if settings.get("context") == "kept" else {**FULL, **settings}
    return patchgate.gated(model, mean=MEAN, std=STD, **settings)


def compiled(module: nn.Module, backend: str = "aot_eager") -> Any:
    """As one graph of fixed shapes."""
    return torch.compile(module, fullgraph=True, backend=backend, dynamic=False)


def assert_same(ours: Any, theirs: Any, **tolerance: float) -> None:
    """Outputs of towers, of one type."""
    assert type(ours) is type(theirs)
    for name in OUTPUTS:
        torch.testing.assert_close(ours[name], theirs[name], **(tolerance or EXACT))
