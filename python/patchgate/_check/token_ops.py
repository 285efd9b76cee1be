"""Checks the arguments of the ops on tokens (see ``_check.ops``), but not the values in tensors.

``check_ends`` and ``check_rows`` check such values, for ops of plain torch on the CPU.

Letters: K tokens, D features, R queries, A rows, G groups, L entries of an index, H heads, d
features of a head, M tokens of a frame, n of them, c exchanged keys, Q pairs, B bins.
"""

import torch
from torch import Tensor

from patchgate._check.ops import check, check_dims, check_dtype, check_shape

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def wide(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype in which numbers of this dtype are computed."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def expand(features: Tensor, source: Tensor) -> None:
    """Checks the arguments of expand, but not the values of its sources."""
    check_dims("features", features, "[K, D]")
    check_dtype("source", source, torch.int64)


def expand_backward(grad: Tensor, source: Tensor, tokens: int) -> None:
    """Checks the arguments of expand_backward, but not the values of its sources."""
    check_dtype("grad", grad, *FLOATS)
    check_dtype("source", source, torch.int64)
    shapes = ([*source.shape, "D"], list(grad.shape))
    check(grad.dim() == source.dim() + 1, "grad: expected {}, got {}", *shapes)
    for one, two in zip(grad.shape, source.shape, strict=False):
        check(one == two, "grad: expected {}, got {}", *shapes)
    check(tokens >= 0, "tokens: expected at least 0, got {}", tokens)
    check(tokens < (1 << 63) - 1, "tokens: expected less than 2^63 - 1, got {}", tokens)


def residual_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_queries: Tensor,
    key_index: Tensor,
    cu_keys: Tensor,
    bias: Tensor | None,
) -> None:
    """Checks the arguments of residual_attention, but not the values of its integers."""
    check_dtype("query", query, *FLOATS)
    for name, x in (("query", query), ("key", key), ("value", value)):
        _check_heads(name, x, query, "query")
    _check_same_rows(key, value)
    _check_list("key_index", key_index)
    _check_ends(cu_queries, "cu_queries", cu_keys, "cu_keys")
    if bias is not None:
        check_shape("bias", bias, torch.float32, key_index.shape[0])


def residual_attention_backward(
    grad_out: Tensor, grad_lse: Tensor, query: Tensor, out: Tensor, lse: Tensor
) -> None:
    """Checks the arguments of residual_attention_backward that residual_attention does not have."""
    rows, heads, width = query.shape
    for name, x in (("grad_out", grad_out), ("out", out)):
        check_shape(name, x, query.dtype, rows, heads, width)
    for name, x in (("grad_lse", grad_lse), ("lse", lse)):
        check_shape(name, x, wide(query.dtype), rows, heads)


def exchange(
    weighted: Tensor,
    total: Tensor,
    shift: Tensor,
    reference: Tensor,
    token: Tensor,
    row: Tensor,
    cu_tokens: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    changed: Tensor,
    weight: Tensor,
    cu_changed: Tensor,
    reach: Tensor,
) -> None:
    """Checks the arguments of exchange, but not the values of its integers."""
    check_dtype("weighted", weighted, torch.float32, torch.float64)
    check_dims("weighted", weighted, "[M, H, d]")
    check_shape("total", total, weighted.dtype, *weighted.shape[:2])
    check_shape("shift", shift, weighted.dtype, *weighted.shape[:2])
    check_shape("reference", reference, weighted.dtype, *weighted.shape)
    _check_list("token", token)
    check_shape("row", row, torch.int64, token.shape[0])
    for name, x in (("query", query), ("key", key), ("value", value)):
        _check_heads(name, x, weighted, "weighted")
    _check_same_rows(key, value)
    _check_list("changed", changed)
    check_shape("weight", weight, weighted.dtype, changed.shape[0])
    _check_ends(cu_tokens, "cu_tokens", cu_changed, "cu_changed")
    check_shape("reach", reach, weighted.dtype, weighted.shape[1])


def activate(
    out: Tensor,
    active: Tensor,
    differs: Tensor,
    parent: Tensor,
    reach: Tensor,
    bound: Tensor,
    room: int,
) -> None:
    """The arguments of activate, but for what its parents say."""
    check_dtype("out", out, *FLOATS)
    check_dtype("active", active, torch.bool)
    check_dims("active", active, "[T, M]")
    check_dims("out", out, "[T * M, H, d]")
    frames, m = active.shape
    check_shape("out", out, out.dtype, frames * m, *out.shape[1:])
    check_shape("differs", differs, torch.bool, frames)
    check_shape("parent", parent, torch.int64, frames, m)
    check_shape("reach", reach, wide(out.dtype), out.shape[1])
    check_shape("bound", bound, wide(out.dtype), frames, m)
    check(room >= 0, "room: expected at least 0, got {}", room)


def segment_mean(
    features: Tensor, weight: Tensor | None, index: Tensor, cu_segments: Tensor
) -> None:
    """Checks the arguments of segment_mean, but not the values of its integers."""
    check_dtype("features", features, *FLOATS)
    check_dims("features", features, "[A, D]")
    if weight is not None:
        check_shape("weight", weight, wide(features.dtype), features.shape[0])
    _check_list("index", index)
    _check_list("cu_segments", cu_segments, torch.int32)
    check(cu_segments.shape[0] >= 1, "cu_segments: expected [G + 1], got no entry")


def segment_mean_backward(grad: Tensor, features: Tensor, cu_segments: Tensor, out: Tensor) -> None:
    """Checks the arguments of segment_mean_backward that segment_mean does not have."""
    for name, x in (("grad", grad), ("out", out)):
        check_shape(name, x, features.dtype, cu_segments.shape[0] - 1, features.shape[1])


def nearest_token(
    features: Tensor, query: Tensor, candidate: Tensor, begin: Tensor, end: Tensor
) -> None:
    """Checks the arguments of nearest_token, but not the values of its integers."""
    check_dtype("features", features, torch.float32)
    check_dims("features", features, "[K, D]")
    _check_list("query", query)
    _check_list("candidate", candidate)
    check_shape("begin", begin, torch.int64, query.shape[0])
    check_shape("end", end, torch.int64, query.shape[0])


def row_distance(left: Tensor, left_row: Tensor, right: Tensor, right_row: Tensor) -> None:
    """Checks the arguments of row_distance, but not the values of its rows."""
    for name, table, rows in (("left", left, left_row), ("right", right, right_row)):
        check_dtype(name, table, torch.float32)
        check_dims(name, table, "[rows, D]")
        _check_list(f"{name}_row", rows)
    one, two = left.shape[1], right.shape[1]
    check(one == two, "right: expected rows of {} features as left has, got {}", one, two)
    one, two = left_row.shape[0], right_row.shape[0]
    check(one == two, "right_row: expected {} rows as left_row has, got {}", one, two)


def contract(
    features: Tensor,
    weight: Tensor,
    link: Tensor,
    distance: Tensor,
    bin: Tensor,
    room: Tensor,
    most: int,
) -> None:
    """Checks the arguments of contract, but not the values of its links, bins and rooms."""
    check_dtype("features", features, torch.float32)
    check_dims("features", features, "[K, D]")
    tokens = features.shape[0]
    check_shape("weight", weight, torch.float64, tokens)
    check_shape("link", link, torch.int64, tokens)
    check_shape("distance", distance, torch.float32, tokens)
    check_shape("bin", bin, torch.int64, tokens)
    _check_list("room", room)
    check(most >= 0, "most: expected at least 0, got {}", most)


# ---- parts


def _check_list(name: str, tensor: Tensor, dtype: torch.dtype = torch.int64) -> None:
    check_dtype(name, tensor, dtype)
    check_dims(name, tensor, "[entries]")


def _check_heads(name: str, tensor: Tensor, like: Tensor, of: str) -> None:
    check_dims(name, tensor, "[rows, H, d]")
    expected = "{}: expected {} as {} has, got {}"
    if tensor.dtype != like.dtype:
        raise TypeError(expected.format(name, like.dtype, of, tensor.dtype))
    for one, two in zip(tensor.shape[1:], like.shape[1:], strict=True):
        check(
            one == two, "{}: expected {} heads of {} features as {} has, got {}",
            name, *like.shape[1:], of, list(tensor.shape),
        )  # fmt: skip


def _check_same_rows(key: Tensor, value: Tensor) -> None:
    rows, wanted = value.shape[0], key.shape[0]
    check(rows == wanted, "value: {} rows, key has {}", rows, wanted)


def _check_ends(first: Tensor, first_name: str, second: Tensor, second_name: str) -> None:
    _check_list(first_name, first, torch.int32)
    check(first.shape[0] >= 1, "{}: expected [G + 1], got no entry", first_name)
    check_shape(second_name, second, torch.int32, first.shape[0])


# ---- what tensors on the CPU hold


def check_ends(name: str, ends: Tensor, most: int) -> None:
    """Raises a ``ValueError`` unless ends of groups ``[G + 1]`` ascend within ``0..most``."""
    fits = bool((ends.diff() >= 0).all()) and int(ends[0]) >= 0 and int(ends[-1]) <= most
    check(fits, "{}: expected ascending numbers in 0..{}, got {}", name, most, ends)


def check_rows(name: str, index: Tensor, rows: int, of: str) -> None:
    """Raises a ``ValueError`` if an entry of an index is not in 0..rows - 1."""
    stray = ((index < 0) | (index >= rows)).flatten().nonzero()
    if len(stray):
        value = int(index.flatten()[stray[0, 0]])
        raise ValueError(f"{name}: {value} is not one of the {rows} rows of {of}")
