"""SPEND: decides in what detail each chosen frame is shown.

A scale divides both sides of a frame and is at least 1. A ratio is the share of a frame's tokens
that is kept, in (0, 1].

``Plan.within`` is the last step of every policy: it fits the plan to the encoder's grid exactly.

Letters: N candidates, n chosen frames, l frames of a clip, D features.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from patchgate._check import checked_count, checked_number
from patchgate._tensors import arange, doubles, whole
from patchgate.policies.pool import apportioned


def flat(n: int) -> Tensor:
    """Returns the full scale, 1, for n frames: ``[n]`` float64."""
    return torch.ones(checked_count("n", n, 0), dtype=torch.float64, device="cpu")


def ladder(order: Tensor, steps: Sequence[tuple[int, float]]) -> Tensor:
    """Gives frames scales by their rank: the best ones get the first scale, others the next ones.

    Args:
        order: ``[n]`` int64, the frames from the best to the worst.
        steps: pairs of a number of frames and their scale. If the numbers do not sum to n, n is
            divided in the same proportion.

    Returns:
        Scales ``[n]`` float64.

    Source: Q-Frame (arXiv 2506.22139): 4 frames at full scale, 8 at a half, 32 at a quarter.
    """
    counts = whole(checked_count("frames", count, 0) for count, _ in steps)
    scales = doubles(checked_number("scale", s, 1, 1e9, "") for _, s in steps)
    n = len(order)
    if int(counts.sum()) != n:
        counts = apportioned(counts.double(), n, torch.full_like(counts, n))
    by_rank = scales.repeat_interleave(counts)
    return torch.empty(n, dtype=torch.float64, device="cpu").scatter_(0, order, by_rank)


def keyed(important: Tensor, key: float = 2, other: float = 4) -> Tensor:
    """Gives frames ratios: those that are not important keep ``(key / other)**2`` of their tokens.

    Args:
        important: ``[n]`` bool.
        key: the pooling stride of important frames, which the grid's tokens have passed already.
        other: the pooling stride of the other frames, at least ``key``.

    Returns:
        Ratios ``[n]`` float64.

    Source: KFFocus (arXiv 2508.08989).
    """
    key = checked_number("key", key, 1e-9, 1e9, "")
    other = checked_number("other", other, key, 1e9, "")
    share = torch.full_like(important, (key / other) ** 2, dtype=torch.float64)
    return share.masked_fill(important, 1.0)


def slow_fast(n_fast: int, n_slow: int, fast: float, slow: float) -> Tensor:
    """Gives the frames of a fast, coarse stream and of a slow, fine one their scales.

    Args:
        n_fast, n_slow: the number of frames of each.
        fast, slow: the tokens of a frame of each, as a share of those at full scale, in (0, 1].

    Returns:
        Scales ``[n_fast + n_slow]`` float64, those of the fast stream first.

    Source: LOVE-R1 (arXiv 2509.24786): 32 and 256 tokens.
    """
    fast, slow = (
        checked_number(name, share, 1e-9, 1, "of a frame's tokens")
        for name, share in (("fast", fast), ("slow", slow))
    )
    return torch.cat([flat(n_fast) / math.sqrt(fast), flat(n_slow) / math.sqrt(slow)])


def clip_lengths(
    rel: Tensor,
    anchors: Tensor,
    feat: Tensor | None,
    longest: int,
    *,
    redundancy: float = 0.5,
    length: float = 0.05,
) -> Tensor:
    """Chooses how many frames around each anchor make the best clip.

    The best clip of l frames has the greatest ``mean relevance - redundancy * likeness + length *
    l / longest``. Likeness is the mean cosine of all pairs of the clip's frames, each frame with
    itself included. The paper leaves it undefined for one frame, where it decides the result
    (docs/policies.md).

    Args:
        rel: ``[N]`` relevance of the candidates; it is normalised here to mean 0 and deviation 1.
        anchors: ``[n]`` positions, int64.
        feat: ``[N, D]`` features; None: likeness is left out.
        longest: the most frames of a clip.
        redundancy: the weight of likeness.
        length: the weight of the clip's length.

    Returns:
        ``[n]`` int64 in 1..longest.

    Source: F2C (arXiv 2510.02262, equations 6 to 8).
    """
    n_all = len(rel)
    spread = rel.std(unbiased=False)
    z = (rel - rel.mean()) / (spread if float(spread) > 0 else 1.0)
    values = []
    longest = checked_count("longest", longest, 1)
    redundancy, length = (
        checked_number(name, weight, -1e9, 1e9, "")
        for name, weight in (("redundancy", redundancy), ("length", length))
    )
    for l in range(1, longest + 1):
        at = clip_frames(anchors, l, n_all)  # [n, l]
        value = z[at].mean(1) + length * l / longest
        if feat is not None:
            unit = torch.nn.functional.normalize(feat[at].double(), dim=2)  # [n, l, D]
            value = value - redundancy * unit.mean(1).square().sum(1)  # mean of all l * l cosines
        values.append(value)
    return torch.stack(values).argmax(0) + 1


def clip_frames(anchors: Tensor, length: int, n: int) -> Tensor:
    """Returns a clip of candidates around each anchor, moved inside the video at its ends.

    Args:
        anchors: ``[n]`` positions, int64.
        length: the number of candidates of a clip.
        n: the number of all candidates.

    Returns:
        Positions ``[n, min(length, n)]`` int64.
    """
    length = min(length, n)
    starts = (anchors - (length - 1) // 2).clamp(0, n - length)
    return starts[:, None] + arange(length)
