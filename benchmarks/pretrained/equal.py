"""Errors at equal work: what a curve of measured points says between them.

A point is ``(work, error)``; work is a share of the dense tower's.
"""

import math
from collections.abc import Iterable

Point = tuple[float, float]
_LEAST = 1e-12  # errors of nothing, for the logarithm


def between(points: Iterable[Point], work: float) -> float | None:
    """The error at some work: a straight line between neighbours, both axes logarithmic.

    None outside of the points. Of several at the same work, the one of the least error counts.
    """
    known: dict[float, float] = {}
    for at, error in points:
        known[at] = min(error, known.get(at, math.inf))
    if work in known:
        return known[work]
    below = max((at for at in known if at < work), default=None)
    above = min((at for at in known if at > work), default=None)
    if below is None or above is None:
        return None
    share = math.log(work / below) / math.log(above / below)
    low, high = (math.log(max(known[at], _LEAST)) for at in (below, above))
    return math.exp(low + share * (high - low))


def sampled(points: Iterable[Point], work: float) -> float:
    """The error of the dense tower on every k-th frame at some work, of its points for some k.

    With more work than the most of them, some frames are held for one frame: their share, and the
    error with it, falls in a straight line to nothing at dense. With less than the least of them,
    the error is that of the least: it would be more.
    """
    known = sorted(points)
    (_, worst), (most, best) = known[0], known[-1]
    if work >= most:
        return best * max(0.0, 1 - work) / (1 - most)
    found = between(known, work)
    return worst if found is None else found
