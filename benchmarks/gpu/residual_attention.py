"""Residual attention: frames of so400m/14 at 378 px (729 tokens, 16 heads of 72) and other widths.

Baseline: torch's scaled_dot_product_attention over dense frames, whose keys and values lie ready:
what a dense tower pays. With all tokens kept it is the same work; with a tenth kept, ten times it.

Letters: T frames, N tokens of a frame, H heads, d features of a head, K kept tokens of a frame.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from residual_attention import make_layer
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from gpu import Case
from gpu.floors import Work
from patchgate import _ops


def cases(small: bool) -> list[Case]:
    whole = [_case(width, 1.0, small) for width in (64, 72, 80, 128)]
    return [*whole, _case(72, 0.1, small), _case(72, 0.01, small), _gradient(72, small)]


def _case(width: int, share: float, small: bool) -> Case:
    inputs, dense = _inputs(width, share, small)
    return Case(
        "residual_attention",
        f"{share:.0%} kept, {width} features, bfloat16",
        _counted(inputs),
        (*inputs, *dense),
        _attend,
        agree=_close,
        baseline=_sdpa,
    )


def _gradient(width: int, small: bool) -> Case:
    inputs, _ = _inputs(width, 1.0, small)
    attended, random = _counted(inputs), torch.Generator().manual_seed(1)
    # The function is defined whatever the outputs were: these need no attention on the CPU first.
    grad, out = torch.randn(2, *inputs[0].shape, generator=random).to(torch.bfloat16).unbind()
    lse = torch.full(out.shape[:2], 1.0 + math.log(len(inputs[4])))
    # Five products in place of two; what goes in twice more and out once.
    work = Work(attended.bytes * 2, float16_matrix=attended.float16_matrix * 5 // 2)
    return Case(
        "residual_attention",
        f"gradients, all kept, {width} features, bfloat16",
        work,
        (grad, torch.zeros_like(lse), *inputs, out, lse),
        torch.ops.patchgate.residual_attention_backward,
        agree=_close,
        kernel="residual_attention_backward",
    )


def _inputs(width: int, share: float, small: bool) -> tuple[tuple[Any, ...], tuple[Tensor, ...]]:
    """The op's arguments, and dense frames' query, key and value ``[T, H, N, d]``."""
    frames, tokens, heads = (2, 60, 2) if small else (32, 729, 16)
    layer = make_layer(tokens, heads, width, frames, share, torch.bfloat16)
    random = torch.Generator().manual_seed(1)
    dense = torch.randn(3, frames, heads, tokens, width, generator=random).to(torch.bfloat16)
    return layer.arguments, tuple(dense.unbind())


def _counted(inputs: tuple[Any, ...]) -> Work:
    """Rows read once and written once: how often a row is read again, the cache decides."""
    query, key, value, cu_queries, index, cu_keys, *_ = inputs
    floats = 2 * query.numel() + key.numel() + value.numel()
    integers = 8 * index.numel() + 4 * (cu_queries.numel() + cu_keys.numel())
    lse = 4 * query.shape[0] * query.shape[1]
    pairs = int((cu_queries.diff().long() * cu_keys.diff()).sum())
    products = 4 * pairs * query.shape[1] * query.shape[2]
    return Work(floats * query.element_size() + integers + lse, float16_matrix=products)


def _attend(*inputs: Any) -> tuple[Tensor, Tensor]:
    return _ops.residual_attention(*inputs[:-3])


def _sdpa(*inputs: Any) -> Tensor:
    return scaled_dot_product_attention(*inputs[-3:])


def _close(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """To some roundings of bfloat16, of the largest number."""
    pairs = zip(ours, theirs, strict=True)
    return all(
        bool((a.float() - b.float()).abs().max() <= 0.03 * max(1.0, float(b.abs().max())))
        for a, b in pairs
        if b.numel()
    )
