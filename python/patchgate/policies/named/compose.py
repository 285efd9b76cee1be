"""The steps with which every named policy begins and ends."""

import warnings

from torch import Tensor

from patchgate._check import checked_count
from patchgate._tensors import as_given, whole
from patchgate.policies import pool
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames
from patchgate.policies.plan import Plan


def candidates(
    frames: Frames, k: int, *, count: int | None = None, fps: float | None = None
) -> Tensor:
    """Chooses candidates: ``count`` of them, evenly, or ``fps`` a second, but at least min(k, N).

    Public code often has fewer candidates than it has to choose, and then returns too few frames.
    """
    n = len(frames)
    if fps is not None:
        at = pool.at_rate(frames, fps)
    else:
        at = pool.uniform(n, n if count is None else max(checked_count("count", count, 1), k))
    return at if len(at) >= min(k, n) else pool.uniform(n, k)


def plan(
    frames: Frames,
    positions: Tensor | list[int],
    budget: Budget,
    *,
    scale: Tensor | float = 1.0,
    ratio: Tensor | float = 1.0,
    clip: Tensor | int = 0,
) -> Plan:
    """Makes the plan of chosen candidates, as fine as the budget's tokens allow."""
    at = as_given(positions).long()
    return Plan.of(frames, at, scale, ratio, clip).within(budget)


def warn_strict() -> None:
    """Warns the caller of the policy that calls this function that ``strict=`` is deprecated."""
    warnings.warn(
        "strict=True (--strict) is deprecated and will be removed: leave it out for the repaired "
        "policy; what public code does is in benchmarks/peers/published.py of the repository",
        DeprecationWarning,
        stacklevel=3,
    )


def published(frames: Frames, positions: list[int]) -> Plan:
    """Makes a plan of the positions that published code chose, without a budget and unrepaired."""
    return Plan.of(frames, whole(positions))
