"""Residual attention: kept queries, and keys addressed by index in packed rows."""

import torch
from torch import Tensor


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
    """Computes ``softmax(scale * query @ key.T + bias) @ value`` in each of G groups.

    Queries of group g are the rows ``cu_queries[g]:cu_queries[g + 1]``; its keys and values are
    the rows that ``key_index[cu_keys[g]:cu_keys[g + 1]]`` names, as in a paged cache with pages of
    one token (arXiv 2309.06180): a row may serve many groups, and one of them several times.

    Args:
        query, key, value: of one dtype; float16 and bfloat16 are computed in float32.
        cu_queries, cu_keys: int32, ascending. key_index: int64 in ``[0, A)``.
        bias: float32, added to the scores of a key: the log of a token's size makes attention
            proportional (Token Merging, arXiv 2210.09461).

    Returns:
        out in the query's dtype; lse, the natural log of the sum of the scores' exponentials, in
        float32 (float64 for float64). A query in no group, and one whose group has no key (or no
        bias above minus infinity), has out 0 and lse minus infinity.
    """
    work = torch.float64 if query.dtype == torch.float64 else torch.float32
    out = query.new_zeros(query.shape)
    lse = query.new_full(query.shape[:2], -torch.inf, dtype=work)
    ends = zip(cu_queries.tolist(), cu_keys.tolist(), strict=True)
    (q0, k0), *rest = ends
    for q1, k1 in rest:
        rows = key_index[k0:k1]  # [n]
        scores = torch.einsum("qhd,khd->qhk", query[q0:q1].to(work), key[rows].to(work)) * scale
        if bias is not None:
            scores = scores + bias[k0:k1]
        lse[q0:q1] = scores.logsumexp(-1)
        weights = (scores - lse[q0:q1, :, None]).exp()  # [m, H, n]
        weights = weights.masked_fill(lse[q0:q1, :, None] == -torch.inf, 0)
        out[q0:q1] = torch.einsum("qhk,khd->qhd", weights, value[rows].to(work)).to(out.dtype)
        q0, k0 = q1, k1
    return out, lse
