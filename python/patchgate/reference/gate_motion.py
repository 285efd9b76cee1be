"""Blocks, costs and motion vectors of the gate's definition, in plain torch.

Letters: f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w, n some of the cells,
p cell side, b sub-block side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

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


def cell_corners(h: int, w: int, cell: int, device: torch.device) -> Tensor:
    """Top and left pixel of every cell, ``[N, 2]``."""
    rows, columns = torch.arange(h, device=device), torch.arange(w, device=device)
    return torch.cartesian_prod(rows, columns).view(-1, 2) * cell


def blocks_at(planes: Tensor, corners: Tensor, cell: int) -> Tensor:
    """The blocks of ``planes [..., H, W]`` at ``corners [n, 2]``: ``[n, ..., p, p]``."""
    span = torch.arange(cell, device=planes.device)
    rows = corners[:, 0, None, None] + span[:, None]  # [n, p, 1]
    columns = corners[:, 1, None, None] + span  # [n, 1, p]
    return planes[..., rows, columns].movedim(-3, 0)


def paste_blocks(planes: Tensor, blocks: Tensor, corners: Tensor, cell: int) -> None:
    """Writes ``blocks [N, ..., p, p]`` into ``planes [..., H, W]`` at ``corners``."""
    span = torch.arange(cell, device=planes.device)
    rows = corners[:, 0, None, None] + span[:, None]
    columns = corners[:, 1, None, None] + span
    planes[..., rows, columns] = blocks.movedim(0, -3)


def cost_of(a: Tensor, b: Tensor, sub_block: int) -> Tensor:
    """Largest sub-block SAD over planes and frames of blocks ``[n, f, C, p, p]``: ``[n]``."""
    n, f, c, p, _ = a.shape
    k = p // sub_block
    difference = (a.int() - b.int()).abs().view(n, f * c, k, sub_block, k, sub_block)
    return difference.sum((3, 5)).amax((1, 2, 3))


def objective_of(now: Tensor, then: Tensor, vector: tuple[int, int], cell: int) -> Tensor:
    """SAD of the whole luma cell plus the price of the vector, for blocks ``[n, f, C, p, p]``."""
    sad = (now[:, :, 0].int() - then[:, :, 0].int()).abs().sum((1, 2, 3))
    return sad + ((cell * cell) >> 4) * (abs(vector[0]) + abs(vector[1]))


def candidates(radius: int) -> list[tuple[int, int]]:
    """Every vector of the search but (0, 0), in the order in which ties are won."""
    span = range(-radius, radius + 1)
    vectors = [(dy, dx) for dy in span for dx in span if (dy, dx) != (0, 0)]
    return sorted(vectors, key=tie_order)


def tie_order(vector: tuple[int, int]) -> tuple[int, int, int]:
    dy, dx = vector
    return abs(dy) + abs(dx), dy, dx


def inside(at: Tensor, picture: Tensor, cell: int) -> Tensor:
    """Which blocks at ``at [n, 2]`` lie wholly inside ``picture [.., H, W]``, ``[n]``."""
    last = at.new_tensor(picture.shape[-2:]) - cell
    return ((at >= 0) & (at <= last)).all(-1)


def search(
    now: Tensor, picture: Tensor, corners: Tensor, wanted: Tensor, rules: Rules
) -> tuple[Tensor, Tensor]:
    """The vector of least objective of every wanted cell ``[N, 2]``, and its cost ``[N]``."""
    best = torch.zeros_like(corners)
    best_objective = torch.full_like(corners[:, 0], UNTESTED)
    for vector in candidates(rules.search_radius):
        at = corners + corners.new_tensor(vector)
        legal = (wanted & inside(at, picture, rules.cell)).nonzero().flatten()
        then = blocks_at(picture, at[legal], rules.cell)
        objective = objective_of(now[legal], then, vector, rules.cell)
        better = objective < best_objective[legal]
        best_objective[legal[better]] = objective[better].long()
        best[legal[better]] = corners.new_tensor(vector)
    cost = torch.full_like(best_objective, UNTESTED)
    tried = best_objective < UNTESTED
    then = blocks_at(picture, (corners + best)[tried], rules.cell)
    cost[tried] = cost_of(now[tried], then, rules.sub_block).long()
    return best, cost


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


def follow(
    now: Tensor,
    picture: Tensor,
    corners: Tensor,
    wanted: Tensor,
    dominant: tuple[int, int],
    limits: Tensor,
    rules: Rules,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the vectors within one pixel of the dominant one, the passing one of least objective.

    Returns which cells have one ``[N]``, it ``[N, 2]``, its cost ``[N]``, the least cost tested.
    """
    motion = torch.zeros_like(corners)
    best = torch.full_like(corners[:, 0], UNTESTED)
    cost, least = best.clone(), best.clone()
    near = {(dominant[0] + dy, dominant[1] + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    for vector in [v for v in candidates(rules.search_radius) if v in near]:
        at = corners + corners.new_tensor(vector)
        legal = (wanted & inside(at, picture, rules.cell)).nonzero().flatten()
        then = blocks_at(picture, at[legal], rules.cell)
        tested = cost_of(now[legal], then, rules.sub_block).long()
        least[legal] = torch.minimum(least[legal], tested)
        objective = objective_of(now[legal], then, vector, rules.cell)
        better = (tested <= limits[legal]) & (objective < best[legal])
        chosen = legal[better]
        best[chosen], cost[chosen] = objective[better].long(), tested[better]
        motion[chosen] = corners.new_tensor(vector)
    return best < UNTESTED, motion, cost, least
