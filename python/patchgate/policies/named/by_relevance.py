"""Policies that score frames by their relevance to a query.

``strict`` does what public code does, where that differs from the repaired default.
"""

import torch

from patchgate._check import checked_number
from patchgate._tensors import chance_of, drawn, whole
from patchgate.policies import diverse, pick, pool, spend
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames
from patchgate.policies.named import published
from patchgate.policies.named.compose import candidates, plan, warn_strict
from patchgate.policies.named.compose import published as as_published
from patchgate.policies.plan import Plan

_LADDER = ((4, 1.0), (8, 2.0), (32, 4.0))  # Q-Frame's frames and scales


def aks(frames: Frames, budget: Budget, *, fps: float = 1.0, strict: bool = False) -> Plan:
    """Adaptive Keyframe Sampling (arXiv 2502.21271): ``pick.bins`` by relevance, 1 frame a second.

    ``strict`` (deprecated) chooses fewer frames than the budget allows, down to none.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, fps=fps)
    if strict:
        warn_strict()
        return as_published(frames, at[published.aks(frames.score(at), k)].tolist())
    return plan(frames, at[pick.bins(frames.score(at), k)], budget)


def bolt(
    frames: Frames,
    budget: Budget,
    *,
    fps: float = 1.0,
    power: float = 3.0,
    strict: bool = False,
) -> Plan:
    """BOLT (arXiv 2503.21483): inverse CDF of relevance to the power 3 (LongVideoBench: 2.5).

    ``strict`` (deprecated) chooses frames of much weight several times.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, fps=fps)
    rel = frames.score(at)
    if strict:
        warn_strict()
        return as_published(frames, at[published.bolt(rel, k, power=power)].tolist())
    return plan(frames, at[pick.inverse_cdf(rel, k, power=power)], budget)


def mdp3(
    frames: Frames,
    budget: Budget,
    *,
    pool_frames: int = 128,
    weight: float = 0.2,
    strict: bool = False,
) -> Plan:
    """MDP3 (arXiv 2501.02885): greedy log-determinant of relevance and unlikeness, one segment.

    ``rel`` is scaled to 0..1; if all scores are equal, only the features count. ``strict``
    (deprecated) takes ``rel`` as cosines with the text.
    """
    weight = checked_number("weight", weight, 1e-9, 1e9, "")
    k = budget.count(len(frames))
    at = candidates(frames, k, count=pool_frames)
    feat, rel = frames.need("feat")[at], frames.score(at)
    if strict:
        warn_strict()
        return as_published(frames, at[published.mdp3(feat, rel, k, weight=weight)].tolist())
    s = pick.unit(rel)
    gain = None if s is None else 2 / weight * diverse.gaussians(s).log()
    return plan(frames, at[diverse.log_det(*diverse.gaussian_kernel(feat), k, gain)], budget)


def q_frame(
    frames: Frames,
    budget: Budget,
    *,
    pool_frames: int = 128,
    temperature: float = 0.8,
    seed: int = 0,
) -> Plan:
    """Q-Frame (arXiv 2506.22139): draws frames by relevance, without replacement (Gumbel top-k).

    The first ranks get full scale, the next ones a half, the rest a quarter (4, 8 and 32 of 44).
    The paper draws by CLIP's logits. Here scores are divided by their deviation, so that scores of
    any kind can be used.
    """
    temperature = checked_number("temperature", temperature, 1e-9, 1e9, "")
    counts = whole([count for count, _ in _LADDER]).double()
    share = sum(count / scale**2 for count, scale in _LADDER) / float(counts.sum())
    k = budget.count(len(frames), share)
    at = candidates(frames, k, count=pool_frames)
    s = pick.unit(frames.score(at))
    chance = drawn((len(at),), chance_of(seed)).double()
    noise = -(-chance.clamp(1e-12, 1 - 1e-12).log()).log()
    order = (noise if s is None else s / (s.std() * temperature) + noise).argsort(
        descending=True, stable=True
    )
    if s is None:  # all scores are equal: frames are spaced evenly, and only their ranks are drawn
        chosen = pool.uniform(len(at), k)
        rank = order[torch.isin(order, chosen)]
    else:
        rank = order[:k]
        chosen = rank.sort().values
    scale = spend.ladder(torch.searchsorted(chosen, rank), _LADDER)
    return plan(frames, at[chosen], budget, scale=scale)


def date(
    frames: Frames,
    budget: Budget,
    *,
    fps: float = 2.0,
    seconds: float = 20.0,
    strict: bool = False,
) -> Plan:
    """DATE's TASS (arXiv 2509.09263): the most relevant frames that keep a shrinking distance.

    DATE's time stamps (TIM) are ``labels.seconds(plan.stamps(2, "first"))``. ``strict``
    (deprecated) chooses fewer frames than the budget allows.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, fps=fps)
    rel, pts = frames.score(at), frames.pts[at]
    if strict:
        warn_strict()
        return as_published(frames, at[published.tass(rel, pts, k, seconds=seconds)].tolist())
    return plan(frames, at[pick.gap(rel, pts, k, seconds=seconds)], budget)


def sevila(frames: Frames, budget: Budget, *, pool_frames: int = 32) -> Plan:
    """SeViLA (arXiv 2305.06988): the k best of evenly spaced frames, by its localizer's scores."""
    k = budget.count(len(frames))
    at = candidates(frames, k, count=pool_frames)
    return plan(frames, at[pick.top_k(frames.score(at), k)], budget)
