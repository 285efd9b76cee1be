"""Exchange: some keys of a finished softmax are replaced, and how far that moves a token."""

import torch
from torch import Tensor

_MOST_EXPONENT = 80  # sums are useless so far above the shift; inf - inf must not occur
_LEAST, _MOST = 0.25, 4.0  # a denominator, which began at 1, is mostly rounding outside of these


def exchange(
    weighted: Tensor,  # [M, H, d], changed in place
    total: Tensor,  # [M, H], changed in place
    shift: Tensor,  # [M, H]
    reference: Tensor,  # [M, H, d]
    token: Tensor,  # [n]
    row: Tensor,  # [n]
    cu_tokens: Tensor,  # [G + 1]
    query: Tensor,  # [r, H, d]
    key: Tensor,  # [r, H, d]
    value: Tensor,  # [r, H, d]
    changed: Tensor,  # [c]
    weight: Tensor,  # [c]
    cu_changed: Tensor,  # [G + 1]
    reach: Tensor,  # [H]
    scale: float,
) -> Tensor:  # [n]
    """Updates running sums of attention when keys are replaced.

    A softmax is kept as its numerator ``weighted`` and its denominator ``total``, with scores
    relative to ``shift``. The parts of the old keys are subtracted, and those of the new keys are
    added (``total_new = total - sum_old + sum_new``, and the numerator in the same way). Nothing is
    computed for other keys. This is exact, except for rounding.

    In each of G groups (windows of a frame, or a whole frame) the tokens
    ``token[cu_tokens[g]:cu_tokens[g + 1]]`` exchange the same keys,
    ``changed[cu_changed[g]:cu_changed[g + 1]]``. Sums of other tokens stay as they are.

    Args:
        weighted, total, shift: of M tokens, float32 or float64.
        reference: the outputs to compare with.
        token: int64, the tokens whose keys changed, none twice.
        row: int64, the row of ``query`` that each of them asks with.
        cu_tokens, cu_changed: int32, ascending from 0.
        changed: int64, rows of ``key`` and ``value``. weight: how many times more each of them
            occurs than before (fewer: negative), in the dtype of the sums.
        reach: how far each head's output moves what it is added to, in the dtype of the sums.

    Returns:
        For each token ``sqrt(sum_h reach_h^2 |weighted_h / total_h - reference_h|^2)``. NaN if the
        denominator of a head is not in (0.25, 4): too much was taken out or put in, and the token's
        sums must be taken anew. It carries no gradients; the sums do here, in plain torch, but not
        from the op.
    """
    groups = zip(cu_tokens.tolist(), cu_changed.tolist(), strict=True)
    (t0, c0), *rest = groups
    for t1, c1 in rest:
        tokens, keys = token[t0:t1], changed[c0:c1]
        scores = torch.einsum("nhd,chd->nhc", query[row[t0:t1]], key[keys]) * scale
        exponent = (scores - shift[tokens][..., None]).clamp(max=_MOST_EXPONENT)
        factor = exponent.exp() * weight[c0:c1]  # [n, H, c]
        sums = weighted[tokens] + torch.einsum("nhc,chd->nhd", factor, value[keys])
        weighted[tokens], total[tokens] = sums, total[tokens] + factor.sum(-1)
        t0, c0 = t1, c1
    sums, totals = weighted.detach()[token], total.detach()[token]
    moved = (sums / totals[..., None] - reference.detach()[token]) * reach[:, None]
    trusted = ((totals > _LEAST) & (totals < _MOST)).all(1)
    return moved.flatten(1).norm(dim=1).masked_fill(~trusted, torch.nan)
