"""Plans: which frames to look at, and in what detail.

Letters: n frames of the plan, G groups (temporal patches)."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor

from patchgate._check import checked_choice, checked_count
from patchgate._tensors import arange, as_given, whole
from patchgate.policies.budget import Budget
from patchgate.policies.frames import Frames, positions_among
from patchgate.policies.grids import Grid, tokens_of

_DTYPES = {"index": torch.int64, "pts": torch.float64, "scale": torch.float64,
           "ratio": torch.float64, "clip": torch.int64}  # fmt: skip


class Groups(NamedTuple):
    """The temporal patches of a plan. A patch is paid for by its first frame."""

    first: Tensor  # [G] int64: position of that frame
    last: Tensor  # [G] int64: of the last one
    scale: Tensor  # [G]
    ratio: Tensor  # [G]: the largest of its frames


@dataclass(frozen=True, eq=False)
class Plan:
    """Frames in order of time, each with its detail; one pass over the video executes a plan.

    ``plan | other`` has the frames of both, with the finer detail where both have one. ``new -
    done`` has those frames of ``new`` that ``done`` does not have in such detail.
    """

    index: Tensor  # [n] int64: numbers in the stream, rising
    pts: Tensor  # [n] float64: seconds
    scale: Tensor  # [n] float64 >= 1: linear, by which the frame is made smaller before the tower
    ratio: Tensor  # [n] float64 in (0, 1]: share of its tokens that are kept: a cap on the gate
    clip: Tensor  # [n] int64: frames of different clips never share a temporal patch

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            value = as_given(getattr(self, name)).to("cpu", dtype)
            if value.shape != (len(self.index),):
                raise ValueError(
                    f"Plan.{name}: expected [{len(self.index)}], got {list(value.shape)}"
                )
            object.__setattr__(self, name, value)
        if not bool(self.pts.isfinite().all()):
            raise ValueError("Plan.pts: expected finite seconds, got NaN or infinity")
        if bool((self.index.diff() < 0).any()):
            raise ValueError("Plan.index: expected frames in order of time")
        if not bool((self.scale >= 1).all()):
            raise ValueError(f"Plan.scale: expected at least 1, got {float(self.scale.min()):g}")
        if not bool(((self.ratio > 0) & (self.ratio <= 1)).all()):
            raise ValueError("Plan.ratio: expected more than 0 and at most 1")

    @classmethod
    def of(
        cls,
        frames: Frames,
        positions: Tensor,
        scale: Tensor | float = 1.0,
        ratio: Tensor | float = 1.0,
        clip: Tensor | int = 0,
    ) -> Self:
        """Makes a plan of chosen candidates ``[n]`` int64, with a detail for each or for all.

        Raises:
            TypeError, ValueError: positions that are not whole numbers, or of no candidate.
        """
        positions = positions_among(len(frames), positions)
        n = len(positions)
        order = positions.argsort(stable=True)
        detail = [
            as_given(value).to("cpu", dtype).expand(n)[order]
            for value, dtype in ((scale, torch.float64), (ratio, torch.float64),
                                 (clip, torch.int64))
        ]  # fmt: skip
        positions = positions[order]
        return cls(frames.number[positions], frames.pts[positions], *detail)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        if not len(self):
            return "Plan(no frames)"
        scales = ", ".join(f"{s:g}" for s in self.scale.unique().tolist()[:4])
        return (
            f"Plan({len(self)} frames, {float(self.pts[0]):.2f}..{float(self.pts[-1]):.2f} s, "
            f"scales {scales})"
        )

    # --- cost -------------------------------------------------------------------------------

    def groups(self, group: int) -> Groups:
        """Groups consecutive frames of one clip and scale in temporal patches of ``group`` frames.

        If the last one is not full, its last frame is repeated, as the processors do.
        """
        group = checked_count("group", group, 1)
        if not len(self):
            return Groups(self.index, self.index, self.scale, self.ratio)
        both = torch.stack([self.clip.double(), self.scale], 1)  # [n, 2]
        run = both.unique(dim=0, return_inverse=True)[1]  # [n]
        order = run.argsort(stable=True)
        begin = torch.searchsorted(run[order], run[order])  # [n] where its run begins
        rank = arange(len(self)) - begin
        number = ((rank % group) == 0).cumsum(0) - 1  # [n] of its group
        starts = order[rank % group == 0]  # [G]
        ends = torch.zeros_like(starts).scatter_reduce_(0, number, order, "amax")
        ratio = self.ratio.new_zeros(len(starts))
        ratio.scatter_reduce_(0, number, self.ratio[order], "amax")
        in_time = starts.argsort()
        starts = starts[in_time]
        return Groups(starts, ends[in_time], self.scale[starts], ratio[in_time])

    def cost(self, grid: Grid) -> Tensor:
        """Counts the tokens of each frame, ``[n]`` int64. A group's first frame has all of them.

        The sum leaves out ``grid.extra``; ``tokens`` has it.
        """
        groups = self.groups(grid.group)
        cost = torch.zeros(len(self), dtype=torch.int64, device="cpu")
        for scale in groups.scale.unique().tolist():
            full = tokens_of(grid, scale, len(self))
            own = groups.scale == scale
            cost[groups.first[own]] = _kept(groups.ratio[own] * full)
        return cost

    def tokens(self, grid: Grid, coarser: float = 1.0) -> int:
        """Counts all tokens that the plan may cost, if every frame is made smaller by a factor."""
        return _total(self._kinds(grid.group), grid, len(self), coarser)

    def _kinds(self, group: int) -> Counter[tuple[float, float]]:
        """Counts the groups of each scale and ratio."""
        groups = self.groups(group)
        return Counter(zip(groups.scale.tolist(), groups.ratio.tolist(), strict=True))

    def within(self, budget: Budget) -> Self:
        """Makes all frames smaller by the least factor that keeps to the budget of tokens.

        The factor is exact on the grid: with any smaller one, the plan costs too much. (Where a
        grid's tokens do not fall as the scale rises, a smaller one elsewhere may do.)

        Raises:
            ValueError: the frames do not fit even with one token for each group.
        """
        grid, tokens = budget.grid, budget.tokens
        if tokens is None or grid is None or not len(self):
            return self
        kinds = self._kinds(grid.group)

        def fits(factor: float) -> bool:
            return _total(kinds, grid, len(self), factor) <= tokens

        if fits(1.0):
            return self
        high = 2.0 * max(grid.cells(1.0, len(self))) + 1
        if not fits(high):
            raise ValueError(
                f"Budget.tokens: {tokens} hold not even one token of each of the "
                f"{sum(kinds.values())} temporal patches; give fewer frames or more tokens"
            )
        low = 1.0
        while high > math.nextafter(low, math.inf):
            middle = (low + high) / 2
            low, high = (low, middle) if fits(middle) else (middle, high)
        return self.replaced(scale=self.scale * high)

    # --- sets -------------------------------------------------------------------------------

    def replaced(self, **changes: Tensor) -> Self:
        """Returns the plan with some columns replaced."""
        return type(self)(**{**self._columns(), **changes})

    def at(self, positions: Tensor) -> Self:
        """Returns a plan of some of its frames, by a mask ``[n]`` or rising positions."""
        return type(self)(**{name: value[positions] for name, value in self._columns().items()})

    def parts(self) -> list[Self]:
        """Splits the plan in one for each clip and scale, in the order in which they begin."""
        kinds: dict[tuple[int, float], list[int]] = {}
        for i, kind in enumerate(zip(self.clip.tolist(), self.scale.tolist(), strict=True)):
            kinds.setdefault(kind, []).append(i)
        return [self.at(whole(own)) for own in kinds.values()]

    def __or__(self, other: Plan) -> Self:
        """Returns the frames of both, with the smaller scale, the larger ratio, and the finer one's
        clip."""
        both = {
            name: torch.cat([value, other._columns()[name]])
            for name, value in self._columns().items()
        }
        fine = both["scale"].argsort(stable=True)
        order = fine[both["index"][fine].argsort(stable=True)]  # by frame, finest first
        index = both["index"][order]
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        union = {name: value[order][first] for name, value in both.items()}
        number = first.cumsum(0) - 1
        union["ratio"] = torch.zeros(
            int(first.sum()), dtype=torch.float64, device="cpu"
        ).scatter_reduce_(0, number, both["ratio"][order], "amax")
        return type(self)(**union)

    def __sub__(self, other: Plan) -> Self:
        """Returns the frames that the other plan does not have in such detail."""
        if not len(other):
            return self
        at = torch.searchsorted(other.index, self.index).clamp(max=len(other) - 1)
        same = other.index[at] == self.index
        covered = same & (other.scale[at] <= self.scale) & (other.ratio[at] >= self.ratio)
        return self.at(~covered)

    # --- time -------------------------------------------------------------------------------

    def stamps(self, group: int = 1, at: Literal["mean", "first", "last"] = "mean") -> Tensor:
        """Returns a time in seconds for each of ``groups(group)``, ``[G]`` float64.

        ``"mean"`` is of a group's first and last frame, as Qwen3-VL has it; ``"first"`` DATE's.
        """
        at = checked_choice("at", at, ("mean", "first", "last"))
        groups = self.groups(group)
        first, last = self.pts[groups.first], self.pts[groups.last]
        return {"mean": (first + last) / 2, "first": first, "last": last}[at]

    def _columns(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _kept(tokens: Tensor) -> Tensor:
    """Rounds up, but ignores what rounding errors add to a whole number."""
    return (tokens - 1e-9).ceil().clamp(min=1).long()


def _total(kinds: Counter[tuple[float, float]], grid: Grid, frames: int, coarser: float) -> int:
    """Counts the tokens of groups of these scales and ratios, all made smaller by a factor."""
    return grid.extra + sum(
        times * max(1, math.ceil(ratio * tokens_of(grid, scale * coarser, frames) - 1e-9))
        for (scale, ratio), times in kinds.items()
    )
