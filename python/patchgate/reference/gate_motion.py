"""Blocks, costs and motion vectors of the gate's definition, in plain torch.

Letters: f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w, n some of the cells,
p cell side, b sub-block side.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.reference.subpixel import blocks_between

UNTESTED = 2**31 - 1  # the cost of a vector that was not tried


@dataclass
class Rules:
    cell: int
    sub_block: int
    limit: int
    texture: int
    search_radius: int
    on_motion: int
    cut: int
    hysteresis: float
    adaptive: bool
    precision: int = 1  # vectors count in 1 / precision pixels


def cell_corners(h: int, w: int, cell: int, device: torch.device) -> Tensor:
    """Top and left pixel of every cell, ``[N, 2]``."""
    rows, columns = arange(h, device=device), arange(w, device=device)
    return torch.cartesian_prod(rows, columns).view(-1, 2) * cell


def blocks_at(planes: Tensor, corners: Tensor, cell: int) -> Tensor:
    """The blocks of ``planes [..., H, W]`` at ``corners [n, 2]``: ``[n, ..., p, p]``."""
    span = arange(cell, device=planes.device)
    rows = corners[:, 0, None, None] + span[:, None]  # [n, p, 1]
    columns = corners[:, 1, None, None] + span  # [n, 1, p]
    return planes[..., rows, columns].movedim(-3, 0)


def paste_blocks(planes: Tensor, blocks: Tensor, corners: Tensor, cell: int) -> None:
    """Writes ``blocks [N, ..., p, p]`` into ``planes [..., H, W]`` at ``corners``."""
    span = arange(cell, device=planes.device)
    rows = corners[:, 0, None, None] + span[:, None]
    columns = corners[:, 1, None, None] + span
    planes[..., rows, columns] = blocks.movedim(0, -3)


def cost_of(a: Tensor, b: Tensor, sub_block: int) -> Tensor:
    """Largest sub-block SAD over planes and frames of blocks ``[n, f, C, p, p]``: ``[n]``."""
    n, f, c, p, _ = a.shape
    k = p // sub_block
    difference = (a.int() - b.int()).abs().view(n, f * c, k, sub_block, k, sub_block)
    return difference.sum((3, 5)).amax((1, 2, 3))


def objective_of(now: Tensor, then: Tensor, vector: Tensor, rules: Rules) -> Tensor:
    """SAD of the whole luma cell plus the price of its vector, for blocks ``[n, f, C, p, p]``."""
    sad = (now[:, :, 0].long() - then[:, :, 0].long()).abs().sum((1, 2, 3))  # [n]
    return sad + ((rules.cell**2 >> 4) * vector.abs().sum(-1)) // rules.precision


def candidates(radius: int) -> list[tuple[int, int]]:
    """Every vector of the search but (0, 0), in the order in which ties are won."""
    span = range(-radius, radius + 1)
    vectors = [(dy, dx) for dy in span for dx in span if (dy, dx) != (0, 0)]
    return sorted(vectors, key=tie_order)


def tie_order(vector: tuple[int, int]) -> tuple[int, int, int]:
    dy, dx = vector
    return abs(dy) + abs(dx), dy, dx


def inside(at: Tensor, picture: Tensor, rules: Rules) -> Tensor:
    """Which blocks at ``at [n, 2]`` lie wholly inside ``picture [.., H, W]``, ``[n]``."""
    last = (at.new_tensor(picture.shape[-2:]) - rules.cell) * rules.precision
    return ((at >= 0) & (at <= last)).all(-1)


class Search:
    """Vectors tried on the cells of a frame, each of which may have its own."""

    def __init__(self, now: Tensor, picture: Tensor, corners: Tensor, rules: Rules) -> None:
        self._now, self._picture, self._rules = now, picture, rules
        self._corners = corners * rules.precision  # [N, 2]

    def legal(self, vector: Tensor) -> Tensor:
        """Where ``vector [N, 2]`` (or ``[2]``) may be used, ``[N]`` bool."""
        reach = self._rules.search_radius * self._rules.precision
        near = (vector.abs() <= reach).all(-1) & (vector != 0).any(-1)
        return near & inside(self._corners + vector, self._picture, self._rules)

    def then(self, which: Tensor, vector: Tensor) -> Tensor:
        """What the picture has for some cells ``[n]`` at their vectors, ``[n, f, C, p, p]``."""
        at = self._corners[which] + vector
        return blocks_between(self._picture, at, self._rules.cell, self._rules.precision)

    def costs(self, which: Tensor, vector: Tensor) -> Tensor:
        """``[n]`` of some cells ``[n]`` under their vectors ``[n, 2]``."""
        then = self.then(which, vector)
        return cost_of(self._now[which], then, self._rules.sub_block).long()

    def objectives(self, which: Tensor, vector: Tensor) -> Tensor:
        """``[n]``, of the same."""
        then = self.then(which, vector)
        return objective_of(self._now[which], then, vector, self._rules)

    def minima(self, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """The vector of least objective of every wanted cell ``[N, 2]``, and its cost ``[N]``."""
        precision = self._rules.precision
        best = Best(self._corners)
        for vector in candidates(self._rules.search_radius):
            self._offer(best, wanted, self._corners.new_tensor(vector) * precision)
        step = precision // 2
        while step:  # around each cell's own: halves, then quarters
            centre = best.vector.clone()
            tried = best.objective < UNTESTED
            for dy, dx in candidates(1):
                self._offer(best, wanted & tried, centre + step * centre.new_tensor((dy, dx)))
            step //= 2
        cost = torch.full_like(best.objective, UNTESTED)
        tried = (best.objective < UNTESTED).nonzero().flatten()
        cost[tried] = self.costs(tried, best.vector[tried])
        return best.vector, cost

    def _offer(self, best: "Best", wanted: Tensor, vector: Tensor) -> None:
        vector = vector.expand_as(self._corners)
        which = (wanted & self.legal(vector)).nonzero().flatten()
        best.take(which, vector[which], self.objectives(which, vector[which]))


class Best:
    """The vector of least objective so far for every cell; ties in the tie order."""

    def __init__(self, corners: Tensor) -> None:
        self.vector = torch.zeros_like(corners)  # [N, 2]
        self.objective = torch.full_like(corners[:, 0], UNTESTED)  # [N]

    def take(self, which: Tensor, vector: Tensor, objective: Tensor) -> Tensor:
        """Offers vectors ``[n, 2]`` to some cells ``[n]``; which of them took theirs, ``[n]``."""
        old, own = self.vector[which], self.objective[which]
        better = (objective < own) | ((objective == own) & _precedes(vector, old))
        self.vector[which[better]] = vector[better]
        self.objective[which[better]] = objective[better]
        return better


def _precedes(a: Tensor, b: Tensor) -> Tensor:
    """Which vectors ``a [n, 2]`` win a tie against ``b [n, 2]``."""
    (far, dy, dx), (far_b, dy_b, dx_b) = ((v.abs().sum(-1), *v.unbind(-1)) for v in (a, b))
    return (far < far_b) | ((far == far_b) & ((dy < dy_b) | ((dy == dy_b) & (dx < dx_b))))


def textured(now: Tensor, rules: Rules) -> Tensor:
    """Cells whose luma varies more inside than a flat cell under the threshold could, ``[N]``."""
    luma = now[:, :, 0].int()  # [N, f, p, p]
    across = luma.diff(dim=-1).abs().sum((1, 2, 3))
    down = luma.diff(dim=-2).abs().sum((1, 2, 3))
    return across + down > rules.texture


def dominant_motion(found: Tensor, still: Tensor) -> tuple[int, int]:
    """The mode of the passing minima ``[n, 2]`` and one (0, 0) per static textured cell."""
    votes = {(0, 0): int(still.sum())}
    for dy, dx in found.tolist():
        votes[dy, dx] = votes.get((dy, dx), 0) + 1
    return min(votes, key=lambda vector: (-votes[vector], *tie_order(vector)))


class Followed(NamedTuple):
    """The result of testing the camera's motion on each cell."""

    moved: Tensor  # [N] bool: one of the vectors passes
    motion: Tensor  # [N, 2] the passing one of least objective
    cost: Tensor  # [N] of it
    least: Tensor  # [N] the least cost tested


def follow(
    search: Search,
    wanted: Tensor,
    own: Tensor,
    dominant: tuple[int, int],
    limits: Tensor,
    precision: int,
) -> Followed:
    """The dominant vector, or those within a pixel of it if they are whole, and a cell's own.

    ``own [N, 2]``, the minimum of its search, only where it is within a pixel of the dominant one.
    """
    centre = own.new_tensor(dominant)
    best = Best(own)
    cost = torch.full_like(best.objective, UNTESTED)
    least = cost.clone()
    span = (-1, 0, 1) if precision == 1 else (0,)
    near = [centre + own.new_tensor((dy, dx)) for dy in span for dx in span]
    beside = wanted & ((own - centre).abs() <= precision).all(-1)
    for vector, asked in [*((v.expand_as(own), wanted) for v in near), (own, beside)]:
        which = (asked & search.legal(vector)).nonzero().flatten()
        tested = search.costs(which, vector[which])
        least[which] = torch.minimum(least[which], tested)
        passing = tested <= limits[which]
        which, tested = which[passing], tested[passing]
        took = best.take(which, vector[which], search.objectives(which, vector[which]))
        cost[which[took]] = tested[took]
    return Followed(best.objective < UNTESTED, best.vector, cost, least)
