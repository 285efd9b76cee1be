"""Segment means on the GPU: a program adds up one segment, a piece of the width at a time.

Letters: A rows, D features, L entries of the index, G segments.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from patchgate._check import token_ops as _token_op_checks
from patchgate.kernels.launch import Launch, Variant, check_devices, meta

_PIECE = 1024  # of a row: its sums fit the registers of four warps


@triton.jit
def _segment(ends, segment, length):
    """Where a segment begins and ends in the index, whatever the ends say."""
    begin, end = tl.load(ends + segment), tl.load(ends + segment + 1)
    return tl.maximum(begin, 0), tl.minimum(end, length)


@triton.jit
def _weight(weight, row, rows):
    """A row's weight in float64, or 1 of a row that there is not."""
    return tl.load(weight + row, (row >= 0) & (row < rows), 1.0).to(tl.float64)


@triton.jit
def _share(weight, row, rows, total, WEIGHTED: tl.constexpr):
    """A row's share of its segment, in float64."""
    if WEIGHTED:
        return _weight(weight, row, rows) / total
    return 1.0 / total


@triton.jit
def _total(weight, index, rows, begin, end, WEIGHTED: tl.constexpr):
    """The weight of a segment, added up in its order, in float64."""
    total = (end - begin).to(tl.float64)
    if WEIGHTED:
        total = total * 0.0
        j = begin
        while j < end:  # not range, which the interpreter cannot count with loaded numbers
            total += _weight(weight, tl.load(index + j), rows)
            j += 1
    return total


@triton.jit
def _row(features, row, rows, stride, column, inside, WORK: tl.constexpr):
    """Some columns of a row. One that there is not is NaN, and so is what is made of it."""
    there = inside & (row >= 0) & (row < rows)
    return tl.load(features + row * stride + column, there, float("nan")).to(WORK)


@triton.jit(do_not_specialize=["rows", "length"])
def _forward(
    features,  # [A, D]
    weight,  # [A]
    index,  # [L] int64
    ends,  # [G + 1] int32
    out,  # [G, D]
    rows,  # A
    length,  # L
    width,  # D
    stride,  # of features' rows
    WEIGHTED: tl.constexpr,
    WORK: tl.constexpr,
    PIECE: tl.constexpr,
):
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    inside = column < width
    begin, end = _segment(ends, segment, length)
    total = _total(weight, index, rows, begin, end, WEIGHTED)
    mean = tl.zeros([PIECE], WORK)
    if (begin < end) & (total > 0):
        row = tl.load(index + begin)
        first = _row(features, row, rows, stride, column, inside, WORK)
        j = begin + 1
        while j < end:
            row = tl.load(index + j)
            share = _share(weight, row, rows, total, WEIGHTED).to(WORK)
            mean += share * (_row(features, row, rows, stride, column, inside, WORK) - first)
            j += 1
        mean += first  # rows that are equal have exactly themselves as their mean
    tl.store(out + segment * width + column, mean.to(out.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["rows", "length"])
def _backward(
    grad,  # [G, D]
    features,  # [A, D]
    weight,  # [A]
    index,  # [L] int64
    ends,  # [G + 1] int32
    out,  # [G, D]
    grad_features,  # [A, D], zeros of the work dtype
    grad_weight,  # [A], likewise
    rows,  # A
    length,  # L
    width,  # D
    stride,  # of features' rows
    WEIGHTED: tl.constexpr,
    WORK: tl.constexpr,
    PIECE: tl.constexpr,
):
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    inside = column < width
    begin, end = _segment(ends, segment, length)
    total = _total(weight, index, rows, begin, end, WEIGHTED)
    at = segment * width + column
    slope = tl.load(grad + at, inside, 0.0).to(WORK)
    if total > 0:
        j = begin
        while j < end:
            row = tl.load(index + j)
            there = (row >= 0) & (row < rows)
            share = _share(weight, row, rows, total, WEIGHTED).to(WORK)
            # Atomic, because a row may be in several segments.
            tl.atomic_add(grad_features + row * width + column, share * slope, inside & there)
            if WEIGHTED:
                value = _row(features, row, rows, stride, column, inside, WORK)
                away = tl.where(inside, value - tl.load(out + at, inside, 0.0).to(WORK), 0.0)
                tl.atomic_add(grad_weight + row, tl.sum(slope * away) / total.to(WORK), there)
            j += 1


def segment_mean(
    features: Tensor,  # [A, D]
    weight: Tensor | None,  # [A]
    index: Tensor,  # [L]
    cu_segments: Tensor,  # [G + 1]
) -> Tensor:  # [G, D]
    """The op ``patchgate::segment_mean``, on the current stream; never synchronises.

    What only a look at the data would tell is not refused: a segment that names a row that there is
    not is NaN.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    _token_op_checks.segment_mean(features, weight, index, cu_segments)
    check_devices("segment_mean", features, weight=weight, index=index, cu_segments=cu_segments)
    features = _adjacent(features)
    out = features.new_empty((len(cu_segments) - 1, features.shape[1]))
    _forward_launch(features, weight, index, cu_segments, out).run(_programs(out), features)
    return out


def segment_mean_backward(
    grad: Tensor,  # [G, D]
    features: Tensor,  # [A, D]
    weight: Tensor | None,  # [A]
    index: Tensor,  # [L]
    cu_segments: Tensor,  # [G + 1]
    out: Tensor,  # [G, D]
) -> tuple[Tensor, Tensor]:  # [A, D], [A] or [0]
    """The op ``patchgate::segment_mean_backward``, on the current stream; never synchronises.

    Where a row is in several segments, its gradients are added up in no fixed order. A row that
    there is not has none.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    _token_op_checks.segment_mean(features, weight, index, cu_segments)
    _token_op_checks.segment_mean_backward(grad, features, cu_segments, out)
    check_devices("segment_mean_backward", features, grad=grad, weight=weight, index=index)
    check_devices("segment_mean_backward", features, cu_segments=cu_segments, out=out)
    features, wide = _adjacent(features), _wide(features)
    sums = (
        features.new_zeros(features.shape, dtype=wide),
        features.new_zeros((0,) if weight is None else weight.shape, dtype=wide),
    )
    inputs = (features, weight, index, cu_segments)
    _backward_launch(grad.contiguous(), *inputs, out, sums).run(_programs(out), features)
    return sums[0].to(features.dtype), sums[1]


def _forward_launch(
    features: Tensor, weight: Tensor | None, index: Tensor, cu_segments: Tensor, out: Tensor
) -> Launch:
    lists = (_flat(weight), index.contiguous(), cu_segments.contiguous())
    arguments = (features, *lists, out, *_sizes(features, index))
    return Launch(_forward, arguments, _options(features, weight))


def _backward_launch(
    grad: Tensor,
    features: Tensor,
    weight: Tensor | None,
    index: Tensor,
    cu_segments: Tensor,
    out: Tensor,
    sums: tuple[Tensor, Tensor],
) -> Launch:
    lists = (_flat(weight), index.contiguous(), cu_segments.contiguous())
    inputs = (grad, features, *lists, out.contiguous(), *sums)
    arguments = (*inputs, *_sizes(features, index))
    return Launch(_backward, arguments, _options(features, weight))


def variants() -> list[Variant]:
    """100,000 tokens of so400m/14 become 20,000, and what differs from that one by one."""
    return [
        *_variants("weighted, fp16", torch.float16),
        *_variants("weighted, bf16", torch.bfloat16),
        *_variants("weighted, fp32", torch.float32),
        *_variants("weighted, fp64", torch.float64),
        *_variants("plain, bf16", torch.bfloat16, weighted=False),
    ]


def _variants(name: str, dtype: torch.dtype, *, weighted: bool = True) -> list[Variant]:
    features, out = meta(100_000, 1152, dtype=dtype), meta(20_000, 1152, dtype=dtype)
    wide = _wide(features)
    weight = meta(100_000, dtype=wide) if weighted else None
    index, ends = meta(100_000, dtype=torch.int64), meta(20_001, dtype=torch.int32)
    inputs = (features, weight, index, ends)
    sums = (meta(100_000, 1152, dtype=wide), meta(100_000, dtype=wide))
    return [
        Variant(f"mean, {name}", _forward_launch(*inputs, out)),
        Variant(f"gradients, {name}", _backward_launch(out, *inputs, out, sums)),
    ]


def _adjacent(features: Tensor) -> Tensor:
    """With the features of a row side by side: anything else is copied."""
    return features if features.stride(1) == 1 else features.contiguous()


def _sizes(features: Tensor, index: Tensor) -> tuple[int, int, int, int]:
    """Rows and width of the features, entries of the index, and how far apart the rows lie."""
    rows, width = features.shape
    return rows, len(index), width, features.stride(0)


def _flat(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.contiguous()


def _wide(features: Tensor) -> torch.dtype:
    """What numbers like these are computed in."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32


def _options(features: Tensor, weight: Tensor | None) -> dict[str, object]:
    work = tl.float64 if features.dtype == torch.float64 else tl.float32
    return {"WEIGHTED": weight is not None, "WORK": work, "PIECE": _PIECE, "num_warps": 4}


def _programs(out: Tensor) -> tuple[int, int]:
    return out.shape[0], triton.cdiv(out.shape[1], _PIECE)
