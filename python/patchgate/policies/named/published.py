"""The policies as public code has them, with its defects: for ``strict=True``.

This module will be removed with ``strict``; comparisons use benchmarks/peers/published.py. The
functions return positions as public code does: there may be too few, some may come twice, or out
of order. docs/policies.md names each defect. They were written from the observed behaviour of the
public code.
"""

import numpy as np
from torch import Tensor

from patchgate._check import checked_number
from patchgate.policies.diverse import gaussian_kernel, gaussians, log_det, max_vol
from patchgate.policies.pick import ada_leaves


def aks(rel: Tensor, k: int, *, depth: int = 5, threshold: float = 0.8) -> list[int]:
    """Adaptive Keyframe Sampling (arXiv 2502.21271): rounds every part's share down.

    If k is less than 2**depth and no frames stand out, nothing is left. If all scores are equal,
    public code divides by zero, and nothing is left either.
    """
    if len(rel) < k:
        return list(range(len(rel)))
    span = rel.max() - rel.min()
    if float(span) == 0:
        return []
    s = ((rel - rel.min()) / span).numpy()
    chosen: list[int] = []
    for start, stop, d in ada_leaves(s, k, depth, threshold):
        best = np.argsort(-s[start:stop], kind="stable")[: int(k / 2**d)]
        chosen += (start + best).tolist()
    return sorted(chosen)


def bolt(rel: Tensor, k: int, *, power: float = 3.0) -> list[int]:
    """BOLT (arXiv 2503.21483): inverse CDF, repeating frames of much weight.

    Its targets leave out the first and the last 1 / k of the weight. If all scores are equal, it
    takes frame 0, k times.
    """
    power = checked_number("power", power, 0, 1e3, "")
    span = rel.max() - rel.min()
    if float(span) == 0:
        return [0] * k
    weights = (((rel - rel.min()) / span) ** power).numpy()
    cumulated = np.cumsum(weights / weights.sum())
    targets = np.linspace(1 / k, 1 - 1 / k, k)
    return np.searchsorted(cumulated, targets).clip(max=len(rel) - 1).tolist()


def tass(rel: Tensor, pts: Tensor, k: int, *, seconds: float = 20.0, over: int = 4) -> list[int]:
    """DATE's Timestamp-Aware Semantic Sampling (arXiv 2509.09263), best frame first.

    It takes only frames with scores above the mean, even if they are fewer than k.
    """
    seconds = checked_number("seconds", seconds, 0, 1e9, "seconds")
    above = (rel > rel.mean()).nonzero().flatten()
    order = above[rel[above].argsort(descending=True, stable=True)][: over * k]
    if len(order) <= k:
        return order.tolist()
    times = pts[order].tolist()
    chosen: list[int] = []
    while len(chosen) < k:
        for i, t in enumerate(times):
            far = all(abs(t - times[j]) >= seconds for j in chosen)
            if far and i not in chosen and len(chosen) < k:
                chosen.append(i)
        seconds /= 2
    return order[chosen].tolist()


def mdp3(feat: Tensor, rel: Tensor, k: int, *, weight: float = 0.2) -> list[int]:
    """MDP3 (arXiv 2501.02885) as in Ovis: one segment; relevance is a cosine with the text."""
    column, diagonal = gaussian_kernel(feat)
    return log_det(column, diagonal, k, 2 / weight * gaussians(rel).log()).tolist()


def max_info(feat: Tensor, k: int, *, rank: int = 8, tolerance: float = 0.3) -> list[int]:
    """MaxInfo (arXiv 2502.03183): as many frames as the tolerance demands, but at most k."""
    return max_vol(feat, k, rank=rank, tolerance=tolerance).tolist()


def apollo(duration: float, n: int, clip_seconds: float, frames: int, clips: int) -> list[int]:
    """Apollo's clips (arXiv 2412.10360; the code is from a mirror).

    Frames past the end of the video are replaced by its last frame.
    """
    if not n or not clips:
        return []
    fps = n / duration if duration > 0 else 1.0
    step = max(1, int(fps / (frames / clip_seconds)))
    length = frames * step
    chosen: list[int] = []
    part = n // clips
    for c in range(clips):
        if part > length:
            start = c * part + (part - length) // 2
        else:
            start = c * (max(0, n - length) // max(clips - 1, 1))
        chosen += [min(start + j * step, n - 1) for j in range(frames)]
    return chosen
