"""FOCUS chooses frames by relevance, but does not score most of the video.

Letters: N candidates, A arms (clips), n samples.
"""

import math

import torch
from torch import Tensor

from patchgate._check import checked_number
from patchgate._tensors import arange, chance_of, drawn, whole
from patchgate.policies import pool
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames
from patchgate.policies.named.compose import plan, warn_strict
from patchgate.policies.pick import unit
from patchgate.policies.plan import Plan

_LEAST_ARMS, _MOST_ARMS = 4, 32  # how many arms frames are drawn from
_SHARE = 0.25  # the share of arms that are looked at closely
_TOP = 0.2  # the share of frames that are chosen only because they score best
_TEMPERATURE = 0.06


def focus(
    frames: Frames,
    budget: Budget,
    *,
    arm_seconds: float = 16.0,
    seed: int = 0,
    strict: bool = False,
) -> Plan:
    """FOCUS (arXiv 2510.27280): clips are the arms of a bandit, and good arms are scored closely.

    A callable ``rel`` scores about 3 frames of each arm, and one frame a second of a quarter of the
    arms.

    Args:
        frames: the candidates, with ``rel``.
        budget: the most frames and tokens.
        arm_seconds: the length of an arm.
        seed: of the draws.
        strict: (deprecated) the scores of the second stage do not change the arms' worth, as in
            public code.
    """
    if strict:
        warn_strict()
    return bandit(frames, budget, arm_seconds=arm_seconds, seed=seed, recount=not strict)


def bandit(
    frames: Frames,
    budget: Budget,
    *,
    arm_seconds: float = 16.0,
    seed: int = 0,
    recount: bool = True,
) -> Plan:
    """Does the work of ``focus``; ``recount`` is the opposite of its ``strict``."""
    n, k = len(frames), budget.count(len(frames))
    if k >= n or not k:
        return plan(frames, pool.uniform(n, k), budget)
    chance = chance_of(seed)
    rate = n / frames.seconds
    arm_seconds = checked_number("arm_seconds", arm_seconds, 1e-9, 1e9, "seconds")
    size = max(1, min(round(arm_seconds * rate), n // 8 or 1))  # at least 8 arms
    arm = arange(n) // size  # [N]
    arms = int(arm[-1]) + 1
    coarse = _coarse(n, size, arms, chance)
    scores = frames.score(coarse)
    worth = _upper_bounds(coarse, scores, arm, arms)
    close = worth.argsort(descending=True, stable=True)[: max(_LEAST_ARMS, int(_SHARE * arms))]
    fine = _fine(close, n, size, max(1, round(size / rate)), chance)
    new = fine[~torch.isin(fine, coarse)]  # nothing is scored twice
    seen, order = torch.cat([coarse, new]).sort()
    scores = torch.cat([scores, frames.score(new)])[order]
    s = unit(scores)
    if s is None:
        return plan(frames, pool.uniform(n, k), budget)
    if recount:
        worth = _upper_bounds(seen, scores, arm, arms)
    chosen = seen[s.argsort(descending=True, stable=True)[: int(_TOP * k)]]
    best = worth.argsort(descending=True, stable=True)
    best = best[: min(max(int(_SHARE * arms), _LEAST_ARMS), _MOST_ARMS)].sort().values
    guess = s[_nearest(seen, n)]  # [N]
    distance = max(1, round(min(rate, 0.25 * n / k)))
    chosen = _drawn(best, chosen, guess, k, size, distance, chance)
    return plan(frames, pool.filled(chosen, n, k), budget)


def _coarse(n: int, size: int, arms: int, chance: torch.Generator) -> Tensor:
    """Samples the middle of each arm and two random frames of it; positions ``[n]``, in order."""
    begin = arange(arms) * size
    length = (n - begin).clamp(max=size)  # [A]
    random = (drawn((2, arms), chance) * length).long()
    return torch.cat([begin + length // 2, (begin + random).flatten()]).unique()


def _fine(close: Tensor, n: int, size: int, each: int, chance: torch.Generator) -> Tensor:
    """Samples the arms that are looked at closely: half of the frames evenly, half at random."""
    begin = close * size
    length = (n - begin).clamp(max=size)
    steps = (arange(-(-each // 2)).double() + 0.5) / -(-each // 2)  # [n]
    even = begin[:, None] + (length[:, None] * steps).long()
    random = (drawn((len(close), each // 2), chance) * length[:, None]).long()
    return torch.cat([even.flatten(), (begin[:, None] + random).flatten()]).unique()


def _upper_bounds(at: Tensor, scores: Tensor, arm: Tensor, arms: int) -> Tensor:
    """Returns an upper bound of each arm's mean score (empirical Bernstein), ``[A]`` float64."""
    s = unit(scores)
    s = torch.zeros_like(scores) if s is None else s
    own = arm[at]
    count = torch.bincount(own, minlength=arms).clamp(min=1).double()
    mean = torch.bincount(own, s, minlength=arms) / count
    variance = torch.bincount(own, (s - mean[own]) ** 2, minlength=arms) / count
    log_n = math.log(max(len(at), 2))
    return mean + (2 * log_n * variance / count).sqrt() + 3 * log_n / count


def _nearest(seen: Tensor, n: int) -> Tensor:
    """Finds for every candidate the nearest scored one: positions in ``seen``, ``[N]`` int64."""
    return torch.searchsorted((seen[1:] + seen[:-1]).double() / 2, arange(n).double())


def _drawn(
    arms: Tensor,
    chosen: Tensor,
    guess: Tensor,
    k: int,
    size: int,
    distance: int,
    chance: torch.Generator,
) -> Tensor:
    """Adds frames of the arms to the chosen ones, up to k; every arm gives as many.

    Frames of an arm are drawn in proportion to ``exp(guess / temperature)``.
    """
    free = torch.ones(len(guess), dtype=torch.bool, device="cpu")
    for i in chosen.tolist():
        free[max(0, i - distance + 1) : i + distance] = False
    taken = chosen.tolist()
    left = k - len(taken)
    shares = torch.full_like(arms, left // len(arms))
    shares[: left % len(arms)] += 1
    for a, share in zip(arms.tolist(), shares.tolist(), strict=True):
        begin, end = a * size, min(len(guess), (a + 1) * size)
        noise = drawn((end - begin,), chance).double().clamp(1e-12, 1 - 1e-12)
        # Gumbel's trick: the order in which a softmax would draw without replacement.
        order = (guess[begin:end] / _TEMPERATURE - (-noise.log()).log()).argsort(descending=True)
        for i in (begin + order).tolist():
            if share and free[i]:
                share -= 1
                taken.append(i)
                free[max(0, i - distance + 1) : i + distance] = False
    return whole(sorted(taken))
