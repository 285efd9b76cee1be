"""PICK by features: chooses frames that differ. Functions return min(k, N) rising positions.

Letters: N candidates, C features, k chosen ones, r directions.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from patchgate._check import checked_count, checked_number
from patchgate._tensors import whole
from patchgate.policies.pool import filled, uniform

Column = Callable[[int], Tensor]  # candidate -> its similarities [N]

_EXHAUSTED = 1e-12  # of a frame's own similarity: what rounding leaves
_WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)  # of MDP3's Gaussians


def log_det(column: Column, diagonal: Tensor, k: int, gain: Tensor | None = None) -> Tensor:
    """Greedy maximum of ``log det K_S + sum of gain_S``: frames that are good and unlike.

    k steps of O(N) similarities and O(k N) work, by an incremental Cholesky factor. Nested: the
    choice for k is part of that for k + 1.

    Args:
        column: a candidate's similarities to all, of a positive semidefinite kernel.
        diagonal: ``[N]`` similarities to themselves.
        gain: ``[N]``, as the logarithm of a quality; None: 0.

    Source: Chen, Zhang and Zhou, Fast Greedy MAP Inference for Determinantal Point Process
    (arXiv 1709.05135, Algorithm 1).
    """
    n, k = len(diagonal), checked_count("k", k, 0)
    if k >= n:
        return uniform(n, k)
    gain = torch.zeros(n, dtype=torch.float64, device="cpu") if gain is None else gain
    rest = diagonal.double().clone()  # [N] what is new in each
    least = _EXHAUSTED * diagonal.double()
    factor = rest.new_zeros(k, n)
    taken = torch.zeros(n, dtype=torch.bool, device="cpu")
    for step in range(k):
        if bool((rest <= least)[~taken].all()) and not bool(gain.any()):
            return filled(taken.nonzero().flatten(), n, k)  # all that is left is a repetition
        score = gain + torch.maximum(rest, least).log()
        best = int(torch.where(taken, -torch.inf, score).argmax())
        taken[best] = True
        known = factor[:step, best] @ factor[:step]  # [N]
        factor[step] = (column(best).double() - known) / torch.maximum(rest, least)[best].sqrt()
        rest = rest - factor[step] ** 2
    return taken.nonzero().flatten()


def cosine_kernel(feat: Tensor) -> tuple[Column, Tensor]:
    """Similarities ``feat feat^T`` of normalised features, and the diagonal."""
    f = normalize(feat.double(), dim=1)
    return lambda i: f @ f[i], torch.ones(len(f), dtype=torch.float64, device="cpu")


def gaussian_kernel(feat: Tensor) -> tuple[Column, Tensor]:
    """MDP3's sum of five Gaussians of normalised features, and the diagonal (5)."""
    f = normalize(feat.double(), dim=1)
    diagonal = torch.full((len(f),), float(len(_WIDTHS)), dtype=torch.float64, device="cpu")
    return lambda i: gaussians(f @ f[i]), diagonal


def gaussians(cosine: Tensor) -> Tensor:
    """``sum over a of exp(-|x - y|^2 / (2 a))`` of unit vectors x, y with these cosines.

    Source: MDP3 (arXiv 2501.02885), a = 2^-3 .. 2^1.
    """
    squared = (2 - 2 * cosine).clamp(min=0)
    return torch.stack([(-squared / (2 * a)).exp() for a in _WIDTHS]).sum(0)


def max_vol(feat: Tensor, k: int, *, rank: int = 8, tolerance: float | None = None) -> Tensor:
    """Frames whose features span the others' with small coefficients.

    First a square of large volume in the leading directions (maxvol), then frame after frame the
    one that the chosen ones express worst (rect_maxvol).

    Args:
        feat: ``[N, C]``.
        rank: directions; frames that are chosen at least, if there are as many.
        tolerance: stop where no row of coefficients is longer than this; None: go on to k.

    Returns:
        k positions, or fewer with a tolerance.

    Source: MaxInfo (arXiv 2502.03183); Mikhalev and Oseledets, Rectangular maximum-volume
    submatrices and their applications (2018).
    """
    n, k = len(feat), checked_count("k", k, 0)
    if k >= n:
        return uniform(n, k)
    if tolerance is not None:
        tolerance = checked_number("tolerance", tolerance, 0, 1e9, "")
    rows = _leading(feat, min(checked_count("rank", rank, 1), k))  # [N, r]
    if not rows.shape[1]:
        return uniform(n, k)
    chosen = _square(rows)
    coefficients = rows @ torch.linalg.inv(rows[chosen])  # [N, r]
    length = (coefficients**2).sum(1)  # [N]
    length[chosen] = -1.0
    while len(chosen) < k:
        best = int(length.argmax())
        if tolerance is not None and float(length[best]) <= tolerance**2:
            break
        if length[best] <= _EXHAUSTED:
            return filled(whole(chosen), n, k)
        # One more row of the pseudo-inverse, by Sherman and Morrison.
        own = coefficients[best]  # [m]
        along = coefficients @ own / (1 + own @ own)  # [N]
        coefficients = torch.cat([coefficients - along[:, None] * own, along[:, None]], 1)
        length = length - along**2 * (1 + own @ own)
        chosen.append(best)
        length[chosen] = -1.0
    return whole(sorted(chosen))


def _leading(feat: Tensor, rank: int) -> Tensor:
    """Left singular vectors of the largest values, ``[N, r]``; fewer if there are fewer."""
    f = feat.double()
    wide = f.shape[1] > f.shape[0]
    gram = f @ f.T if wide else f.T @ f
    values, vectors = torch.linalg.eigh(gram)  # rising
    keep = values > values[-1].clamp(min=0) * _EXHAUSTED
    keep[: max(0, len(keep) - rank)] = False
    if wide:
        return vectors[:, keep]
    return f @ vectors[:, keep] / values[keep].sqrt()


def _square(rows: Tensor, better: float = 1.05) -> list[int]:
    """r rows of ``[N, r]`` of nearly the largest determinant: greedy ones, then swaps."""
    rest, chosen = rows.clone(), []
    for _ in range(rows.shape[1]):
        best = int((rest**2).sum(1).argmax())
        chosen.append(best)
        direction = rest[best] / rest[best].norm()
        rest = rest - (rest @ direction)[:, None] * direction
        rest[best] = 0.0
    for _ in range(10 * len(chosen)):  # each swap raises the volume by ``better``
        coefficients = rows @ torch.linalg.inv(rows[chosen])
        largest = int(coefficients.abs().argmax())
        row, place = divmod(largest, len(chosen))
        if float(coefficients.abs().max()) <= better:
            break
        chosen[place] = row
    return chosen
