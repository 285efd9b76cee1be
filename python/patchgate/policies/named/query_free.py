"""Policies that need no query: they use times, key frames, features and the gate's statistics.

Trained parts of the papers, and calls of a language model, are not here: their scores, windows and
picks are arguments. ``strict`` does what public code does, where that differs from the repaired
default.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from patchgate._check import checked_count, checked_number
from patchgate._tensors import arange
from patchgate.policies import diverse, pick, pool, spend
from patchgate.policies.again import around
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames
from patchgate.policies.named import published
from patchgate.policies.named.compose import candidates, plan, warn_strict
from patchgate.policies.named.compose import published as as_published
from patchgate.policies.plan import Plan


def framethinker(frames: Frames, budget: Budget) -> Plan:
    """FrameThinker's first look (arXiv 2509.24304): 8 frames or, beyond 5 minutes, 12 frames.

    Both ends of the video are among them. Frames have at most 640 x 360 or 448 x 252 pixels. Later
    looks are ``window(..., open_ends=True)``.
    """
    long = frames.seconds > 300
    most = 12 if long else 8
    k = budget.count(len(frames)) if budget.frames else min(most, budget.count(len(frames), 0.0))
    at = pool.uniform(len(frames), k, ends=True)
    return plan(frames, at, budget, scale=_capped(budget, (252, 448) if long else (360, 640)))


def apollo(
    frames: Frames,
    budget: Budget,
    *,
    clip_seconds: float = 2.0,
    clip_frames: int = 4,
    strict: bool = False,
) -> Plan:
    """Apollo (arXiv 2412.10360): as many clips as the budget holds, evenly spaced in the video.

    Args:
        frames: the candidates.
        budget: the most frames and tokens.
        clip_seconds: the length of a clip.
        clip_frames: the number of frames of a clip.
        strict: (deprecated) clips overlap, and frames past the end are the last frame again.
    """
    clip_frames = checked_count("clip_frames", clip_frames, 1)
    clip_seconds = checked_number("clip_seconds", clip_seconds, 1e-9, 1e9, "seconds")
    k, n = budget.count(len(frames)), len(frames)
    if strict:
        warn_strict()
        count = k // clip_frames
        chosen = published.apollo(frames.seconds, n, clip_seconds, clip_frames, count)
        return as_published(frames, chosen)
    at = candidates(frames, k, fps=clip_frames / clip_seconds)
    clips = pool.clips(len(at), clip_frames, k // clip_frames)  # [clips, clip_frames]
    own = clips.flatten()
    every = pool.filled(own, len(at), k)  # frames that fill up k are clips of their own
    clip = arange(len(every)) + len(clips)
    clip[torch.isin(every, own)] = arange(len(clips)).repeat_interleave(clips.shape[1])
    return plan(frames, at[every], budget, clip=clip)


def earl(
    frames: Frames,
    budget: Budget,
    *,
    picked: Tensor | Sequence[int] | None = None,
    seen: Plan | None = None,
    first: int = 32,
    again: int = 16,
) -> Plan:
    """EARL (arXiv 2510.15440): first evenly spaced frames, then new ones around those picked.

    Args:
        frames: the candidates.
        budget: the most frames and tokens.
        picked: frames that a model picked, as numbers in the stream. New frames lie between them
            and their neighbours among the seen ones. None: this is the first look.
        seen: the plan of the looks so far. None: only the picked frames were seen.
        first: the number of frames of the first look, if the budget does not bound frames.
        again: that of a later look.
    """
    if picked is None:
        k = budget.count(len(frames)) if budget.frames else min(first, budget.count(len(frames)))
        return plan(frames, pool.uniform(len(frames), k), budget)
    k = budget.count(len(frames)) if budget.frames else min(again, budget.count(len(frames)))
    return around(frames, picked, k, seen=seen).within(budget)


def frame_skip(frames: Frames, budget: Budget, *, clip: int | None = None) -> Plan:
    """Frame skipping (arXiv 2307.02858): the first frame of every clip.

    ``clip`` is the number of frames of a clip; None: as many as give k clips.
    """
    n, k = len(frames), budget.count(len(frames))
    at = pool.every_nth(n, max(1, -(-n // max(k, 1))) if clip is None else clip)
    at = at[pool.uniform(len(at), k)] if len(at) > k else pool.filled(at, n, k)
    return plan(frames, at, budget)


def chronoforge(frames: Frames, budget: Budget) -> Plan:
    """The nearest published rule for ChronoForge's Temporal Apex Distillation (arXiv 2509.15800).

    It takes local maxima of the change (``delta``), the highest first. ChronoForge's own equations
    are not public.
    """
    return plan(frames, pick.peaks(frames.need("delta"), budget.count(len(frames))), budget)


def kffocus(
    frames: Frames, budget: Budget, *, delta: float = 0.05, important: float = 0.25
) -> Plan:
    """KFFocus (arXiv 2508.08989): the codec's key frames and evenly spaced frames between them.

    Important frames keep all their tokens, the others a quarter. The important frames are the most
    relevant ones or, without scores, the key frames.

    Args:
        frames: the candidates, with ``key`` and perhaps ``rel``.
        budget: the most frames and tokens.
        delta: see ``pool.key_frames``.
        important: the share of frames that are important. The paper does not give it; this value is
            our choice.
    """
    important = checked_number("important", important, 0, 1, "of the frames")
    n, k = len(frames), budget.count(len(frames), important + (1 - important) / 4)
    at, _ = pool.key_frames(frames, delta)
    if len(at) < min(k, n):
        at = pool.filled(at, n, k)
    scored = frames.rel is not None
    at = at[pick.top_k(frames.score(at), k) if scored else pool.uniform(len(at), k)]
    if scored:
        best = pick.top_k(frames.score(at), max(1, round(important * len(at))))
        full = torch.isin(arange(len(at)), best)
    else:
        full = frames.need("key")[at].clone()
    full[:1] = True  # the gate keeps all of the first frame: it has nothing to compare it with
    return plan(frames, at, budget, ratio=spend.keyed(full))


def cvvae(frames: Frames, budget: Budget, *, group: int = 4) -> Plan:
    """CV-VAE's temporal groups (arXiv 2405.20279): the first frame alone, then groups of frames.

    Each group of ``group`` frames is a clip. There are 1 + group * j evenly spaced frames, as many
    as the budget holds: up to ``group - 1`` fewer than k.
    """
    k, group = budget.count(len(frames)), checked_count("group", group, 1)
    count = max(0, 1 + (k - 1) // group * group) if k else 0
    at = pool.uniform(len(frames), count)
    return plan(frames, at, budget, clip=(arange(count) + group - 1) // group)


def _capped(budget: Budget, most: tuple[int, int]) -> float:
    """Returns the scale at which frames of the grid's video have at most ``most`` pixels a side."""
    sides = [getattr(budget.grid, name, 0) for name in ("height", "width")]
    return max(1.0, *(side / cap for side, cap in zip(sides, most, strict=True)))


def uniform(frames: Frames, budget: Budget) -> Plan:
    """Chooses evenly spaced frames: the baseline of the other policies."""
    return plan(frames, pool.uniform(len(frames), budget.count(len(frames))), budget)


def maxinfo(
    frames: Frames,
    budget: Budget,
    *,
    pool_frames: int = 256,
    rank: int = 8,
    strict: bool = False,
) -> Plan:
    """MaxInfo (arXiv 2502.03183): frames whose features span those of the others.

    ``strict`` (deprecated) chooses as many frames as a tolerance of 0.3 demands, but at most k.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, count=pool_frames)
    feat = frames.need("feat")[at]
    if strict:
        warn_strict()
        return as_published(frames, at[published.max_info(feat, k, rank=rank)].tolist())
    return plan(frames, at[diverse.max_vol(feat, k, rank=rank)], budget)


def mgsampler(frames: Frames, budget: Budget, *, power: float = 0.5) -> Plan:
    """MGSampler (arXiv 2104.09952): inverse CDF of the square root of the motion.

    The paper measures motion as one minus the SSIM of adjacent frames. Here it is ``delta``, the
    gate's mean cost.
    """
    k = budget.count(len(frames))
    return plan(frames, pick.inverse_cdf(frames.need("delta"), k, power=power), budget)


def slice(frames: Frames, budget: Budget) -> Plan:
    """SLICE (doi 10.1109/ACCESS.2026.3680314): the best frame of each step of smoothed scores.

    Scores are the relevance or, without it, ``delta``. Smoothed scores are raised by their mean, so
    that none is 0; the best frame of a step is that with the highest score before smoothing. The
    method has no parameter: the deviation of the Gaussian is ln N frames.
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
