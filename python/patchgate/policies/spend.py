"""SPEND: decides in what detail each chosen frame is shown.

A scale divides both sides of a frame and is at least 1. A ratio is the share of a frame's tokens
that is kept, in (0, 1].

``Plan.within`` is the last step of every policy: the exact solve on the encoder's grid.

Letters: n chosen frames, L clip lengths.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from patchgate._check import checked_count, checked_number
from patchgate._tensors import arange, doubles, whole
from patchgate.policies.pool import apportioned


def flat(n: int) -> Tensor:
    """Full scale for all, ``[n]``."""
    return torch.ones(checked_count("n", n, 0), dtype=torch.float64, device="cpu")


def ladder(order: Tensor, steps: Sequence[tuple[int, float]]) -> Tensor:
    """Scales ``[n]`` by rank: so many frames at the first scale, so many at the next, ..

    Args:
        order: ``[n]``, the frames from the best to the worst.
        steps: (frames, scale); where they are not n in all, in the same proportion.

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
    """Ratios ``[n]``: frames that are not important keep ``(key / other)**2`` of their tokens.

    Args:
        important: ``[n]`` bool.
        key, other: pooling strides; the grid's tokens are those after the first.

    Source: KFFocus (arXiv 2508.08989).
    """
    key = checked_number("key", key, 1e-9, 1e9, "")
    other = checked_number("other", other, key, 1e9, "")
    share = torch.full_like(important, (key / other) ** 2, dtype=torch.float64)
    return share.masked_fill(important, 1.0)


def slow_fast(n_fast: int, n_slow: int, fast: float, slow: float) -> Tensor:
    """Scales ``[n_fast + n_slow]`` of a coarse stream and a fine one.

    Args:
        fast, slow: tokens of a frame of each, as parts of a frame at full scale.

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
    """How many frames around each anchor make the best clip, ``[n]`` int64 in 1..longest.

    The greatest of ``mean relevance - redundancy * likeness + length * l / longest``. Likeness is
    the mean cosine of all pairs of the clip, each frame with itself too: left undefined by the
    paper for one frame, it decides everything there (docs/policies.md).

    Args:
        rel: ``[N]`` relevance of the candidates, brought to mean 0 and deviation 1 here.
        anchors: ``[n]`` positions.
        feat: ``[N, C]``; None: likeness counts nothing.

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
            f = torch.nn.functional.normalize(feat[at].double(), dim=2)  # [n, l, C]
            value = value - redundancy * f.mean(1).square().sum(1)  # mean of all l * l cosines
        values.append(value)
    return torch.stack(values).argmax(0) + 1


def clip_frames(anchors: Tensor, length: int, n: int) -> Tensor:
    """Clips of so many candidates around each anchor ``[n, length]``, moved inside at the ends."""
    length = min(length, n)
    starts = (anchors - (length - 1) // 2).clamp(0, n - length)
    return starts[:, None] + arange(length)
