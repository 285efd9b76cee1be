"""Segment mean: the mean of tokens that become one."""

from itertools import pairwise

import torch
from torch import Tensor


def segment_mean(
    features: Tensor,  # [A, D]
    weight: Tensor | None,  # [A]
    index: Tensor,  # [L]
    cu_segments: Tensor,  # [G + 1]
) -> Tensor:  # [G, D]
    """Computes the weighted mean of the rows of each of G segments.

    Segment g is the rows that ``index[cu_segments[g]:cu_segments[g + 1]]`` names; a row may be in
    several. It is computed as ``first + sum(share * (row - first))``, so that rows that are equal
    have exactly themselves as their mean. With a token's size as its weight this is the average
    of Token Merging (arXiv 2210.09461, section 3, "Tracking token size").

    Args:
        features: any float dtype; float16 and bfloat16 are computed in float32.
        weight: not negative, float32 (float64 beside float64 features); None: all alike.
        index: int64 in ``[0, A)``. cu_segments: int32, ascending.

    Returns:
        In the features' dtype. A segment of no rows, or of no weight: 0.
    """
    work = torch.float64 if features.dtype == torch.float64 else torch.float32
    ends = cu_segments.tolist()
    rows = []
    for begin, end in pairwise(ends):
        own = index[begin:end]
        size = torch.ones_like(own, dtype=torch.float64) if weight is None else weight[own].double()
        total = size.sum()
        if not total > 0:
            rows.append(features.new_zeros(features.shape[1]))
            continue
        share, row = (size / total).to(work), features[own].to(work)  # [n], [n, D]
        mean = row[0] + (share[:, None] * (row - row[0])).sum(0)
        rows.append(mean.to(features.dtype))
    return torch.stack(rows) if rows else features.new_zeros((0, features.shape[1]))
