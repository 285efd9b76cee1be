"""POOL: chooses candidates. Functions return rising positions ``[n]`` int64 if they say no other.

Letters: N candidates, n chosen ones, k the most that are chosen, m shares.
"""

import heapq
import math
from itertools import pairwise

import torch
from torch import Tensor

from patchgate._check import checked_count, checked_number
from patchgate._tensors import arange, whole
from patchgate.policies.frames import Frames

_FAR = 1e18  # seconds


def uniform(n: int, k: int, *, ends: bool = False) -> Tensor:
    """Chooses min(k, n) of n positions, evenly: the middles of k equal parts.

    With ``ends``, the first and the last position are among them: ``linspace(0, n - 1, k)``
    rounded down, as in most published code.
    """
    n, k = checked_count("n", n, 0), checked_count("k", k, 0)
    if k >= n:
        return arange(n)
    steps = arange(k)
    if not ends:
        return (2 * steps + 1) * n // (2 * k)
    return steps * (n - 1) // max(k - 1, 1)


def at_rate(frames: Frames, fps: float, most: int | None = None) -> Tensor:
    """Chooses the candidates that are on the screen at every 1 / fps seconds, each of them once.

    Args:
        frames: the candidates.
        fps: moments a second, counted from the first candidate.
        most: if more are chosen, only so many of them, evenly. None: all.
    """
    fps = checked_number("fps", fps, 1e-9, 1e9, "frames a second")
    if not len(frames):
        return arange(0)
    after = frames.pts - frames.pts[0]  # [N]
    moments = math.floor(float(after[-1]) * fps + 1e-6) + 1
    # The number of the first moment at or after each stamp. A stamp that was rounded to
    # milliseconds may lie a little after its moment.
    due = ((after - 1e-3) * fps).ceil().clamp(0, moments)
    until = torch.cat([due[1:], due.new_tensor([moments])])
    shown = (due < until).nonzero().flatten()
    return shown if most is None else shown[uniform(len(shown), most)]


def every_nth(n: int, clip: int, nth: int | None = None) -> Tensor:
    """Chooses the first frame of each clip, and every nth frame after it.

    Args:
        n: the number of candidates.
        clip: the number of frames of a clip.
        nth: None: only the first frame of each clip.

    Source: Muhammad et al., Deep Ensemble Learning with Frame Skipping (arXiv 2307.02858): "every
    first frame of the clip", which is ``nth=None``.
    """
    clip = checked_count("clip", clip, 1)
    nth = clip if nth is None else checked_count("nth", nth, 1)
    positions = arange(checked_count("n", n, 0))
    return positions[positions % clip % nth == 0]


def window(
    frames: Frames, a: float, b: float, n: int | None = None, *, open_ends: bool = False
) -> Tensor:
    """Chooses the candidates with times in ``[a, b]`` seconds.

    Args:
        frames: the candidates.
        a, b: seconds, a <= b.
        n: at most so many of them, evenly. None: all.
        open_ends: leave out the first and the last of them, which were seen already
            (FrameThinker, arXiv 2509.24304).

    Raises:
        ValueError: b is less than a.
    """
    a, b = (checked_number(name, v, -_FAR, _FAR, "seconds") for name, v in (("a", a), ("b", b)))
    if b < a:
        raise ValueError(f"window: expected a <= b, got {a:g} and {b:g} seconds")
    inside = ((frames.pts >= a) & (frames.pts <= b)).nonzero().flatten()
    if open_ends:
        inside = inside[1:-1]
    if n is None:
        return inside
    return inside[uniform(len(inside), checked_count("n", n, 0), ends=open_ends)]


def around(frames: Frames, picked: Tensor, seen: Tensor, n: int) -> Tensor:
    """Chooses at most n new candidates between picked ones and their neighbours among seen ones.

    Each gap gets a share of n in proportion to its number of candidates (largest remainder).

    Args:
        frames: the candidates.
        picked, seen: positions, int64; picked ones count as seen.
        n: the most that are chosen.

    Raises:
        ValueError: a position is none of the candidates'.

    Source: EARL (arXiv 2510.15440). The paper does not say how n is split; this is our choice.
    """
    total = len(frames)
    known = torch.cat([picked, seen]).unique()
    if len(known) and not (int(known[0]) >= 0 and int(known[-1]) < total):
        raise ValueError(f"around: expected positions in 0..{total - 1}, got {known.tolist()}")
    walls = torch.cat([whole([-1]), known, whole([total])])
    at = torch.searchsorted(known, picked) + 1  # where the picked ones stand in ``walls``
    gaps = torch.cat([at - 1, at]).unique()  # gap g lies between walls g and g + 1
    free = walls[gaps + 1] - walls[gaps] - 1
    counts = apportioned(free.double(), min(checked_count("n", n, 0), int(free.sum())), free)
    parts = [
        walls[g] + 1 + uniform(int(f), int(c))
        for g, f, c in zip(gaps.tolist(), free.tolist(), counts.tolist(), strict=True)
    ]
    return torch.cat(parts) if parts else arange(0)


def key_frames(frames: Frames, delta: float = 0.05) -> tuple[Tensor, Tensor]:
    """Chooses the codec's key frames, and evenly spaced frames in the gaps around them.

    Args:
        frames: the candidates, with ``key``.
        delta: a gap gets one frame for each such share of the video's seconds, rounded down.

    Returns:
        Positions ``[n]``, and whether each is a key frame, ``[n]`` bool.

    Source: KFFocus (arXiv 2508.08989), delta = 5 %; the gaps at the ends are our addition.
    """
    delta = checked_number("delta", delta, 1e-9, 1, "of the video")
    key = frames.need("key")
    if not len(frames):
        return arange(0), key
    n, step = len(frames), delta * frames.seconds
    walls = torch.cat([whole([-1]), key.nonzero().flatten(), whole([n])])
    free = walls.diff() - 1  # candidates of each gap
    lasts = frames.pts[walls[1:].clamp(max=n - 1)] - frames.pts[walls[:-1].clamp(min=0)]
    counts = torch.minimum((lasts / max(step, 1e-9) + 1e-9).floor().long(), free)
    chosen = set(key.nonzero().flatten().tolist())
    for g in (counts > 0).nonzero().flatten().tolist():
        begin = int(walls[g]) + 1
        chosen |= {begin + i for i in uniform(int(free[g]), int(counts[g])).tolist()}
    positions = whole(sorted(chosen))
    return positions, key[positions]


def clips(n: int, clip: int, k: int) -> Tensor:
    """Chooses at most k clips of consecutive frames, evenly.

    Each clip stands in the middle of its part of the video. There are fewer than k if clips would
    overlap.

    Args:
        n: the number of candidates.
        clip: the number of frames of a clip.
        k: the most clips.

    Returns:
        Positions ``[clips, clip]`` int64.

    Source: Apollo (arXiv 2412.10360): frames at a rate inside a clip, clips evenly in the video.
    """
    clip = min(checked_count("clip", clip, 1), max(n, 1))
    k = min(checked_count("k", k, 0), checked_count("n", n, 0) // clip)
    if not k:
        return torch.empty((0, clip), dtype=torch.int64, device="cpu")
    starts = arange(k) * n // k + (n // k - clip) // 2
    return starts[:, None] + arange(clip)


def apportioned(shares: Tensor, seats: int, most: Tensor) -> Tensor:
    """Gives seats in proportion to shares ``[m]`` by largest remainder; returns ``[m]`` int64.

    No share gets more than its bound ``most``, ``[m]``.
    """
    counts = torch.zeros_like(most)
    while (left := seats - int(counts.sum())) > 0:
        weights = torch.where(counts < most, shares, 0.0)
        if not bool((weights > 0).any()):
            weights = (counts < most).double()
        if not bool(weights.any()):
            break
        quota = left * weights / weights.sum()
        whole = torch.minimum(quota.floor().long(), most - counts)
        counts = counts + whole
        left -= int(whole.sum())
        rest = torch.where(counts < most, quota - quota.floor(), -1.0)
        order = rest.argsort(descending=True, stable=True)[:left]
        counts[order[rest[order] >= 0]] += 1
    return counts


def filled(chosen: Tensor, n: int, k: int) -> Tensor:
    """Adds the middles of the widest gaps to the chosen positions until there are min(k, n).

    If more than k are chosen, it returns all of them.
    """
    known = sorted(set(chosen.tolist()))
    wanted = min(k, n)
    if len(known) >= wanted:
        return whole(known)
    if not known:
        return uniform(n, wanted)
    walls = [-1, *known, n]
    gaps = [(a - b, a, b) for a, b in pairwise(walls)]  # widest first
    heapq.heapify(gaps)
    while len(known) < wanted:
        _, a, b = heapq.heappop(gaps)
        middle = (a + b) // 2
        if a < middle < b:
            known.append(middle)
            heapq.heappush(gaps, (a - middle, a, middle))
            heapq.heappush(gaps, (middle - b, middle, b))
    return whole(sorted(known))
