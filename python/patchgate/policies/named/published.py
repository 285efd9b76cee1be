"""What public code does, its defects included: for ``strict=True``, and to go with it. Comparisons
have it in benchmarks/peers/published.py.

Lists of positions as they come: too few, twice, or out of order. docs/policies.md names each
defect. Written from what the code was observed to do.

Letters: N candidates.
"""

import numpy as np
from torch import Tensor

from patchgate._check import checked_number
from patchgate.policies.diverse import gaussian_kernel, gaussians, log_det, max_vol
from patchgate.policies.pick import ada_leaves


def aks(rel: Tensor, k: int, *, depth: int = 5, threshold: float = 0.8) -> list[int]:
    """Adaptive Keyframe Sampling (arXiv 2502.21271): rounds every part's share down.

    Below 2**depth frames of an even video that leaves none at all; scores that are all alike are
    divided by zero, which leaves none either.
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

    Its targets leave out the first and the last 1 / k of the weight; of scores that are all alike
    it takes frame 0, k times.
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
    """DATE's Timestamp-Aware Semantic Sampling (arXiv 2509.09263), best first.

    Never more than there are above the mean.
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
    """MDP3 (arXiv 2501.02885) as Ovis ships it: one segment, relevance as cosines with the text."""
    column, diagonal = gaussian_kernel(feat)
    return log_det(column, diagonal, k, 2 / weight * gaussians(rel).log()).tolist()


def max_info(feat: Tensor, k: int, *, rank: int = 8, tolerance: float = 0.3) -> list[int]:
    """MaxInfo (arXiv 2502.03183): as many frames as the tolerance asks for, k at most."""
    return max_vol(feat, k, rank=rank, tolerance=tolerance).tolist()


def apollo(duration: float, n: int, clip_seconds: float, frames: int, clips: int) -> list[int]:
    """Apollo's clips (arXiv 2412.10360, from a mirror): frames past the end are the last one."""
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
