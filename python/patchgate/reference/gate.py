"""The motion gate, frame by frame in plain torch. docs/gate.md states the rules in words.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells,
N = h * w, n some of the cells, p cell side, b sub-block side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

STATIC, MOVED, CHANGED = 0, 1, 2
ENCODE, CAMERA, REUSE = 0, 1, 2
ALWAYS = 2**31 - 1  # a limit that every cost passes
UNTESTED = 2**31 - 1  # the cost of a vector that was not tried


@dataclass
class _Stream:
    """One stream's state: views, updated in place."""

    picture: Tensor  # [f, C, H, W]
    ids: Tensor  # [H, W]
    source: Tensor  # [h, w]
    clock: Tensor  # [2]
    births: Tensor  # [max_age]
    quartiles: Tensor  # [15]


@dataclass
class _Rules:
    cell: int
    sub_block: int
    limit: int
    texture: int
    search_radius: int
    on_motion: int
    cut: int
    hysteresis: float
    adaptive: bool


def gate(
    planes: Tensor,  # [S, T, f, C, H, W]
    picture: Tensor,  # [S, f, C, H, W]
    ids: Tensor,  # [S, H, W]
    source: Tensor,  # [S, h, w]
    clock: Tensor,  # [S, 2]
    births: Tensor,  # [S, max_age or 0]
    quartiles: Tensor,  # [S, 15]
    threshold_map: Tensor | None,  # [h, w]
    cell: int,
    sub_block: int,
    limit: int,
    texture: int,
    search_radius: int,
    on_motion: int,
    cut: int,
    hysteresis: float,
    adaptive: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One push of frames through the gate; the state tensors are updated in place.

    ``cut`` is the number of cells above which a frame is a scene cut (-1: off), ``hysteresis`` a
    factor on the limit (negative: off). Returns kind, motion, cost, source, is_key, limit.
    """
    rules = _Rules(
        cell, sub_block, limit, texture, search_radius, on_motion, cut, hysteresis, adaptive
    )
    grid = source.shape[1:]  # h, w
    frames = planes.shape[:2]  # S, T
    kind = planes.new_empty((*frames, *grid))
    motion = planes.new_empty((*frames, *grid, 2), dtype=torch.int8)
    cost = planes.new_empty((*frames, *grid), dtype=torch.int32)
    out_source = planes.new_empty((*frames, *grid), dtype=torch.int64)
    out_limit = planes.new_empty(frames, dtype=torch.int32)
    for s in range(frames[0]):
        stream = _Stream(picture[s], ids[s], source[s], clock[s], births[s], quartiles[s])
        for t in range(frames[1]):
            step = _step(planes[s, t], stream, threshold_map, rules)
            kind[s, t], motion[s, t], cost[s, t], out_source[s, t], out_limit[s, t] = step
    is_key = (kind == CHANGED).all(-1).all(-1)
    return kind, motion, cost, out_source, is_key, out_limit


def _step(
    frame: Tensor, stream: _Stream, threshold_map: Tensor | None, rules: _Rules
) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """One frame ``[f, C, H, W]`` of one stream, in the order of the rules."""
    h, w = stream.source.shape
    corners = _corners(h, w, rules.cell, frame.device)  # [N, 2]
    now = _blocks(frame, corners, rules.cell)  # [N, f, C, p, p]
    motion = torch.zeros_like(corners)  # [N, 2]
    first = int(stream.clock[0]) == 0
    limit = rules.limit
    _record_birth(stream)
    if first:
        kind = torch.full((h * w,), CHANGED, device=frame.device)
        cost = torch.full((h * w,), -1, device=frame.device)
    else:
        zero = _cost(now, _blocks(stream.picture, corners, rules.cell), rules.sub_block)
        if rules.adaptive:
            limit = _adaptive_limit(zero, stream, rules.limit)
        limits = _cell_limits(limit, threshold_map, h * w, frame.device)
        kind, motion, cost = _classify(frame, now, stream, corners, zero, limits, rules)
    source = _update(now, kind, motion, corners, stream, rules)
    return kind.view(h, w), motion.view(h, w, 2), cost.view(h, w), source.view(h, w), limit


def _classify(
    frame: Tensor,
    now: Tensor,
    stream: _Stream,
    corners: Tensor,
    zero: Tensor,
    limits: Tensor,
    rules: _Rules,
) -> tuple[Tensor, Tensor, Tensor]:
    """kind ``[N]``, motion ``[N, 2]``, cost ``[N]`` of a frame that is not its stream's first."""
    static = zero <= limits
    least = zero.clone()  # [N] the least cost tested
    best, best_cost = _search(now, stream.picture, corners, ~static, rules)
    least = torch.minimum(least, best_cost)
    found = ~static & (best_cost <= limits)  # [N] the cell's own minimum passes
    kind = torch.where(static, STATIC, CHANGED)
    motion = torch.zeros_like(corners)
    if rules.cut >= 0 and int((~static & ~found).sum()) > rules.cut:
        return torch.full_like(kind, CHANGED), motion, least

    moved, cost = torch.zeros_like(static), zero.clone()
    if rules.on_motion == REUSE:
        moved, motion, cost = found, best, best_cost
    elif rules.on_motion == CAMERA:
        dominant = _dominant_motion(best[found], static & _textured(now, rules))
        moved, motion, cost, tested = _follow(
            now, stream.picture, corners, ~static, dominant, limits, rules
        )
        least = torch.minimum(least, tested)
    kind[moved] = MOVED
    cost = torch.where(moved, cost, zero)

    if rules.hysteresis >= 0:
        kind = _hysteresis(kind, cost, limits, stream.source.shape, rules.hysteresis)
    kind = _expire(kind, motion, corners, stream, rules.cell)
    motion = torch.where((kind == MOVED)[:, None], motion, 0)
    return kind, motion, torch.where(kind == CHANGED, least, cost)


def _corners(h: int, w: int, cell: int, device: torch.device) -> Tensor:
    """Top and left pixel of every cell, ``[N, 2]``."""
    rows, columns = torch.arange(h, device=device), torch.arange(w, device=device)
    return torch.cartesian_prod(rows, columns).view(-1, 2) * cell


def _blocks(planes: Tensor, corners: Tensor, cell: int) -> Tensor:
    """The blocks of ``planes [..., H, W]`` at ``corners [n, 2]``: ``[n, ..., p, p]``."""
    span = torch.arange(cell, device=planes.device)
    rows = corners[:, 0, None, None] + span[:, None]  # [n, p, 1]
    columns = corners[:, 1, None, None] + span  # [n, 1, p]
    return planes[..., rows, columns].movedim(-3, 0)


def _cost(a: Tensor, b: Tensor, sub_block: int) -> Tensor:
    """Largest sub-block SAD over planes and frames of blocks ``[n, f, C, p, p]``: ``[n]``."""
    n, f, c, p, _ = a.shape
    k = p // sub_block
    difference = (a.int() - b.int()).abs().view(n, f * c, k, sub_block, k, sub_block)
    return difference.sum((3, 5)).amax((1, 2, 3))


def _cell_limits(limit: int, threshold_map: Tensor | None, cells: int, device: object) -> Tensor:
    if threshold_map is None:
        return torch.full((cells,), limit, device=device)  # type: ignore[call-overload]
    factor = threshold_map.flatten()
    scaled = torch.floor(limit * factor.nan_to_num(posinf=0)).clamp(max=ALWAYS).long()
    return torch.where(factor.isposinf(), ALWAYS, scaled)


def _adaptive_limit(zero: Tensor, stream: _Stream, base: int) -> int:
    """noise="adaptive": follows the lower quartile of the zero-test costs over <= 15 frames."""
    seen = int(stream.clock[0])  # this frame's number; the first had no zero test
    slots = stream.quartiles.shape[0]
    stream.quartiles[(seen - 1) % slots] = zero.sort().values[(len(zero) - 1) // 4]
    recent = stream.quartiles[: min(seen, slots)].sort().values
    median = int(recent[(len(recent) - 1) // 2])
    return min(max(3 * median // 2, base), 2 * base)


def _candidates(radius: int) -> list[tuple[int, int]]:
    """Every vector of the search but (0, 0), in the order in which ties are won."""
    span = range(-radius, radius + 1)
    vectors = [(dy, dx) for dy in span for dx in span if (dy, dx) != (0, 0)]
    return sorted(vectors, key=_tie_order)


def _tie_order(vector: tuple[int, int]) -> tuple[int, int, int]:
    dy, dx = vector
    return abs(dy) + abs(dx), dy, dx


def _inside(at: Tensor, height: int, width: int, cell: int) -> Tensor:
    last = at.new_tensor([height - cell, width - cell])
    return ((at >= 0) & (at <= last)).all(-1)


def _objective(now: Tensor, then: Tensor, vector: tuple[int, int], cell: int) -> Tensor:
    """SAD of the whole luma cell plus the price of the vector, for blocks ``[n, f, C, p, p]``."""
    sad = (now[:, :, 0].int() - then[:, :, 0].int()).abs().sum((1, 2, 3))
    return sad + ((cell * cell) >> 4) * (abs(vector[0]) + abs(vector[1]))


def _search(
    now: Tensor, picture: Tensor, corners: Tensor, wanted: Tensor, rules: _Rules
) -> tuple[Tensor, Tensor]:
    """The vector of least objective of every wanted cell ``[N, 2]``, and its cost ``[N]``."""
    best = torch.zeros_like(corners)
    best_objective = torch.full_like(corners[:, 0], UNTESTED)
    for vector in _candidates(rules.search_radius):
        at = corners + corners.new_tensor(vector)
        legal = (wanted & _inside(at, *picture.shape[-2:], rules.cell)).nonzero().flatten()
        then = _blocks(picture, at[legal], rules.cell)
        objective = _objective(now[legal], then, vector, rules.cell)
        better = objective < best_objective[legal]
        best_objective[legal[better]] = objective[better].long()
        best[legal[better]] = corners.new_tensor(vector)
    cost = torch.full_like(best_objective, UNTESTED)
    tried = best_objective < UNTESTED
    then = _blocks(picture, (corners + best)[tried], rules.cell)
    cost[tried] = _cost(now[tried], then, rules.sub_block).long()
    return best, cost


def _textured(now: Tensor, rules: _Rules) -> Tensor:
    """Cells whose luma varies more inside than a flat cell under the threshold could, ``[N]``."""
    luma = now[:, :, 0].int()  # [N, f, p, p]
    across = luma.diff(dim=-1).abs().sum((1, 2, 3))
    down = luma.diff(dim=-2).abs().sum((1, 2, 3))
    return across + down > rules.texture


def _dominant_motion(found: Tensor, still: Tensor) -> tuple[int, int]:
    """The mode of the passing minima ``[n, 2]`` and one (0, 0) per static textured cell."""
    votes = {(0, 0): int(still.sum())}
    for dy, dx in found.tolist():
        votes[dy, dx] = votes.get((dy, dx), 0) + 1
    return min(votes, key=lambda vector: (-votes[vector], *_tie_order(vector)))


def _follow(
    now: Tensor,
    picture: Tensor,
    corners: Tensor,
    wanted: Tensor,
    dominant: tuple[int, int],
    limits: Tensor,
    rules: _Rules,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the vectors within one pixel of the dominant one, the passing one of least objective.

    Returns which cells have one ``[N]``, it ``[N, 2]``, its cost ``[N]``, the least cost tested.
    """
    motion = torch.zeros_like(corners)
    best = torch.full_like(corners[:, 0], UNTESTED)
    cost, least = best.clone(), best.clone()
    near = {(dominant[0] + dy, dominant[1] + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)}
    for vector in [v for v in _candidates(rules.search_radius) if v in near]:
        at = corners + corners.new_tensor(vector)
        legal = (wanted & _inside(at, *picture.shape[-2:], rules.cell)).nonzero().flatten()
        then = _blocks(picture, at[legal], rules.cell)
        tested = _cost(now[legal], then, rules.sub_block).long()
        least[legal] = torch.minimum(least[legal], tested)
        objective = _objective(now[legal], then, vector, rules.cell)
        better = (tested <= limits[legal]) & (objective < best[legal])
        chosen = legal[better]
        best[chosen], cost[chosen] = objective[better].long(), tested[better]
        motion[chosen] = corners.new_tensor(vector)
    return best < UNTESTED, motion, cost, least


def _hysteresis(
    kind: Tensor, cost: Tensor, limits: Tensor, grid: torch.Size, factor: float
) -> Tensor:
    """Cells beside a changed one are held to a tighter limit: once, without propagation."""
    changed = (kind == CHANGED).view(1, 1, *grid).float()
    beside = torch.nn.functional.max_pool2d(changed, 3, 1, 1).flatten() > 0
    tight = torch.floor(limits.double() * factor).long()
    tight = torch.where(limits == ALWAYS, ALWAYS, tight)
    return torch.where(beside & (cost > tight), CHANGED, kind)


def _expire(kind: Tensor, motion: Tensor, corners: Tensor, stream: _Stream, cell: int) -> Tensor:
    """max_age: a cell whose source was emitted that many frames ago is encoded anew."""
    max_age = stream.births.shape[0]
    if max_age == 0:
        return kind
    # Token ids grow with time: the first id of the oldest frame that may live tells age.
    oldest = stream.births[(int(stream.clock[0]) + 1) % max_age]
    kept = torch.where((kind == MOVED)[:, None], motion, 0)
    source = _vote(_blocks(stream.ids, corners + kept, cell))
    return torch.where(source < oldest, CHANGED, kind)


def _record_birth(stream: _Stream) -> None:
    """Keeps the first token id of each of the last max_age frames, in a ring."""
    max_age, now = stream.births.shape[0], int(stream.clock[0])
    if max_age == 0:
        return
    if now == 0:
        stream.births.zero_()
    stream.births[now % max_age] = stream.clock[1]


def _vote(ids: Tensor) -> Tensor:
    """The id with the most pixels in each block ``[n, p, p]``, ties to the smallest: ``[n]``."""
    ids = ids.flatten(1).long()  # [n, p * p]
    out = ids[:, 0].clone()
    for i in (ids != ids[:, :1]).any(1).nonzero().flatten().tolist():
        values, counts = ids[i].unique(return_counts=True)  # values ascend
        out[i] = values[counts.argmax()]  # the first of the largest
    return out


def _update(
    now: Tensor, kind: Tensor, motion: Tensor, corners: Tensor, stream: _Stream, rules: _Rules
) -> Tensor:
    """Writes the reference picture, the token ids and the clock; returns the sources ``[N]``."""
    cell, at = rules.cell, corners + motion
    pixels = _blocks(stream.picture, at, cell)  # [N, f, C, p, p]: all read the old picture
    ids = _blocks(stream.ids, at, cell).long()  # [N, p, p]
    source = _vote(ids)
    changed = kind == CHANGED
    fresh = stream.clock[1] + changed.cumsum(0) - 1  # [N]
    source = torch.where(changed, fresh, source)
    pixels = torch.where(changed.view(-1, 1, 1, 1, 1), now, pixels)
    ids = torch.where(changed.view(-1, 1, 1), fresh.view(-1, 1, 1), ids)
    _paste(stream.picture, pixels, corners, cell)
    _paste(stream.ids, ids.int(), corners, cell)
    stream.source.copy_(source.view(stream.source.shape))
    stream.clock[0] += 1
    stream.clock[1] += changed.sum()
    return source


def _paste(planes: Tensor, blocks: Tensor, corners: Tensor, cell: int) -> None:
    """Writes ``blocks [N, ..., p, p]`` into ``planes [..., H, W]`` at ``corners``."""
    span = torch.arange(cell, device=planes.device)
    rows = corners[:, 0, None, None] + span[:, None]
    columns = corners[:, 1, None, None] + span
    planes[..., rows, columns] = blocks.movedim(0, -3)
