"""F2C chooses clips instead of single frames; the longer a clip, the smaller are its frames."""

import torch

from patchgate._check import checked_count, checked_number
from patchgate._tensors import doubles, whole
from patchgate.policies import pick, pool, spend
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames
from patchgate.policies.named.compose import plan
from patchgate.policies.plan import Plan


def f2c(
    frames: Frames,
    budget: Budget,
    *,
    anchors: int | None = None,
    coarsest: float = 2.0,
    redundancy: float = 0.5,
    length: float = 0.05,
    fixed: int | None = None,
) -> Plan:
    """From Frames to Clips (arXiv 2510.02262): clips around the peaks of relevance.

    The longer a clip is, the smaller are its frames, so that every clip costs the same.

    Args:
        frames: the candidates, with ``rel``; with ``feat``, the likeness of frames counts, too.
        budget: the most frames and tokens.
        anchors: the number of clips; None: k, the number of full frames that fit the budget.
        coarsest: the largest scale s; a clip has at most ``s**2 * k / anchors`` frames.
        redundancy, length: weights in the choice of a clip's length, see ``spend.clip_lengths``.
        fixed: the number of frames of every clip; None: each clip has its own.
    """
    n, k = len(frames), budget.count(len(frames))
    rel = frames.need("rel")
    if pick.unit(rel) is None or k >= n:
        return plan(frames, pool.uniform(n, k), budget)
    k_a = k if anchors is None else min(k, checked_count("anchors", anchors, 1))
    centre = pick.basins(rel, k_a)
    coarsest = checked_number("coarsest", coarsest, 1, 1e3, "")
    longest = max(1, int(coarsest**2 * k / k_a))
    if fixed is None:
        lengths = spend.clip_lengths(
            rel, centre, frames.feat, min(longest, n), redundancy=redundancy, length=length
        )
    else:
        lengths = torch.full_like(centre, min(checked_count("fixed", fixed, 1), n))
    chosen: dict[int, tuple[float, int]] = {}  # frame -> its scale and clip
    most = k if budget.frames else budget.count(n, 0.0)
    for clip in rel[centre].argsort(descending=True, stable=True).tolist():
        l = int(lengths[clip])
        scale = min(max(1.0, (k_a * l / k) ** 0.5), coarsest)
        own = spend.clip_frames(centre[clip : clip + 1], l, n)[0].tolist()
        for frame in sorted(own, key=lambda i: abs(i - int(centre[clip]))):
            if frame in chosen or len(chosen) < most:
                chosen[frame] = min(chosen.get(frame, (scale, clip)), (scale, clip))
    at = whole(sorted(chosen))
    if budget.frames:
        at = pool.filled(at, n, k)
    detail = [chosen.get(i, (1.0, k_a + i)) for i in at.tolist()]
    scales, clips = zip(*detail, strict=True)
    scale = doubles(scales)
    return plan(frames, at, budget, scale=scale, clip=whole(clips))
