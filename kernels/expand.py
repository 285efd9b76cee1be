"""Expand on a GPU: a row copy per cell, and the sums over cells that are its gradient.

Letters: K tokens, D features, N cells.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from patchgate._check import token_ops as _token_op_checks
from patchgate._tensors import arange
from patchgate.kernels.launch import Launch, Variant, check_devices, meta, next_power_of_two

_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
_ELEMENTS = 4096  # elements of a program of four warps: four loads of 16 bytes for each thread
_PIECE = 128  # columns of a program; the widths of towers are multiples of it
_SUMMED = 16  # cells that are summed at the same time


@triton.jit(do_not_specialize=["tokens", "cells"])  # one kernel for all lengths
def _copy_rows(
    features,  # [K, D], as bits
    source,  # [N] int64
    out,  # [N, D], as bits
    tokens,  # K
    cells,  # N
    width,  # D
    stride,  # of features' rows
    ROWS: tl.constexpr,
    PIECE: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    token = tl.load(source + row, row < cells, -1)
    known = (token >= 0) & (token < tokens)
    inside = (row < cells)[:, None] & (column < width)[None, :]
    pointers = features + token[:, None] * stride + column[None, :]
    bits = tl.load(pointers, inside & known[:, None], -1)  # all ones: NaN, or -1
    tl.store(out + row[:, None] * width + column[None, :], bits, inside)


@triton.jit
def _sum_rows(
    grad,  # [N, D]
    order,  # [N] int64: cells by token
    ends,  # [K + 1] int64: token k's are order[ends[k]:ends[k + 1]]
    out,  # [K, D]
    width,  # D
    ROWS: tl.constexpr,
    PIECE: tl.constexpr,
    WORK: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    sums = tl.zeros([ROWS, PIECE], WORK)
    at, end = tl.load(ends + token), tl.load(ends + token + 1)
    while at < end:
        entry = at + tl.arange(0, ROWS)
        cell = tl.load(order + entry, entry < end, 0)
        inside = (entry < end)[:, None] & (column < width)[None, :]
        sums += tl.load(grad + cell[:, None] * width + column[None, :], inside, 0.0).to(WORK)
        at += ROWS
    total = tl.sum(sums, 0).to(out.dtype.element_ty)
    tl.store(out + token * width + column, total, column < width)


def expand(
    features: Tensor,  # [K, D]
    source: Tensor,  # [...] int64
) -> Tensor:  # [..., D]
    """The op ``patchgate::expand``, on the current stream; never synchronises.

    It cannot check the sources, because that would synchronise. The row of a source that is no
    token is NaN, or -1 for integers.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    _token_op_checks.expand(features, source)
    check_devices("expand", features, source=source)
    out = features.new_empty((*source.shape, features.shape[1]))
    launch = _copy_launch(features, source, out)
    launch.run(_programs(source.numel(), launch), features)
    return out


def expand_backward(
    grad: Tensor,  # [..., D]
    source: Tensor,  # [...] int64
    tokens: int,  # K
) -> Tensor:  # [K, D]
    """The op ``patchgate::expand_backward``, on the current stream; never synchronises.

    It uses no atomic adds: cells are sorted by their token and summed in float32, in an order that
    depends only on the sources, and rounded once. The result has the same bits every time.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    _token_op_checks.expand_backward(grad, source, tokens)
    check_devices("expand_backward", grad, source=source)
    by_token, order = torch.sort(source.reshape(-1), stable=True)  # [N]
    every = arange(tokens + 1, device=source.device)
    ends = torch.searchsorted(by_token, every)  # [K + 1]
    out = grad.new_empty((tokens, grad.shape[-1]))
    launch = _sum_launch(grad.contiguous(), order, ends, out)
    launch.run(_programs(tokens, launch, rows=1), grad)
    return out


def variants() -> list[Variant]:
    """32 frames of so400m/14 at 384 px of which a tenth was kept."""
    made = []
    for name, dtype in (("fp16", torch.float16), ("fp32", torch.float32), ("u8", torch.uint8)):
        features, out = meta(2333, 1152, dtype=dtype), meta(32 * 729, 1152, dtype=dtype)
        cells = meta(32 * 729, dtype=torch.int64)
        made.append(Variant(f"copy, {name}", _copy_launch(features, cells, out)))
        if dtype in _token_op_checks.FLOATS:
            ends = meta(2334, dtype=torch.int64)
            made.append(Variant(f"gradient, {name}", _sum_launch(out, cells, ends, features)))
    return made


def _copy_launch(features: Tensor, source: Tensor, out: Tensor) -> Launch:
    bits = _BITS[features.element_size()]
    if features.stride(1) != 1:
        features = features.contiguous()
    rows = features.view(bits)
    piece = min(_PIECE, next_power_of_two(rows.shape[1]))
    arguments = (
        rows,
        source.contiguous(),
        out.view(bits),
        len(rows),
        source.numel(),
        rows.shape[1],
        rows.stride(0),
    )
    return Launch(_copy_rows, arguments, {"ROWS": _ELEMENTS // piece, "PIECE": piece})


def _sum_launch(grad: Tensor, order: Tensor, ends: Tensor, out: Tensor) -> Launch:
    piece = min(_PIECE, next_power_of_two(grad.shape[-1]))
    work = tl.float64 if grad.dtype == torch.float64 else tl.float32
    options = {"ROWS": _SUMMED, "PIECE": piece, "WORK": work, "num_warps": 2}
    return Launch(_sum_rows, (grad, order, ends, out, grad.shape[-1]), options)


def _programs(items: int, launch: Launch, rows: int | None = None) -> tuple[int, int]:
    width = launch.arguments[0].shape[-1]
    rows = rows or launch.options["ROWS"]
    return triton.cdiv(items, rows), triton.cdiv(width, launch.options["PIECE"])
