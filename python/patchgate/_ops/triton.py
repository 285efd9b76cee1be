"""Registers the ops whose GPU kernels are written in Triton.

``kernels/<op>.py`` (installed as ``patchgate.kernels.<op>``) has one public function of the op's
own name and schema. It is imported when the first CUDA tensor arrives: a machine without a GPU
needs no Triton.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch

OPS = {  # each op, and the file of kernels/ that it is in
    "activate": "activate",
    "exchange": "exchange",
    "expand": "expand",
    "expand_backward": "expand",
    "gather": "gather",
    "residual_attention": "residual_attention",
    "residual_attention_backward": "residual_attention_backward",
    "nearest_token": "nearest_token",
    "segment_mean": "segment_mean",
    "segment_mean_backward": "segment_mean",
}


def by_triton(op: str) -> Callable[..., Any]:
    """An op's Triton code, which takes what the op takes. Imports Triton."""
    kernel: Callable[..., Any] = getattr(
        importlib.import_module(f"patchgate.kernels.{OPS[op]}"), op
    )
    return kernel


def _on_first_use(op: str) -> Callable[..., Any]:
    """The op's Triton kernel, imported by the first call."""

    def run(*args: Any) -> Any:
        return by_triton(op)(*args)

    return run


for _op in OPS:
    torch.library.impl(f"patchgate::{_op}", "CUDA")(_on_first_use(_op))
