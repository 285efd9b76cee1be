"""The strongest training-free peers, as policies.

``strict`` is there where public code does something else than the repaired default.
"""

import math

import torch
from torch.nn import functional

from patchgate._check import checked_number
from patchgate._tensors import arange, chance_of, drawn, whole
from patchgate.policies import diverse, pick, pool, published, spend
from patchgate.policies.budget import Budget
from patchgate.policies.compose import candidates, plan
from patchgate.policies.compose import published as as_published
from patchgate.policies.frames import Frames
from patchgate.policies.plan import Plan

_LADDER = ((4, 1.0), (8, 2.0), (32, 4.0))  # Q-Frame's frames and scales


def uniform(frames: Frames, budget: Budget) -> Plan:
    """Evenly: what the others are measured against."""
    return plan(frames, pool.uniform(len(frames), budget.count(len(frames))), budget)


def aks(frames: Frames, budget: Budget, *, fps: float = 1.0, strict: bool = False) -> Plan:
    """Adaptive Keyframe Sampling (arXiv 2502.21271): ``pick.bins`` of relevance at 1 frame a
    second. ``strict``: under-fills, to no frame at all.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, fps=fps)
    if strict:
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
    ``strict``: frames of much weight come several times.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, fps=fps)
    rel = frames.score(at)
    if strict:
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
    ``strict`` takes ``rel`` as cosines with the text; else they are brought to 0..1, and where all
    are alike only the features count.
    """
    weight = checked_number("weight", weight, 1e-9, 1e9, "")
    k = budget.count(len(frames))
    at = candidates(frames, k, count=pool_frames)
    feat, rel = frames.need("feat")[at], frames.score(at)
    if strict:
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
    """Q-Frame (arXiv 2506.22139): drawn without replacement by relevance (Gumbel top-k), the first
    ranks at full scale, the next at a half, the rest at a quarter (4, 8 and 32 of 44).

    Published on CLIP's logits; here their deviation is 1, so that scores of any kind will do.
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
    if s is None:  # nothing to draw by: evenly, in a drawn order
        chosen = pool.uniform(len(at), k)
        rank = order[torch.isin(order, chosen)]
    else:
        rank = order[:k]
        chosen = rank.sort().values
    scale = spend.ladder(torch.searchsorted(chosen, rank), _LADDER)
    return plan(frames, at[chosen], budget, scale=scale)


def maxinfo(
    frames: Frames,
    budget: Budget,
    *,
    pool_frames: int = 256,
    rank: int = 8,
    strict: bool = False,
) -> Plan:
    """MaxInfo (arXiv 2502.03183): frames whose features span the others'. ``strict``: as many as a
    tolerance of .3 asks for, k at most.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, count=pool_frames)
    feat = frames.need("feat")[at]
    if strict:
        return as_published(frames, at[published.max_info(feat, k, rank=rank)].tolist())
    return plan(frames, at[diverse.max_vol(feat, k, rank=rank)], budget)


def mgsampler(frames: Frames, budget: Budget, *, power: float = 0.5) -> Plan:
    """MGSampler (arXiv 2104.09952): inverse CDF of the root of the motion.

    Published on one minus the SSIM of adjacent frames; ``delta`` is the gate's mean cost.
    """
    k = budget.count(len(frames))
    return plan(frames, pick.inverse_cdf(frames.need("delta"), k, power=power), budget)


def slice(frames: Frames, budget: Budget) -> Plan:
    """SLICE (doi 10.1109/ACCESS.2026.3680314): steps of the smoothed score, which is never 0, and
    in each the best frame by the score itself. By relevance, or without scores by ``delta``.

    No parameter: the deviation of the Gaussian is ln N frames, the floor the mean.
    """
    n, k = len(frames), budget.count(len(frames))
    scores = frames.need("delta") if frames.rel is None else frames.need("rel")
    s = pick.unit(scores)
    if s is None or k >= n or not k:
        return plan(frames, pool.uniform(n, k), budget)
    sigma = max(math.log(n), 1e-3)
    reach = math.ceil(4 * sigma)
    offsets = arange(-reach, reach + 1).double()
    kernel = (-0.5 * (offsets / sigma) ** 2).exp()
    padded = functional.pad(s[None, None], (reach, reach), mode="replicate")
    smooth = functional.conv1d(padded, (kernel / kernel.sum())[None, None])[0, 0]  # [N]
    return plan(frames, pick.systematic(smooth + smooth.mean(), k, s), budget)
