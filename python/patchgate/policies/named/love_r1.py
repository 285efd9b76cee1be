"""LOVE-R1 shows the whole video coarsely, and windows of it in full."""

from collections.abc import Sequence

import torch
from torch import Tensor

from patchgate._check import checked_number
from patchgate._tensors import arange
from patchgate.policies import pool, spend
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames
from patchgate.policies.named.compose import candidates, plan
from patchgate.policies.plan import Plan


def love_r1(
    frames: Frames,
    budget: Budget,
    *,
    windows: Sequence[tuple[float, float]] = (),
    fps: float = 2.0,
    fast_most: int = 768,
    slow_most: int = 32,
) -> Plan:
    """LOVE-R1's two streams (arXiv 2509.24786): a fast, coarse one and a slow, fine one.

    The coarse stream shows the whole video with an eighth of the tokens of each frame, the fine one
    shows windows in full. A frame of both is in the fine one only.

    Args:
        frames: the candidates.
        budget: the most frames and tokens.
        windows: pairs of seconds, see ``zoom``.
        fps: frames a second of both streams.
        fast_most: the most frames of the coarse stream, if the budget does not bound frames.
        slow_most: the most frames of each window.
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
    if len(rest) < k - len(fine):  # the windows took frames that the coarse stream needs
        rest = arange(len(frames))[~torch.isin(arange(len(frames)), fine)]
    most = k - len(fine) if budget.frames else min(k - len(fine), fast_most)
    coarse = rest[pool.uniform(len(rest), max(0, most))]
    scale = spend.slow_fast(len(coarse), len(fine), 1 / 8, 1.0)
    clip = torch.cat([torch.zeros_like(coarse), torch.ones_like(fine)])
    return plan(frames, torch.cat([coarse, fine]), budget, scale=scale, clip=clip)


def zoom(
    frames: Frames, a: float, b: float, *, seen: Sequence[tuple[float, float]] = ()
) -> tuple[float, float] | None:
    """Adjusts a window of time as LOVE-R1 does (arXiv 2509.24786).

    The window is widened by 5 seconds on both sides and cut to the video. A short one is widened
    around its middle to 30 seconds or an eighth of the video, whichever is less.

    Args:
        frames: the candidates.
        a, b: the window in seconds, a <= b.
        seen: earlier windows.

    Returns:
        The new window in seconds. None if it is shorter than 3 seconds, or if its overlap with an
        earlier window (intersection over union) is more than 0.3.

    Raises:
        ValueError: b is less than a.
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
