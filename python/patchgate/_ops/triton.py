"""Registers the ops whose GPU kernels are written in Triton.

``kernels/<op>.py`` (installed as ``patchgate.kernels.<op>``) has one public function of the op's
own name and schema, and one for ``<op>_backward`` where there is such an op. It is imported when
the first CUDA tensor arrives: a machine without a GPU needs no Triton.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch

OPS: tuple[str, ...] = (  # each is in kernels/<op>.py
    "activate",
    "exchange",
    "expand",
    "expand_backward",
    "gather",
    "residual_attention",
    "residual_attention_backward",
    "nearest_token",
    "segment_mean",
    "segment_mean_backward",
)


def _on_first_use(op: str) -> Callable[..., Any]:
    """The op's Triton kernel, imported by the first call."""

    def run(*args: Any) -> Any:
        module = f"patchgate.kernels.{op.removesuffix('_backward')}"
        return getattr(importlib.import_module(module), op)(*args)

    return run


for _op in OPS:
    torch.library.impl(f"patchgate::{_op}", "CUDA")(_on_first_use(_op))
