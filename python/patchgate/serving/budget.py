"""The most tokens of a video, and the threshold with which it stays within them.

Letters: T tubelets, f frames of a tubelet, H W pixels, h w cells.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from patchgate.gate import CHANGED, Gate, GateResult, GateSettings
from patchgate.serving.settings import Budget

_STEPS = 64  # thresholds that are looked at, from the server's own to the largest
_LARGEST = 255.0  # grey levels: nothing but a first frame, scene cuts and ``max_age`` exceeds it
_SMALLEST = 0.25  # grey levels, where the search begins if the server's own threshold is 0


def most_tokens(budget: Budget, seconds: float | None, cells: int) -> int | None:
    """Returns the most tokens of a video; None: any number.

    Args:
        budget: the server's.
        seconds: the length of the video, if it is known.
        cells: those of a frame. ``max_tokens_per_second`` never asks for fewer, because a video
            begins with a whole frame.

    Raises:
        ValueError: there is a rate, and the length is not known; or ``max_tokens`` has no room for
            one frame.
    """
    limits = []
    if budget.max_tokens is not None:
        if budget.max_tokens < cells:
            raise ValueError(
                f"video: its first frame alone has {cells} tokens, and the server allows "
                f"max_tokens={budget.max_tokens} a video; send smaller pictures, or let the "
                "processor make them smaller (mm_processor_kwargs)"
            )
        limits.append(budget.max_tokens)
    if (rate := budget.max_tokens_per_second) is not None:
        if seconds is None:
            raise ValueError(
                "video: the server allows max_tokens_per_second, and this video's length is not "
                "known; give duration in its metadata, in seconds"
            )
        limits.append(max(cells, math.floor(rate * seconds)))
    return min(limits) if limits else None


class Fitted(NamedTuple):
    """A video, gated within its budget."""

    gate: Gate  # as it is after the video
    result: GateResult

    @property
    def tokens(self) -> int:
        """The number of cells that the gate keeps. Synchronises."""
        return int((self.result.kind == CHANGED).sum())


def fitted(
    planes: Tensor,
    rules: GateSettings,
    most: int | None,
    state: Mapping[str, Tensor] | None = None,
) -> Fitted:
    """Gates a video with the rules, or with the smallest larger threshold that keeps it small.

    The thresholds that are tried lie close to each other, and what is returned was gated with the
    one that was chosen: there are never more tokens than ``most``.

    Args:
        planes: uint8 ``[T * f, 3, H, W]``.
        rules: the server's.
        most: the most tokens; None: any number.
        state: that of the gate of a stream whose next frames these are (``Gate.state_dict``).

    Raises:
        ValueError: no threshold keeps it small, because scene cuts or ``max_age`` keep more.
    """

    def gated(threshold: float) -> Fitted:
        gate = Gate.of(replace(rules, threshold=min(threshold, _LARGEST)))
        if state:
            gate.load_state_dict(state)
        return Fitted(gate, gate.push(planes))

    own = gated(rules.threshold)
    if most is None or own.tokens <= most:
        return own
    first = max(rules.threshold, _SMALLEST)
    factor = (_LARGEST / first) ** (1 / _STEPS)
    tried = [first * factor**step for step in range(1, _STEPS)] + [_LARGEST]
    low, high = -1, len(tried) - 1  # low keeps too much; high is the last resort
    best: Fitted | None = None
    while high - low > 1:
        middle = (low + high) // 2
        found = gated(tried[middle])
        if found.tokens <= most:
            high, best = middle, found
        else:
            low = middle
    best = best or gated(tried[high])
    if best.tokens > most:
        raise ValueError(
            f"video: it keeps {best.tokens} tokens at the largest threshold, more than the {most} "
            f"that the server allows it: scene_cut={rules.scene_cut} or max_age={rules.max_age} "
            "keeps whole frames; send a shorter video"
        )
    return best
