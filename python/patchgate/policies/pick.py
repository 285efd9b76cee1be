"""PICK: chooses candidates by their scores.

Every function takes scores ``[N]`` and the number k of frames to pick, and returns min(k, N)
positions, int64 and rising. It first scales the scores to 0..1, so that a * s + b (a > 0) picks the
same frames as s. If all scores are equal, it picks ``pool.uniform``. If two frames have equal
scores, it picks the earlier one.

Letters: N candidates, k chosen ones, m considered ones.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from patchgate._check import checked_count, checked_number
from patchgate._tensors import arange
from patchgate.policies.frames import column
from patchgate.policies.pool import filled, uniform

_NOTHING = 1e-200  # a weight below it (of 1) is rounding


def unit(scores: Tensor) -> Tensor | None:
    """Scales scores to 0..1, ``[N]`` float64; returns None if all are equal or there are none.

    Raises:
        ValueError: the scores are not a vector of finite numbers.
    """
    scores = column("scores", scores, torch.float64)
    if not len(scores):
        return None
    low, high = scores.min(), scores.max()
    return None if low == high else (scores - low) / (high - low)


def top_k(scores: Tensor, k: int) -> Tensor:
    """Picks the frames with the k highest scores.

    Source: SeViLA's localizer (arXiv 2305.06988) and KeyVideoLLM (arXiv 2407.03104).
    """
    s, k = unit(scores), checked_count("k", k, 0)
    if s is None or k >= len(s):
        return uniform(len(scores), k)
    return s.argsort(descending=True, stable=True)[:k].sort().values


def inverse_cdf(
    scores: Tensor, k: int, *, power: float = 1.0, floor: float = 0.0, blocks: bool = False
) -> Tensor:
    """Picks frames at equal steps of the cumulated weight ``s ** power + floor * mean``.

    A frame that weighs more than one step would be picked twice. Its weight is therefore cut down
    to one step, and the others are raised in proportion (systematic sampling with unequal shares,
    Madow 1949).

    Args:
        power: the exponent of the scaled scores.
        floor: a weight that every frame gets besides, in multiples of the mean of ``s ** power``.
        blocks: pick the frame with the highest score in each step, instead of the one at the
            step's middle.

    Source: MGSampler (arXiv 2104.09952, power 0.5 of motion), BOLT (arXiv 2503.21483, power 3 or
    2.5 of relevance), SLICE (doi 10.1109/ACCESS.2026.3680314, floor 1, blocks).
    """
    power = checked_number("power", power, 0, 1e3, "")
    floor = checked_number("floor", floor, 0, 1e9, "means")
    s, k = unit(scores), checked_count("k", k, 0)
    if s is None or k >= len(s) or not k:
        return uniform(len(scores), k)
    weights = s**power
    return systematic(weights + floor * weights.mean(), k, s if blocks else None)


def systematic(weights: Tensor, k: int, best_by: Tensor | None = None) -> Tensor:
    """Picks k < N different positions at equal steps of the cumulated weights ``[N]`` >= 0.

    Args:
        weights: ``[N]`` float64.
        k: the number of steps.
        best_by: scores ``[N]``; each step then gives the frame with its highest score. None: the
            frame at its middle.
    """
    share = _shares(weights, k)  # [N], they sum to k
    ends = share.cumsum(0)
    if best_by is None:
        at = torch.searchsorted(ends, arange(k).double() + 0.5).clamp(max=len(ends) - 1)
        # Rounding may put two middles in one frame: the later one then moves to the next frame.
        steps = arange(k)
        return (at - steps).cummax(0).values.clamp(0, len(ends) - k) + steps
    block = (ends - share / 2).floor().long().clamp(0, k - 1)  # [N]
    order = best_by.argsort(descending=True, stable=True)
    order = order[block[order].argsort(stable=True)]  # by block, best first
    first = torch.ones(len(order), dtype=torch.bool, device="cpu")
    first[1:] = block[order][1:] != block[order][:-1]
    return filled(order[first], len(ends), k)


def _shares(weights: Tensor, k: int) -> Tensor:
    """Returns shares ``[N]`` in proportion to the weights, at most 1 each, that sum to k."""
    weights = weights / weights.max()
    weights = torch.where(weights > _NOTHING, weights, 0.0)
    given = int((weights > 0).sum())
    if given <= k:  # each of these gets 1, and the others share what is left
        rest = (k - given) / max(len(weights) - given, 1)
        return torch.full_like(weights, rest).masked_fill(weights > 0, 1.0)
    ordered = weights.sort(descending=True).values
    tail = ordered.flip(0).cumsum(0).flip(0)[:k]
    left = k - arange(k)
    full = int((ordered[:k] * left <= tail).int().argmax())  # the number that are cut down to 1
    return (weights * ((k - full) / tail[full])).clamp(max=1.0)


def bins(scores: Tensor, k: int, *, depth: int = 5, threshold: float = 0.8) -> Tensor:
    """Halves the video until the best frames of each part stand out, and picks in each part.

    A part of depth d gives ``k / 2**d`` of its best frames, rounded down. The frames that rounding
    leaves over go to the parts with the largest remainders; of equal remainders, to the part whose
    next frame is the best.

    Args:
        depth: how often a part may be halved.
        threshold: how far the mean of a part's k best frames must exceed the part's mean, in 0..1.

    Source: AKS (arXiv 2502.21271, "ADA").
    """
    s, k = unit(scores), checked_count("k", k, 0)
    if s is None or k >= len(s) or not k:
        return uniform(len(scores), k)
    leaves = ada_leaves(s.numpy(), k, depth, threshold)
    ranked = [start + (-s[start:stop]).argsort(stable=True) for start, stop, _ in leaves]
    quota = [k / 2**d for _, _, d in leaves]
    taken = [min(math.floor(q), len(r)) for q, r in zip(quota, ranked, strict=True)]
    while (left := k - sum(taken)) > 0:
        open_ = [i for i, r in enumerate(ranked) if taken[i] < len(r)]
        open_.sort(key=lambda i: (-(quota[i] % 1), -float(s[ranked[i][taken[i]]]), i))
        for i in open_[:left]:
            taken[i] += 1
    return torch.cat([r[:t] for r, t in zip(ranked, taken, strict=True)]).sort().values


def ada_leaves(s: np.ndarray, k: int, depth: int, threshold: float) -> list[tuple[int, int, int]]:
    """Returns AKS's parts (start, stop, depth), in order.

    A part is split until the mean of its k best frames exceeds its mean by more than the threshold.
    """
    waiting, leaves = [(0, len(s), 0)], []
    while waiting:
        start, stop, d = waiting.pop()
        part = s[start:stop]
        best = part if len(part) <= k else np.partition(part, len(part) - k)[-k:]
        stands_out = len(part) > 0 and best.mean() - part.mean() > threshold
        if d >= depth or stands_out or len(part) < 2:
            leaves.append((start, stop, d))
        else:
            middle = start + len(part) // 2
            waiting += [(middle, stop, d + 1), (start, middle, d + 1)]
    return leaves


def gap(
    scores: Tensor,
    pts: Tensor,
    k: int,
    *,
    seconds: float = 20.0,
    decay: float = 0.5,
    over: int = 4,
) -> Tensor:
    """Picks the best frames that keep a distance in time; it shrinks until k frames are found.

    It considers the frames with scores above the mean, at most ``over * k`` of them; if those are
    fewer than k, the k best frames.

    Args:
        pts: ``[N]`` seconds.
        seconds: the first distance.
        decay: the factor by which the distance shrinks when no frame keeps it.
        over: how many frames are considered, in multiples of k.

    Source: DATE's TASS (arXiv 2509.09263).
    """
    seconds = checked_number("seconds", seconds, 0, 1e9, "seconds")
    decay = checked_number("decay", decay, 0, 0.999, "of the distance")
    over = checked_count("over", over, 1)
    k = checked_count("k", k, 0)
    s, times = unit(scores), column("pts", pts, torch.float64, len(scores))
    if s is None or k >= len(s) or not k:
        return uniform(len(scores), k)
    m = max(k, min(int((s > s.mean()).sum()), over * k))
    order = s.argsort(descending=True, stable=True)[:m]
    return order[_spaced(times[order].numpy(), k, seconds, decay)].sort().values


def _spaced(times: np.ndarray, k: int, seconds: float, decay: float) -> list[int]:
    """Picks k of m times ``[m]``, in their order, that keep a shrinking distance."""
    least = float(np.diff(np.sort(times)).min(initial=math.inf))
    distance = np.full(len(times), math.inf)  # to the nearest chosen one; -1: chosen
    chosen: list[int] = []
    while len(chosen) < k:
        able = distance >= seconds
        best = int(able.argmax())
        if able[best]:
            chosen.append(best)
            distance = np.minimum(distance, np.abs(times - times[best]))
            distance[best] = -1.0
        else:
            seconds = seconds * decay if seconds > least else 0.0
    return chosen


def peaks(scores: Tensor, k: int, *, reach: int = 1) -> Tensor:
    """Picks the k highest local maxima; if there are fewer, the highest of the other frames, too.

    Args:
        reach: a maximum exceeds this many frames before it and equals or exceeds as many after it.

    Source: DPSelect of ReTaKe (its published code has a window of three). It is also the nearest
    published rule for ChronoForge's inflection detection (arXiv 2509.15800), whose equations are
    not public.
    """
    s, k = unit(scores), checked_count("k", k, 0)
    if s is None or k >= len(s):
        return uniform(len(scores), k)
    rank = s + 2 * local_maxima(s, reach).double()
    return rank.argsort(descending=True, stable=True)[:k].sort().values


def local_maxima(s: Tensor, reach: int = 1) -> Tensor:
    """Marks local maxima, ``[N]`` bool: the first frame of a plateau; the ends may be maxima."""
    reach = checked_count("reach", reach, 1)
    before = functional.pad(s, (reach, -1), value=-math.inf)
    after = functional.pad(s, (0, reach), value=-math.inf)
    highest_before = before.unfold(0, reach, 1).amax(1)  # [N]
    highest_after = after.unfold(0, reach + 1, 1).amax(1)  # [N], itself included
    maxima = (s > highest_before) & (s >= highest_after)
    other = (s != s[:1]).nonzero()  # the first of them ends a plateau at the beginning
    if len(other):
        maxima[0] &= s[0] > s[other[0, 0]]
    return maxima


def basins(scores: Tensor, k: int, *, rounds: int = 50) -> Tensor:
    """Picks the peak of every basin between two valleys.

    If there are more than k, it groups them in time (k-means, started at their quantiles) and
    picks the best one of each group. If there are fewer, it fills the widest gaps.

    Args:
        rounds: the most rounds of k-means.

    Source: F2C's anchors (arXiv 2510.02262, Algorithm 1).
    """
    s, k = unit(scores), checked_count("k", k, 0)
    if s is None or k >= len(s) or not k:
        return uniform(len(scores), k)
    peak = local_maxima(s).nonzero().flatten()
    if len(peak) <= k:
        return filled(peak, len(s), k)
    group = _groups_in_time(peak.double(), k, rounds)  # [m]
    order = s[peak].argsort(descending=True, stable=True)
    order = order[group[order].argsort(stable=True)]  # by group, best first
    first = torch.ones(len(order), dtype=torch.bool, device="cpu")
    first[1:] = group[order][1:] != group[order][:-1]
    return filled(peak[order[first]], len(s), k)


def _groups_in_time(times: Tensor, k: int, rounds: int) -> Tensor:
    """Returns the group of each time, ``[m]``, by k-means (Lloyd) on a line."""
    centre = times[uniform(len(times), k)]
    group = torch.zeros(len(times), dtype=torch.int64, device="cpu")
    for _ in range(rounds):
        before = group
        group = torch.searchsorted((centre[1:] + centre[:-1]) / 2, times)
        if group.equal(before):
            break
        size = torch.bincount(group, minlength=k)
        mean = torch.bincount(group, times, minlength=k) / size.clamp(min=1)
        centre = torch.where(size > 0, mean, centre).sort().values
    return group
