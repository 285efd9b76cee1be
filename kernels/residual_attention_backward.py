"""Gradients of residual attention on a GPU.

Many groups share a row of keys, and their programs run at the same time. Its gradient is summed by
float32 (float64) atomics, in an order that differs from run to run: results are equal except for
rounding. Under ``torch.use_deterministic_algorithms``, each group writes its own gradients,
``[L, H, d]``, and these are summed in order. Then the bits are the same in every run; it needs more
memory.

Letters: R queries, A rows of a table (of keys), G groups, L entries of an index (the keys of all
groups), H heads, d features of a head.
"""

import torch
from torch import Tensor

from patchgate._check import token_ops as _token_op_checks
from patchgate._check.token_ops import wide
from patchgate.kernels import attention_tiles
from patchgate.kernels.launch import Launch, Variant, check_devices, meta
from patchgate.kernels.residual_attention import check
from patchgate.kernels.residual_attention_backward_kernel import key_kernel, query_kernel


def residual_attention_backward(
    grad_out: Tensor,  # [R, H, d]
    grad_lse: Tensor,  # [R, H]
    query: Tensor,  # [R, H, d]
    key: Tensor,  # [A, H, d]
    value: Tensor,  # [A, H, d]
    cu_queries: Tensor,  # [G + 1]
    key_index: Tensor,  # [L]
    cu_keys: Tensor,  # [G + 1]
    bias: Tensor | None,  # [L]
    scale: float,
    out: Tensor,  # [R, H, d]
    lse: Tensor,  # [R, H]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # [R, H, d], [A, H, d] x 2, [L] or [0]
    """Computes the gradients of query, key, value and bias; never synchronises.

    A key that is not one of A has no gradient, and those of its group's queries are NaN, like their
    outputs.

    Raises:
        TypeError, ValueError: in the cases of ``residual_attention``, or if the gradients do not
            fit its outputs.
    """
    query, key, value = check(query, key, value, cu_queries, key_index, cu_keys, bias)
    _token_op_checks.residual_attention_backward(grad_out, grad_lse, query, out, lse)
    check_devices("residual_attention_backward", query, grad_out=grad_out, grad_lse=grad_lse)
    check_devices("residual_attention_backward", query, out=out, lse=lse)
    grad_out, sums = attention_tiles.adjacent("grad_out", grad_out), wide(query.dtype)
    mean = (grad_out.to(sums) * out.to(sums)).sum(-1) - grad_lse  # [R, H]
    (rows, heads, width), groups = query.shape, len(cu_queries) - 1
    added = not torch.are_deterministic_algorithms_enabled()
    length = len(key) if added else len(key_index)
    grads = torch.zeros if added else torch.empty
    grad_query = query.new_empty((rows, heads, width))
    grad_key, grad_value = (
        grads((length, heads, width), dtype=sums, device=query.device) for _ in range(2)
    )
    grad_bias = query.new_empty((heads, 0 if bias is None else len(bias)), dtype=sums)
    of_queries, of_keys = _launches(
        grad_out, mean.contiguous(), lse.contiguous(), query, key, value, cu_queries, key_index,
        cu_keys, bias, scale, grad_query, grad_key, grad_value, grad_bias, added,
    )  # fmt: skip
    tile = tile_of(query.dtype)
    of_queries.run((attention_tiles.tiles(rows, groups, tile) * heads,), query)
    of_keys.run((attention_tiles.tiles(len(key_index), groups, tile) * heads,), query)
    if not added:
        grad_key, grad_value = (_by_row(x, key_index, len(key)) for x in (grad_key, grad_value))
    dtype = query.dtype
    return grad_query, grad_key.to(dtype), grad_value.to(dtype), grad_bias.sum(0).float()


def tile_of(dtype: torch.dtype) -> int:
    """Returns the rows of a program, queries or keys.

    It goes over half as many of the others at a time (in float32 and float64 over as many), so that
    all stay in registers.
    """
    return 16 if dtype.itemsize > 2 else 64


def _by_row(grads: Tensor, key_index: Tensor, rows: int) -> Tensor:
    """Sums the gradients of the L keys ``[L, H, d]`` for each of the A rows, ``[A, H, d]``, in
    order.
    """
    there = (key_index >= 0) & (key_index < rows)
    row = torch.where(there, key_index, rows)
    return grads.new_zeros((rows + 1, *grads.shape[1:])).index_add_(0, row, grads)[:rows]


def _launches(
    grad_out: Tensor,
    mean: Tensor,  # [R, H]
    lse: Tensor,  # [R, H]
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_queries: Tensor,
    key_index: Tensor,
    cu_keys: Tensor,
    bias: Tensor | None,
    scale: float,
    grad_query: Tensor,  # [R, H, d]
    grad_key: Tensor,  # [A, H, d] or [L, H, d]
    grad_value: Tensor,
    grad_bias: Tensor,  # [H, L]
    added: bool,
) -> tuple[Launch, Launch]:
    """Returns the kernels and their arguments."""
    rows, heads, width = query.shape
    main, tail = attention_tiles.columns(width)
    unit, strides = attention_tiles.strides(grad_out, query, key, value)
    inputs = (
        grad_out, mean, lse, query, key, value, cu_queries, key_index, cu_keys,
        key_index if bias is None else bias,
    )  # fmt: skip
    sizes = (rows, len(key), len(key_index), len(cu_queries) - 1, heads, *strides)
    tile = tile_of(query.dtype)
    step = max(16, tile // 2)
    options = {
        "UNIT": unit,
        "SCALE": scale,
        "BIASED": bias is not None,
        "PRECISION": attention_tiles.precision(query.dtype),
        "WIDTH": width,
        "MAIN": main,
        "TAIL": tail,
        "num_warps": 4,
        "num_stages": 2,
    }
    outputs = (grad_key, grad_value, grad_bias)
    of_queries = {**options, "BLOCK": tile, "BLOCK_KEYS": step}
    of_keys = {**options, "BLOCK": step, "BLOCK_KEYS": tile, "ADDED": added}
    if main + tail > 64:
        of_keys["num_warps"] = 8  # two sums of a tile must stay in registers
    return (
        Launch(query_kernel, (*inputs, grad_query, *sizes), of_queries),
        Launch(key_kernel, (*inputs, *outputs, *sizes), of_keys),
    )


def variants() -> list[Variant]:
    """Frames of so400m (72), ViT-B (64) and ViT-H (80), both kernels. Training only: not hot."""
    return [
        Variant(f"bfloat16, {width} features, {name}", launch, hot=False)
        for width in (64, 72, 80, 128)
        for name, launch in zip(("queries", "keys"), _of_frames(width), strict=True)
    ]


def _of_frames(width: int) -> tuple[Launch, Launch]:
    frames, heads, n, dtype = 32, 16, 729, torch.bfloat16
    query, key, value = meta(frames * n, 3, heads, width, dtype=dtype).unbind(1)
    grad, wide_grad = meta(*query.shape, dtype=dtype), meta(*key.shape, dtype=torch.float32)
    ends, index = meta(frames + 1, dtype=torch.int32), meta(frames * n, dtype=torch.int64)
    sums, no_bias = meta(*query.shape[:2], dtype=torch.float32), meta(0, 0, dtype=torch.float32)
    return _launches(
        grad, sums, sums, query, key, value, ends, index, ends, None, width**-0.5,
        grad, wide_grad, wide_grad, no_bias, True,
    )  # fmt: skip
