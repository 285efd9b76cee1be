"""Residual attention on a GPU: kept queries, and keys addressed by index in packed rows.

Keys and values are gathered by index as they are needed, as in a paged cache with pages of one
token (arXiv 2309.06180). Definition: ``reference/residual_attention.py``.

Letters: R queries, A rows of a table (of keys), G groups, L entries of an index (the keys of all
groups), H heads, d features of a head.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._check import token_ops as _token_op_checks
from patchgate._check.token_ops import wide
from patchgate.kernels import attention_tiles
from patchgate.kernels.launch import Launch, Variant, check_devices, meta
from patchgate.kernels.residual_attention_kernel import attend_kernel


class Tiling(NamedTuple):
    """How the work of a kernel is divided into programs."""

    block: int  # rows of a tile
    block_keys: int
    warps: int
    stages: int
    main: int  # features of a head, in two parts
    tail: int


def tiling(
    queries: int, groups: int, width: int, dtype: torch.dtype, generation: int = 9
) -> Tiling:
    """Chooses tiles by the size of the mean group: few rows are idle, and keys are loaded rarely.

    A tile's keys cost about as much as 64 of its queries. Block sizes are the largest ones that
    stay in registers (benchmarks/compiled) on GPUs of this and later generations.
    """
    main, tail = attention_tiles.columns(width)
    if dtype.itemsize > 2:  # without tensor cores, the operands need registers, too
        short = dtype == torch.float64 or main + tail > 64
        return Tiling(16, 16 if short else 32, 4, 2, main, tail)
    mean = max(1, queries // max(1, groups))
    block = min((128, 64, 32, 16), key=lambda size: -(-mean // size) * (size + 64))
    if block < 64 and tail:  # with a tail of 16, more warps would have no work
        main, tail = 2 * main, 0
    block_keys = 64 if main + tail <= 128 and (block == 128 or main + tail <= 80) else 32
    stages = 3 if generation >= 9 and main + tail <= 128 else 2
    warps = 8 if block == 128 or (block == 64 and main + tail > 80) else 4
    return Tiling(block, block_keys, warps, stages, main, tail)


def residual_attention(
    query: Tensor,  # [R, H, d]
    key: Tensor,  # [A, H, d]
    value: Tensor,  # [A, H, d]
    cu_queries: Tensor,  # [G + 1]
    key_index: Tensor,  # [L]
    cu_keys: Tensor,  # [G + 1]
    bias: Tensor | None,  # [L]
    scale: float,
) -> tuple[Tensor, Tensor]:  # [R, H, d], [R, H]
    """Does what ``patchgate.reference.residual_attention`` does, for at most 256 features a head.

    It never synchronises, and so cannot check the integers: a query with a key that is not one of A
    gets NaN. For groups whose ends do not ascend, the result is undefined, but no access is out of
    bounds. float32 is not rounded to TF32, unless ``torch.backends.cuda.matmul.fp32_precision`` (or
    ``allow_tf32``) allows it.

    Raises:
        TypeError: dtypes that do not fit.
        ValueError: shapes or devices that do not fit.
    """
    query, key, value = check(query, key, value, cu_queries, key_index, cu_keys, bias)
    (rows, heads, width), groups = query.shape, len(cu_queries) - 1
    out = query.new_empty((rows, heads, width))
    lse = query.new_empty((rows, heads), dtype=wide(query.dtype))
    cut = tiling(rows, groups, width, query.dtype, attention_tiles.generation(query))
    launch = launched(query, key, value, cu_queries, key_index, cu_keys, bias, scale, out, lse, cut)
    if lse.numel():
        launch.run((attention_tiles.tiles(rows, groups, cut.block) * heads,), query)
    return out, lse


def launched(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_queries: Tensor,
    key_index: Tensor,
    cu_keys: Tensor,
    bias: Tensor | None,
    scale: float,
    out: Tensor,  # [R, H, d]
    lse: Tensor,  # [R, H]
    cut: Tiling,
) -> Launch:
    """Returns the kernel and its arguments for one of the possible tilings."""
    unit, strides = attention_tiles.strides(query, key, value)
    rows, heads, width = query.shape
    arguments = (
        query, key, value, cu_queries, key_index, cu_keys, key_index if bias is None else bias,
        out, lse, rows, len(key), len(key_index), len(cu_queries) - 1, heads, *strides,
    )  # fmt: skip
    options = {
        "UNIT": unit,
        "SCALE": scale,
        "BIASED": bias is not None,
        "PRECISION": attention_tiles.precision(query.dtype),
        "WIDTH": width,
        "MAIN": cut.main,
        "TAIL": cut.tail,
        "BLOCK": cut.block,
        "BLOCK_KEYS": cut.block_keys,
        "num_warps": cut.warps,
        "num_stages": cut.stages,
    }
    return Launch(attend_kernel, arguments, options)


def check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_queries: Tensor,
    key_index: Tensor,
    cu_keys: Tensor,
    bias: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Raises if shapes, dtypes or devices do not fit; returns query, key, value with d adjacent."""
    _token_op_checks.residual_attention(query, key, value, cu_queries, key_index, cu_keys, bias)
    check_devices(
        "residual_attention", query, key=key, value=value, cu_queries=cu_queries,
        key_index=key_index, cu_keys=cu_keys, bias=bias,
    )  # fmt: skip
    attention_tiles.check_contiguous(
        cu_queries=cu_queries, key_index=key_index, cu_keys=cu_keys, bias=bias
    )
    return (
        attention_tiles.adjacent("query", query),
        attention_tiles.adjacent("key", key),
        attention_tiles.adjacent("value", value),
    )


def variants() -> list[Variant]:
    """Frames of so400m (72), ViT-B (64) and ViT-H (80): in whole, a part of each, and a few."""
    half = (torch.bfloat16, torch.float16)
    widths = (64, 72, 80, 128)
    whole = [_variant(729, width, dtype) for dtype in half for width in widths]
    parts = [_variant(40, width, torch.bfloat16) for width in widths]
    few = [_variant(20, 72, torch.bfloat16), _variant(5, 72, torch.bfloat16)]
    hopper = [_variant(729, width, torch.bfloat16, generation=9) for width in widths]
    slow = [
        _variant(729, 72, torch.bfloat16, biased=True),
        _variant(729, 64, torch.float32),
        _variant(729, 72, torch.float32),
        _variant(729, 64, torch.float64),
    ]
    return [*whole, *parts, *few, *(each._replace(hot=False) for each in (*hopper, *slow))]


def _variant(
    queries: int, width: int, dtype: torch.dtype, *, biased: bool = False, generation: int = 8
) -> Variant:
    """16 heads, 32 frames of 729 keys and as many queries each; fused projections."""
    frames, heads, keys = 32, 16, 729
    query, key, value = meta(frames * keys, 3, heads, width, dtype=dtype).unbind(1)
    query = query[: frames * queries]
    ends, index = meta(frames + 1, dtype=torch.int32), meta(frames * keys, dtype=torch.int64)
    bias = meta(frames * keys, dtype=torch.float32) if biased else None
    out = meta(*query.shape, dtype=dtype)
    lse = meta(*query.shape[:2], dtype=wide(dtype))
    cut = tiling(frames * queries, frames, width, dtype, generation)
    launch = launched(query, key, value, ends, index, ends, bias, width**-0.5, out, lse, cut)
    name = f"{str(dtype).removeprefix('torch.')}, {width} features, {queries} queries"
    return Variant(name + ", bias" * biased + ", as on Hopper" * (generation > 8), launch)
