"""PICK by features: chooses frames that differ. Functions return min(k, N) rising positions.

Letters: N candidates, D features, k chosen ones, r directions, m chosen ones so far.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from patchgate._check import checked_count, checked_number
from patchgate._tensors import whole
from patchgate.policies.pool import filled, uniform

Column = Callable[[int], Tensor]  # candidate -> its similarities [N]

_EXHAUSTED = 1e-12  # a smaller share of a frame's own similarity is a rounding error
_WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)  # the widths of MDP3's Gaussians


def log_det(column: Column, diagonal: Tensor, k: int, gain: Tensor | None = None) -> Tensor:
    """Chooses frames that are good and unlike: the greedy maximum of ``log det K_S + sum gain_S``.

    It takes k steps, each with N similarities and O(k N) work, by an incremental Cholesky factor.
    The frames chosen for k are among those for k + 1.

    Args:
        column: returns a candidate's similarities to all candidates, ``[N]``, in a positive
            semidefinite kernel.
        diagonal: ``[N]``, the similarities of candidates to themselves.
        k: the number of frames to choose.
        gain: ``[N]``, the logarithm of each candidate's quality; None: 0.

    Source: Chen, Zhang and Zhou, Fast Greedy MAP Inference for Determinantal Point Process
    (arXiv 1709.05135, Algorithm 1).
    """
    n, k = len(diagonal), checked_count("k", k, 0)
    if k >= n:
        return uniform(n, k)
    gain = torch.zeros(n, dtype=torch.float64, device="cpu") if gain is None else gain
    rest = diagonal.double().clone()  # [N] the part of each that the chosen ones do not explain
    least = _EXHAUSTED * diagonal.double()
    factor = rest.new_zeros(k, n)
    taken = torch.zeros(n, dtype=torch.bool, device="cpu")
    for step in range(k):
        if bool((rest <= least)[~taken].all()) and not bool(gain.any()):
            return filled(taken.nonzero().flatten(), n, k)  # all others repeat chosen frames
        score = gain + torch.maximum(rest, least).log()
        best = int(torch.where(taken, -torch.inf, score).argmax())
        taken[best] = True
        known = factor[:step, best] @ factor[:step]  # [N]
        factor[step] = (column(best).double() - known) / torch.maximum(rest, least)[best].sqrt()
        rest = rest - factor[step] ** 2
    return taken.nonzero().flatten()


def cosine_kernel(feat: Tensor) -> tuple[Column, Tensor]:
    """Returns similarities ``feat feat^T`` of normalised features, and the diagonal ``[N]``."""
    unit = normalize(feat.double(), dim=1)  # [N, D]
    return lambda i: unit @ unit[i], torch.ones(len(unit), dtype=torch.float64, device="cpu")


def gaussian_kernel(feat: Tensor) -> tuple[Column, Tensor]:
    """Returns MDP3's sum of five Gaussians of normalised features, and the diagonal ``[N]`` (5)."""
    unit = normalize(feat.double(), dim=1)  # [N, D]
    diagonal = torch.full((len(unit),), float(len(_WIDTHS)), dtype=torch.float64, device="cpu")
    return lambda i: gaussians(unit @ unit[i]), diagonal


def gaussians(cosine: Tensor) -> Tensor:
    """Computes ``sum over a of exp(-|x - y|^2 / (2 a))`` for unit vectors x, y with these cosines.

    Source: MDP3 (arXiv 2501.02885), a = 2^-3 .. 2^1.
    """
    squared = (2 - 2 * cosine).clamp(min=0)
    return torch.stack([(-squared / (2 * a)).exp() for a in _WIDTHS]).sum(0)


def max_vol(feat: Tensor, k: int, *, rank: int = 8, tolerance: float | None = None) -> Tensor:
    """Chooses frames whose features span those of the others with small coefficients.

    It first chooses a square of large volume in the leading directions (maxvol). Then it adds, one
    at a time, the frame that the chosen ones express worst (rect_maxvol).

    Args:
        feat: ``[N, D]``.
        k: the number of frames to choose.
        rank: the number of leading directions, and the least number of frames, if there are as
            many.
        tolerance: stop when no row of coefficients is longer than this; None: go on to k.

    Returns:
        Positions: min(k, N) or, with a tolerance, perhaps fewer.

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
    """Returns at most ``rank`` left singular vectors, those of the largest values: ``[N, r]``."""
    feat = feat.double()
    wide = feat.shape[1] > feat.shape[0]
    gram = feat @ feat.T if wide else feat.T @ feat
    values, vectors = torch.linalg.eigh(gram)  # rising
    keep = values > values[-1].clamp(min=0) * _EXHAUSTED
    keep[: max(0, len(keep) - rank)] = False
    if wide:
        return vectors[:, keep]
    return feat @ vectors[:, keep] / values[keep].sqrt()


def _square(rows: Tensor, better: float = 1.05) -> list[int]:
    """Chooses r rows of ``[N, r]`` with nearly the largest determinant: greedily, then by swaps."""
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
