"""Budgets: how many frames, or tokens of a language model, a policy may use.

Tokens are counted after merging and pooling."""

from dataclasses import dataclass

from patchgate._check import checked_count, settle
from patchgate.policies.grids import Grid, tokens_of


@dataclass(frozen=True)
class Budget:
    """The most frames and the most tokens that a policy may use.

    Args:
        frames: the most frames; None: no bound.
        tokens: the most tokens that the language model gets of the video; None: no bound.
        grid: counts the tokens of a frame: ``siglip()``, ``llava_onevision()``,
            ``qwen25_vl(h, w)``, ``qwen3_vl(h, w)``, ``Cells(h, w)`` or your own. ``tokens`` needs
            it.

    Raises:
        TypeError, ValueError: a bound is not a whole number of at least 1; there is no grid for
            ``tokens``.
    """

    frames: int | None = None
    tokens: int | None = None
    grid: Grid | None = None

    def __post_init__(self) -> None:
        for name in ("frames", "tokens"):
            if (most := getattr(self, name)) is not None:
                settle(self, **{name: checked_count(f"Budget.{name}", most, 1)})
        if self.grid is not None and not callable(getattr(self.grid, "cells", None)):
            raise TypeError(f"Budget.grid: expected a grid such as siglip(), got {self.grid!r}")
        if self.tokens is not None and self.grid is None:
            raise ValueError("Budget.tokens needs Budget.grid: how many tokens a frame has")

    @property
    def group(self) -> int:
        """The number of frames that share their tokens."""
        return 1 if self.grid is None else self.grid.group

    def count(self, candidates: int, share: float = 1.0) -> int:
        """Counts the candidates that fit: at least one if there is one. Without ``frames``, they
        are at most those that the grid's processor takes by itself (``most_frames``).

        Args:
            candidates: the number of candidates.
            share: the mean cost of a frame, as a share of a frame at full scale. With 0, a group
                costs one token, which is the least that it can cost.
        """
        most = candidates if self.frames is None else min(candidates, self.frames)
        if self.tokens is None or self.grid is None or not most:
            return most
        if self.frames is None and self.grid.most_frames is not None:
            most = min(most, self.grid.most_frames)
        low, high = 1, most  # what is wanted lies between: low fits, or nothing does
        while low < high:
            middle = (low + high + 1) // 2
            if self._cost(middle, share) <= self.tokens - self.grid.extra:
                low = middle
            else:
                high = middle - 1
        return low

    def _cost(self, frames: int, share: float) -> float:
        """Counts the tokens of frames that cost a share of full scale, at least one a group."""
        assert self.grid is not None
        each = max(1.0, share * tokens_of(self.grid, 1.0, frames))
        return -(-frames // self.grid.group) * each
