"""What public code that chooses frames does, its defects included.

``PUBLISHED[name](frames, budget)`` is the plan that such code makes: with too few frames, or some
of them twice. ``patchgate.policies.POLICIES[name].run`` is the same policy repaired;
docs/policies.md names each defect. Written from what the code was observed to do.

Letters: N candidates, k frames that are asked for.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from patchgate.policies import Budget, Frames, Plan
from patchgate.policies.diverse import gaussian_kernel, gaussians, log_det, max_vol
from patchgate.policies.named.compose import candidates
from patchgate.policies.named.focus import bandit
from patchgate.policies.pick import ada_leaves


def aks(rel: Tensor, k: int, depth: int = 5, threshold: float = 0.8) -> list[int]:
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


def bolt(rel: Tensor, k: int, power: float = 3.0) -> list[int]:
    """BOLT (arXiv 2503.21483): inverse CDF, repeating frames of much weight.

    Its targets leave out the first and the last 1 / k of the weight; of scores that are all alike
    it takes frame 0, k times.
    """
    span = rel.max() - rel.min()
    if float(span) == 0:
        return [0] * k
    weights = (((rel - rel.min()) / span) ** power).numpy()
    cumulated = np.cumsum(weights / weights.sum())
    targets = np.linspace(1 / k, 1 - 1 / k, k)
    return np.searchsorted(cumulated, targets).clip(max=len(rel) - 1).tolist()


def tass(rel: Tensor, pts: Tensor, k: int, seconds: float = 20.0, over: int = 4) -> list[int]:
    """DATE's Timestamp-Aware Semantic Sampling (arXiv 2509.09263), best first.

    Never more than there are above the mean.
    """
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


def mdp3(feat: Tensor, rel: Tensor, k: int, weight: float = 0.2) -> list[int]:
    """MDP3 (arXiv 2501.02885) as Ovis ships it: one segment, relevance as cosines with the text."""
    column, diagonal = gaussian_kernel(feat)
    return log_det(column, diagonal, k, 2 / weight * gaussians(rel).log()).tolist()


def apollo(duration: float, n: int, clips: int, frames: int = 4, seconds: float = 2.0) -> list[int]:
    """Apollo's clips (arXiv 2412.10360, from a mirror): frames past the end are the last one."""
    if not n or not clips:
        return []
    fps = n / duration if duration > 0 else 1.0
    step = max(1, int(fps / (frames / seconds)))
    length, part = frames * step, n // clips
    chosen: list[int] = []
    for c in range(clips):
        if part > length:
            start = c * part + (part - length) // 2
        else:
            start = c * (max(0, n - length) // max(clips - 1, 1))
        chosen += [min(start + j * step, n - 1) for j in range(frames)]
    return chosen


Choose = Callable[[Frames, int], Tensor | list[int]]  # so many frames, by position


def _of(rule: Callable[[Frames, Tensor, int], Tensor | list[int]], **pool: float) -> Choose:
    """A rule that is given candidates of a pool, by position."""

    def choose(frames: Frames, k: int) -> Tensor:
        at = candidates(frames, k, **pool)
        return at[rule(frames, at, k)]

    return choose


def _plan(choose: Choose) -> Callable[[Frames, Budget], Plan]:
    """Positions as they are: no budget of tokens, no repair."""

    def run(frames: Frames, budget: Budget) -> Plan:
        chosen = choose(frames, budget.count(len(frames)))
        return Plan.of(frames, torch.as_tensor(chosen, dtype=torch.int64))

    return run


PUBLISHED: dict[str, Callable[[Frames, Budget], Plan]] = {
    "aks": _plan(_of(lambda f, at, k: aks(f.score(at), k), fps=1.0)),
    "bolt": _plan(_of(lambda f, at, k: bolt(f.score(at), k), fps=1.0)),
    "date": _plan(_of(lambda f, at, k: tass(f.score(at), f.pts[at], k), fps=2.0)),
    "mdp3": _plan(_of(lambda f, at, k: mdp3(f.need("feat")[at], f.score(at), k), count=128)),
    # MaxInfo (arXiv 2502.03183): as many frames as a tolerance of 0.3 asks for, k at most.
    "maxinfo": _plan(_of(lambda f, at, k: max_vol(f.need("feat")[at], k, rank=8, tolerance=0.3),
                         count=256)),
    "apollo": _plan(lambda frames, k: apollo(frames.seconds, len(frames), k // 4)),
    # FOCUS (arXiv 2510.27280): what the second stage scored does not change the arms' worth.
    "focus": lambda frames, budget: bandit(frames, budget, recount=False),
}  # fmt: skip
