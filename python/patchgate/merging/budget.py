"""Budgets: how many tokens of which frames must be merged.

Letters: T frames, K tokens, C of them carried over from before, B bins of tokens with one budget.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange, whole
from patchgate.merging.settings import MergeSettings
from patchgate.merging.window import Window

_ANY = 1 << 60  # tokens
_ROUNDING = 1e-6  # seconds: a stamp that should be whole may be less by this
_DOWN = 1 - 1e-12  # a product that should be whole may be larger, such as 0.07 * 100


class Need(NamedTuple):
    """How many tokens must join others."""

    bin: Tensor  # [K] int64
    room: Tensor  # [B] int64: the most tokens of each bin that may join others
    most: int  # the most tokens of all bins
    exact: bool  # exactly ``most`` tokens must join others, not fewer


def seconds(pts_seconds: Tensor, origin: float) -> Tensor:
    """Returns the second of each frame, ``[T]`` int64, counted from ``origin``."""
    return (pts_seconds - origin + _ROUNDING).floor().long()


class TokenBudget:
    """The budgets of one window after another. A long second may lie in several windows."""

    def __init__(self, settings: MergeSettings) -> None:
        self.settings = settings
        self.origin: float | None = None  # seconds on the video's clock
        self._first, self._last = 0, 0  # seconds of the window
        self.second, self.spent = -1, 0  # the last second, and the number of its tokens

    def need(self, window: Window, pts_seconds: Tensor) -> Need:
        """Returns how many tokens of a window must join others; ``pts_seconds`` is ``[T]``."""
        per_frame = self._bins(pts_seconds)  # [T]
        bin = per_frame[window.frame.clamp(min=0)]  # [K]
        own = bin[window.carried :]
        count = own.bincount(minlength=int(per_frame[-1]) + 1)  # [B]
        settings = self.settings
        if settings.threshold is not None:
            return Need(bin, count, _ANY, False)
        if settings.ratio is not None:
            left = whole([math.ceil(settings.ratio * len(own) * _DOWN)])
        else:
            assert settings.budget is not None
            left = torch.full_like(count, settings.budget)
            if settings.per == "second" and self._first == self.second:
                left[0] -= min(settings.budget, self.spent)
        room = (count - left).clamp(min=0)
        if settings.per == "second":
            self._pay(count - room)
        return Need(bin, room, int(room.sum()), True)

    def _bins(self, pts_seconds: Tensor) -> Tensor:
        if self.settings.per == "frame":
            return arange(len(pts_seconds))
        if self.settings.per == "video":
            return torch.zeros(len(pts_seconds), dtype=torch.int64, device="cpu")
        if self.origin is None:
            self.origin = float(pts_seconds[0])
        second = seconds(pts_seconds, self.origin)
        self._first, self._last = int(second[0]), int(second[-1])
        # Seconds are numbered one after the other, because a clock may jump by years.
        return second.unique_consecutive(return_inverse=True)[1]

    def _pay(self, kept: Tensor) -> None:
        before = self.spent if self._last == self.second else 0
        self.second, self.spent = self._last, int(kept[-1]) + before
