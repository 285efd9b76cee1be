"""Nearest token: finds the most similar one of each token's candidates."""

import torch
from torch import Tensor


def nearest_token(
    features: Tensor,  # [K, D]
    query: Tensor,  # [Q]
    candidate: Tensor,  # [L]
    begin: Tensor,  # [Q]
    end: Tensor,  # [Q]
) -> tuple[Tensor, Tensor]:  # [Q], [Q]
    """Finds for each query the nearest row of its own candidates, without a matrix of all pairs.

    Args:
        features: float32.
        query: int64 in ``[0, K)``.
        candidate: int64 below K; negative entries are none. Query q may choose among
            ``candidate[begin[q]:end[q]]``: ranges may overlap, so that tokens of a frame can share
            one list. A query is no candidate of its own.
        begin, end: int64.

    Returns:
        nearest, int64, the first of equals, -1 where there is none; the squared Euclidean distance
        to it, float32, infinite where there is none.
    """
    nearest = torch.full_like(query, -1)
    distance = features.new_full(query.shape, torch.inf)
    for q, own in enumerate(query.tolist()):
        rows = candidate[int(begin[q]) : int(end[q])]
        rows = rows[(rows >= 0) & (rows != own)]  # [n]
        if len(rows):
            squares = (features[rows].double() - features[own].double()).square().sum(1)
            best = int(squares.argmin())
            nearest[q], distance[q] = rows[best], squares[best].float()
    return nearest, distance
