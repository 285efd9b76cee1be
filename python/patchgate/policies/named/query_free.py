"""Policies that need no query: of times, key frames, features and what the gate saw.

What is trained or asks a language model is not here: its scores, its windows and its picks come in
as arguments. ``strict`` is there where public code does something else than the repaired default.
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
    """FrameThinker's first look (arXiv 2509.24304): 8 or, beyond 5 minutes, 12 frames, both ends
    among them, at most 640 x 360 or 448 x 252 pixels. Later looks: ``window(.., open_ends=True)``.
    """
    long = frames.seconds > 300
    most = 12 if long else 8
    k = budget.count(len(frames)) if budget.frames else min(most, budget.count(len(frames), 0.0))
    at = pool.uniform(len(frames), k, ends=True)
    return plan(frames, at, budget, scale=_capped(budget, (252, 448) if long else (360, 640)))


def love_r1(
    frames: Frames,
    budget: Budget,
    *,
    windows: Sequence[tuple[float, float]] = (),
    fps: float = 2.0,
    fast_most: int = 768,
    slow_most: int = 32,
) -> Plan:
    """LOVE-R1's two streams (arXiv 2509.24786): all of the video with an eighth of the tokens a
    frame, and the windows (seconds, see ``zoom``) in full. A frame of both is in the fine one.
    """
    k = budget.count(len(frames), 1 / 8 if not windows else 1.0)
    slow: list[Tensor] = []
    for a, b in windows:
        inside = frames.at(own := pool.window(frames, a, b))
        most = min(slow_most, max(1, k // (2 * len(windows))))
        slow.append(own[pool.at_rate(inside, fps, most)])
    fine = torch.cat([*slow, arange(0)]).unique()
    fine = fine[pool.uniform(len(fine), k)]
    at = candidates(frames, k, fps=fps)
    rest = at[~torch.isin(at, fine)]
    if len(rest) < k - len(fine):  # the windows took what the stream needs
        rest = arange(len(frames))[~torch.isin(arange(len(frames)), fine)]
    most = k - len(fine) if budget.frames else min(k - len(fine), fast_most)
    coarse = rest[pool.uniform(len(rest), max(0, most))]
    scale = spend.slow_fast(len(coarse), len(fine), 1 / 8, 1.0)
    clip = torch.cat([torch.zeros_like(coarse), torch.ones_like(fine)])
    return plan(frames, torch.cat([coarse, fine]), budget, scale=scale, clip=clip)


def zoom(
    frames: Frames, a: float, b: float, *, seen: Sequence[tuple[float, float]] = ()
) -> tuple[float, float] | None:
    """A window as LOVE-R1 tidies it, or None where it is of no use.

    5 seconds wider on both sides, inside the video; not under 3 seconds; at least 30 seconds or an
    eighth of the video long, around its middle; an overlap (intersection over union) of at most 0.3
    with each of those seen.
    """
    if not len(frames):
        return None
    begin = float(frames.pts[0])
    end = begin + frames.seconds
    a, b = (checked_number(name, v, -1e18, 1e18, "seconds") for name, v in (("a", a), ("b", b)))
    if b < a:
        raise ValueError(f"zoom: expected a <= b, got {a:g} and {b:g} seconds")
    a, b = max(begin, a - 5), min(end, b + 5)
    if b - a < 3:
        return None
    shortest = min(30.0, (end - begin) / 8)
    if b - a < shortest:
        middle = (a + b) / 2
        a = min(max(begin, middle - shortest / 2), end - shortest)
        b = a + shortest
    for c, d in seen:
        if min(b, d) - max(a, c) > 0.3 * (max(b, d) - min(a, c)):
            return None
    return a, b


def apollo(
    frames: Frames,
    budget: Budget,
    *,
    clip_seconds: float = 2.0,
    clip_frames: int = 4,
    strict: bool = False,
) -> Plan:
    """Apollo (arXiv 2412.10360): frames a second inside a clip, as many clips as the budget holds,
    evenly. ``strict`` (deprecated): clips overlap, and frames past the end are the last one again.
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
    clips = pool.clips(len(at), clip_frames, k // clip_frames)  # [c, f]
    own = clips.flatten()
    every = pool.filled(own, len(at), k)  # the rest of k by frames of their own
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
    """EARL (arXiv 2510.15440): at first 32 frames, evenly; then, around the picked ones (numbers
    in the stream), 16 new ones between them and their neighbours among those seen.
    """
    if picked is None:
        k = budget.count(len(frames)) if budget.frames else min(first, budget.count(len(frames)))
        return plan(frames, pool.uniform(len(frames), k), budget)
    k = budget.count(len(frames)) if budget.frames else min(again, budget.count(len(frames)))
    return around(frames, picked, k, seen=seen).within(budget)


def frame_skip(frames: Frames, budget: Budget, *, clip: int | None = None) -> Plan:
    """Frame skipping (arXiv 2307.02858): the first frame of every clip of so many frames; None: as
    many as give k clips.
    """
    n, k = len(frames), budget.count(len(frames))
    at = pool.every_nth(n, max(1, -(-n // max(k, 1))) if clip is None else clip)
    at = at[pool.uniform(len(at), k)] if len(at) > k else pool.filled(at, n, k)
    return plan(frames, at, budget)


def chronoforge(frames: Frames, budget: Budget) -> Plan:
    """The nearest published rule for ChronoForge's Temporal Apex Distillation (arXiv 2509.15800):
    turning points of the variation, the highest first. Its own equations are not public.
    """
    return plan(frames, pick.peaks(frames.need("delta"), budget.count(len(frames))), budget)


def kffocus(
    frames: Frames, budget: Budget, *, delta: float = 0.05, important: float = 0.25
) -> Plan:
    """KFFocus (arXiv 2508.08989): the codec's key frames and evenly what lies between; all but the
    important share keep a quarter of their tokens. Important are the most relevant frames, without
    scores the key frames; the share is ours, for the paper's is not known.
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
    full[:1] = True  # a gate has nothing to compare the first frame with
    return plan(frames, at, budget, ratio=spend.keyed(full))


def cvvae(frames: Frames, budget: Budget, *, group: int = 4) -> Plan:
    """CV-VAE's temporal groups (arXiv 2405.20279): the first frame alone, then groups of 4, each a
    clip. As many frames as 1 + 4 j within the budget, evenly: fewer than k by up to 3.
    """
    k, group = budget.count(len(frames)), checked_count("group", group, 1)
    count = max(0, 1 + (k - 1) // group * group) if k else 0
    at = pool.uniform(len(frames), count)
    return plan(frames, at, budget, clip=(arange(count) + group - 1) // group)


def _capped(budget: Budget, most: tuple[int, int]) -> float:
    """The scale at which a picture of the grid's video is inside so many pixels."""
    sides = [getattr(budget.grid, name, 0) for name in ("height", "width")]
    return max(1.0, *(side / cap for side, cap in zip(sides, most, strict=True)))


def uniform(frames: Frames, budget: Budget) -> Plan:
    """Evenly: what the others are measured against."""
    return plan(frames, pool.uniform(len(frames), budget.count(len(frames))), budget)


def maxinfo(
    frames: Frames,
    budget: Budget,
    *,
    pool_frames: int = 256,
    rank: int = 8,
    strict: bool = False,
) -> Plan:
    """MaxInfo (arXiv 2502.03183): frames whose features span the others'. ``strict`` (deprecated):
    as many as a tolerance of 0.3 asks for, k at most.
    """
    k = budget.count(len(frames))
    at = candidates(frames, k, count=pool_frames)
    feat = frames.need("feat")[at]
    if strict:
        warn_strict()
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
