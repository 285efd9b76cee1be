"""Loads the native library and completes its ops: fake kernels, autograd.

The schemas are in ``csrc/ops.cpp``; everything that registers something in Python is here.

attention.py        fake kernels and gradients of residual attention, exchange, activate
gather_gradient.py  the gradient of gather
library.py          the file itself, and how it was built
merge.py            fake kernels and gradients of the ops of merging
triton.py           the ops whose GPU kernels are written in Triton: kernels/, by name
"""

import math
from typing import Any

import torch
from torch import Tensor

from patchgate._check import ops as _op_checks
from patchgate._check import token_ops as _token_op_checks
from patchgate._ops import library as _library

__all__ = [
    "activate",
    "compact",
    "contract",
    "exchange",
    "expand",
    "expand_backward",
    "frame_grid",
    "gate",
    "gather",
    "nearest_token",
    "residual_attention",
    "row_distance",
    "segment_mean",
]

if not _library.PATH.exists():
    raise ImportError(
        f"patchgate's native library is missing ({_library.PATH.name} in {_library.PATH.parent}). "
        "Build it: pip install --no-build-isolation -e ."
    )
torch.ops.load_library(_library.PATH)

frame_grid = torch.ops.patchgate.frame_grid.default
gate = torch.ops.patchgate.gate.default
compact = torch.ops.patchgate.compact.default
expand = torch.ops.patchgate.expand.default
expand_backward = torch.ops.patchgate.expand_backward.default
gather = torch.ops.patchgate.gather.default


@torch.library.register_fake("patchgate::frame_grid")
def _frame_grid_fake(
    y: Tensor,  # [T, H', W']
    cb: Tensor,  # [T, H'', W'']
    cr: Tensor,  # [T, H'', W'']
    luma_x: Tensor,  # [W, 1 + taps]
    luma_y: Tensor,  # [H, 1 + taps]
    chroma_x: Tensor,  # [W, 1 + taps]
    chroma_y: Tensor,  # [H, 1 + taps]
    full_range: bool,
    bit_depth: int,
) -> Tensor:
    _op_checks.frame_grid((y, cb, cr), (luma_x, luma_y, chroma_x, chroma_y), bit_depth)
    return y.new_empty((y.shape[0], 3, luma_y.shape[0], luma_x.shape[0]), dtype=torch.uint8)


@torch.library.register_fake("patchgate::gate")
def _gate_fake(
    planes: Tensor,  # [S, T, f, C, H, W]
    picture: Tensor,
    ids: Tensor,
    source: Tensor,  # [S, h, w]
    clock: Tensor,
    births: Tensor,
    quartiles: Tensor,
    light: Tensor,  # [S, f, C, 4, h or 0, w]
    threshold_map: Tensor | None,
    cell: int,
    sub_block: int,
    limit: int,
    texture: int,
    search_radius: int,
    on_motion: int,
    cut: int,
    hysteresis: float,
    adaptive: bool,
    motion_precision: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    state = (picture, ids, source, clock, births, quartiles, light)
    _op_checks.gate(planes, state, threshold_map)
    _op_checks.gate_rules(
        planes, source, cell, sub_block, limit, texture, search_radius, on_motion, cut, hysteresis,
        motion_precision,
    )  # fmt: skip
    frames = planes.shape[:2]
    cells = (*frames, *source.shape[1:])
    lights = planes.shape[2] if light.shape[4] else 0
    return (
        planes.new_empty(cells),
        planes.new_empty((*cells, 2), dtype=torch.int8),
        planes.new_empty(cells, dtype=torch.int32),
        planes.new_empty(cells, dtype=torch.int64),
        planes.new_empty(frames, dtype=torch.bool),
        planes.new_empty(frames, dtype=torch.int32),
        planes.new_empty((*frames, lights, planes.shape[3], 2), dtype=torch.int32),
        planes.new_empty((*frames, *light.shape[4:]), dtype=torch.bool),
    )


@torch.library.register_fake("patchgate::compact")
def _compact_fake(kind: Tensor, capacity: int) -> tuple[Tensor, Tensor, Tensor]:
    _op_checks.compact(kind, capacity)
    frames = math.prod(kind.shape[:-2])  # not .numel(): that would pin a symbolic size
    return (
        kind.new_empty((capacity,), dtype=torch.int64),
        kind.new_empty((frames + 1,), dtype=torch.int32),
        kind.new_empty((1,), dtype=torch.int64),
    )


@torch.library.register_fake("patchgate::gather")
def _gather_fake(
    y: Tensor,  # [T, H', W']
    cb: Tensor,  # [T, H'', W'']
    cr: Tensor,  # [T, H'', W'']
    index: Tensor,  # [capacity]
    taps_x: Tensor,  # [W, 1 + taps]
    taps_y: Tensor,  # [H, 1 + taps]
    matrix: Tensor | None,  # [6]
    levels: Tensor,  # [3, 256]
    bit_depth: int,
    patch: int,
    merge: int,
    temporal_patch: int,
    *rest: Any,
) -> Tensor:
    sides = (patch, merge, temporal_patch)
    _op_checks.gather((y, cb, cr), index, (taps_x, taps_y), matrix, levels, bit_depth, sides)
    rows = index.shape[0] * merge * merge
    return levels.new_empty((rows, temporal_patch * 3 * patch * patch))


@torch.library.register_fake("patchgate::expand")
def _expand_fake(features: Tensor, source: Tensor) -> Tensor:
    _token_op_checks.expand(features, source)
    return features.new_empty((*source.shape, features.shape[1]))


@torch.library.register_fake("patchgate::expand_backward")
def _expand_backward_fake(grad: Tensor, source: Tensor, tokens: int) -> Tensor:
    _token_op_checks.expand_backward(grad, source, tokens)
    return grad.new_empty((tokens, grad.shape[-1]))


def _expand_setup(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.tokens = inputs[0].shape[0]
    ctx.save_for_backward(inputs[1])


def _expand_gradient(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
    # A token that stands for many cells gathers the gradients of all of them.
    return expand_backward(grad, *ctx.saved_tensors, ctx.tokens), None


def _expand_backward_setup(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(inputs[1])


def _expand_backward_gradient(  # type: ignore[no-untyped-def]
    ctx, grad: Tensor
) -> tuple[Tensor, None, None]:
    return expand(grad, *ctx.saved_tensors), None, None


torch.library.register_autograd("patchgate::expand", _expand_gradient, setup_context=_expand_setup)
torch.library.register_autograd(
    "patchgate::expand_backward", _expand_backward_gradient, setup_context=_expand_backward_setup
)

# They complete ops of the library loaded above.
from patchgate._ops import attention, gather_gradient, merge, triton  # noqa: E402, F401

residual_attention = attention.residual_attention
exchange = attention.exchange
activate = attention.activate
segment_mean = merge.segment_mean
nearest_token = merge.nearest_token
contract = merge.contract
row_distance = merge.row_distance
