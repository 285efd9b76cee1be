"""Completes the ops of merging with fake kernels and gradients.

``_ops`` imports it when the library, which has the schemas, is loaded.

Letters: A rows of a table, A' rows of a second one, D features, L entries of an index, G groups
(here segments), K tokens, Q queries, B bins.
"""

from typing import Any

import torch
from torch import Tensor

from patchgate._check import token_ops as _checks
from patchgate._tensors import arange

segment_mean = torch.ops.patchgate.segment_mean.default
segment_mean_backward = torch.ops.patchgate.segment_mean_backward.default
nearest_token = torch.ops.patchgate.nearest_token.default
contract = torch.ops.patchgate.contract.default
row_distance = torch.ops.patchgate.row_distance.default

_PAIRS = 8192  # compared at a time


@torch.library.register_fake("patchgate::segment_mean")
def _segment_mean_fake(
    features: Tensor,  # [A, D]
    weight: Tensor | None,  # [A]
    index: Tensor,  # [L]
    cu_segments: Tensor,  # [G + 1]
) -> Tensor:
    _checks.segment_mean(features, weight, index, cu_segments)
    return features.new_empty((cu_segments.shape[0] - 1, features.shape[1]))


@torch.library.register_fake("patchgate::segment_mean_backward")
def _segment_mean_backward_fake(
    grad: Tensor,  # [G, D]
    features: Tensor,  # [A, D]
    weight: Tensor | None,  # [A]
    index: Tensor,  # [L]
    cu_segments: Tensor,  # [G + 1]
    out: Tensor,  # [G, D]
) -> tuple[Tensor, Tensor]:
    _checks.segment_mean(features, weight, index, cu_segments)
    _checks.segment_mean_backward(grad, features, cu_segments, out)
    of_weight = features.new_empty((0,), dtype=_wide(features))
    if weight is not None:
        of_weight = weight.new_empty(weight.shape)
    return features.new_empty(features.shape), of_weight


@torch.library.register_fake("patchgate::nearest_token")
def _nearest_token_fake(
    features: Tensor,  # [K, D]
    query: Tensor,  # [Q]
    candidate: Tensor,  # [L]
    begin: Tensor,  # [Q]
    end: Tensor,  # [Q]
) -> tuple[Tensor, Tensor]:
    _checks.nearest_token(features, query, candidate, begin, end)
    return query.new_empty(query.shape), features.new_empty(query.shape)


@torch.library.register_fake("patchgate::contract")
def _contract_fake(
    features: Tensor,  # [K, D]
    weight: Tensor,  # [K]
    link: Tensor,  # [K]
    distance: Tensor,  # [K]
    bin: Tensor,  # [K]
    room: Tensor,  # [B]
    most: int,
    threshold: float,
) -> Tensor:
    _checks.contract(features, weight, link, distance, bin, room, most)
    return link.new_empty(link.shape)


@torch.library.register_fake("patchgate::row_distance")
def _row_distance_fake(
    left: Tensor,  # [A, D]
    left_row: Tensor,  # [Q]
    right: Tensor,  # [A', D]
    right_row: Tensor,  # [Q]
) -> Tensor:
    _checks.row_distance(left, left_row, right, right_row)
    return left.new_empty(left_row.shape)


def row_distance_by_torch(
    left: Tensor,  # [A, D]
    left_row: Tensor,  # [Q]
    right: Tensor,  # [A', D]
    right_row: Tensor,  # [Q]
) -> Tensor:
    """Plain torch, some pairs at a time: it reads each row once and needs no kernel of its own.

    An index out of range gives NaN, because refusing it would need a look at the data.
    """
    _checks.row_distance(left, left_row, right, right_row)
    out = left.new_full(left_row.shape, torch.nan)
    if not len(left) or not len(right):
        return out
    pairs = (out.split(_PAIRS), left_row.split(_PAIRS), right_row.split(_PAIRS))
    for part, i, j in zip(*pairs, strict=True):
        one, two = i.clamp(0, len(left) - 1), j.clamp(0, len(right) - 1)
        distance = torch.linalg.vector_norm(left[one] - right[two], dim=1)
        part.copy_(distance.where((one == i) & (two == j), torch.nan))
    return out


torch.library.impl("patchgate::row_distance", "CUDA")(row_distance_by_torch)


@torch.library.impl("patchgate::segment_mean_backward", "CPU")
def _segment_mean_backward(
    grad: Tensor,  # [G, D]
    features: Tensor,  # [A, D]
    weight: Tensor | None,  # [A]
    index: Tensor,  # [L]
    cu_segments: Tensor,  # [G + 1]
    out: Tensor,  # [G, D]
) -> tuple[Tensor, Tensor]:
    """Computes the gradients. With the shares s = weight / total: d features += s * grad. A larger
    weight moves the mean towards its row: d weight += grad . (row - mean) / total.
    """
    _checks.segment_mean(features, weight, index, cu_segments)
    _checks.segment_mean_backward(grad, features, cu_segments, out)
    _checks.check_ends("cu_segments", cu_segments, len(index))
    work = _wide(features)
    lengths = cu_segments.diff().long()  # [G]
    segment = arange(len(lengths)).repeat_interleave(lengths)  # [L']
    rows = index[int(cu_segments[0]) : int(cu_segments[-1])]  # [L']
    _checks.check_rows("index", rows, len(features), "features")
    size = torch.ones_like(rows, dtype=torch.float64) if weight is None else weight[rows].double()
    total = size.new_zeros(len(lengths)).index_add_(0, segment, size)[segment]  # [L']
    some = total > 0
    slope = grad[segment].to(work)  # [L', D]
    share = torch.where(some, size / total, 0.0).to(work)
    of_features = features.new_zeros(features.shape, dtype=work)
    of_features.index_add_(0, rows, share[:, None] * slope)
    of_weight = features.new_zeros((0,), dtype=work)
    if weight is not None:
        away = features[rows].to(work) - out[segment].to(work)
        pull = torch.where(some, (slope * away).sum(1) / total.to(work), 0.0)
        of_weight = weight.new_zeros(weight.shape).index_add_(0, rows, pull)
    return of_features.to(features.dtype), of_weight


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, out = ctx.saved_tensors
    of_features, of_weight = segment_mean_backward(grad, *inputs, out)
    return of_features, of_weight if inputs[1] is not None else None, None, None


def _no_second(ctx: Any, *grads: Tensor) -> None:
    raise NotImplementedError(
        "segment_mean: gradients of gradients are not available; "
        "patchgate.reference.segment_mean has them"
    )


def _wide(features: Tensor) -> torch.dtype:
    """What numbers like these are computed in."""
    return _checks.wide(features.dtype)


torch.library.register_autograd("patchgate::segment_mean", _gradients, setup_context=_setup)
torch.library.register_autograd("patchgate::segment_mean_backward", _no_second)
