"""The motion gate, frame by frame in plain torch. docs/gate.md states the rules in words.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells,
N = h * w, n some of the cells, p cell side, b sub-block side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from patchgate.reference import gate_light
from patchgate.reference.gate_light import ALWAYS
from patchgate.reference.gate_motion import (
    Rules,
    Search,
    blocks_at,
    cell_corners,
    cost_of,
    dominant_motion,
    follow,
    paste_blocks,
    textured,
)
from patchgate.reference.subpixel import QUARTERS, blocks_between

STATIC, MOVED, CHANGED = 0, 1, 2
ENCODE, CAMERA, REUSE = 0, 1, 2
ROUNDED_UP = (0, 2, 1, 3)  # quarters of a pixel that are added before rounding down, frame by frame


@dataclass
class _Stream:
    """One stream's state: views, updated in place."""

    picture: Tensor  # [f, C, H, W]
    ids: Tensor  # [H, W]
    source: Tensor  # [h, w]
    clock: Tensor  # [2]
    births: Tensor  # [max_age]
    quartiles: Tensor  # [15]
    light: Tensor  # [f, C, 4, h or 0, w]


def gate(
    planes: Tensor,  # [S, T, f, C, H, W]
    picture: Tensor,  # [S, f, C, H, W]
    ids: Tensor,  # [S, H, W]
    source: Tensor,  # [S, h, w]
    clock: Tensor,  # [S, 2]
    births: Tensor,  # [S, max_age or 0]
    quartiles: Tensor,  # [S, 15]
    light: Tensor,  # [S, f, C, 4, h or 0, w]
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
    motion_precision: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One push of frames through the gate; the state tensors are updated in place.

    ``cut`` is the number of cells above which a frame is a scene cut (-1: off), ``hysteresis`` a
    factor on the limit (negative: off); vectors count in ``1 / motion_precision`` pixels. With a
    ``light`` of h rows the reference follows the frames' light. Returns kind, motion, cost, source,
    is_key, limit, weights, lit.
    """
    rules = Rules(
        cell,
        sub_block,
        limit,
        texture,
        search_radius,
        on_motion,
        cut,
        hysteresis,
        adaptive,
        motion_precision,
    )
    grid = source.shape[1:]  # h, w
    frames = planes.shape[:2]  # S, T
    kind = planes.new_empty((*frames, *grid))
    motion = planes.new_empty((*frames, *grid, 2), dtype=torch.int8)
    cost = planes.new_empty((*frames, *grid), dtype=torch.int32)
    out_source = planes.new_empty((*frames, *grid), dtype=torch.int64)
    out_limit = planes.new_empty(frames, dtype=torch.int32)
    rows = light.shape[4]  # h, or 0
    weights = planes.new_empty(
        (*frames, planes.shape[2] if rows else 0, planes.shape[3], 2), dtype=torch.int32
    )
    lit = planes.new_empty((*frames, rows, grid[1]), dtype=torch.bool)
    for s in range(frames[0]):
        state = (picture, ids, source, clock, births, quartiles, light)
        stream = _Stream(*(tensor[s] for tensor in state))
        for t in range(frames[1]):
            step, relit = _step(planes[s, t], stream, threshold_map, rules)
            kind[s, t], motion[s, t], cost[s, t], out_source[s, t], out_limit[s, t] = step
            if rows:
                weights[s, t] = relit.weights.view(weights.shape[2:])
                lit[s, t] = relit.lit.view(grid)
    is_key = (kind == CHANGED).all(-1).all(-1)
    return kind, motion, cost, out_source, is_key, out_limit, weights, lit


def _step(
    frame: Tensor, stream: _Stream, threshold_map: Tensor | None, rules: Rules
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor, int], gate_light.Relit]:
    """One frame ``[f, C, H, W]`` of one stream, in the order of the rules."""
    h, w = stream.source.shape
    corners = cell_corners(h, w, rules.cell, frame.device)  # [N, 2]
    now = blocks_at(frame, corners, rules.cell)  # [N, f, C, p, p]
    motion = torch.zeros_like(corners)  # [N, 2]
    first = int(stream.clock[0]) == 0
    limit = rules.limit
    _record_birth(stream)
    if first:
        kind = torch.full_like(motion[:, 0], CHANGED)
        cost = torch.full_like(motion[:, 0], -1)
        relit = gate_light.unlit(frame, cost)
    else:
        zero = cost_of(now, blocks_at(stream.picture, corners, rules.cell), rules.sub_block)
        relit = gate_light.unlit(frame, zero)
        if stream.light.numel():
            plain = _cell_limits(limit, threshold_map, h * w, frame.device)
            relit = gate_light.relight(frame, stream.picture, stream.light, zero, plain, rules)
        if rules.adaptive:
            limit = _adaptive_limit(relit.zero, stream, rules.limit)
        limits = _cell_limits(limit, threshold_map, h * w, frame.device)
        kind, motion, cost = _classify(frame, now, stream, corners, relit.zero, limits, rules)
    source = _update(now, kind, motion, corners, stream, rules)
    step = kind.view(h, w), motion.view(h, w, 2), cost.view(h, w), source.view(h, w), limit
    return step, relit


def _classify(
    frame: Tensor,
    now: Tensor,
    stream: _Stream,
    corners: Tensor,
    zero: Tensor,
    limits: Tensor,
    rules: Rules,
) -> tuple[Tensor, Tensor, Tensor]:
    """kind ``[N]``, motion ``[N, 2]``, cost ``[N]`` of a frame that is not its stream's first."""
    static = zero <= limits
    least = zero.clone()  # [N] the least cost tested
    search = Search(now, stream.picture, corners, rules)
    best, best_cost = search.minima(~static)
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
        dominant = dominant_motion(best[found], static & textured(now, rules))
        moved, motion, cost, tested = follow(
            search, ~static, best, dominant, limits, rules.precision
        )
        least = torch.minimum(least, tested)
    kind[moved] = MOVED
    cost = torch.where(moved, cost, zero)

    if rules.hysteresis >= 0:
        kind = _hysteresis(kind, cost, limits, stream.source.shape, rules.hysteresis)
    kind = _expire(kind, motion, corners, stream, rules)
    if stream.light.numel():
        strange = gate_light.too_far(_light(motion, corners, stream, rules))
        kind = torch.where(strange, CHANGED, kind)
    motion = torch.where((kind == MOVED)[:, None], motion, 0)
    return kind, motion, torch.where(kind == CHANGED, least, cost)


def _cell_limits(limit: int, threshold_map: Tensor | None, cells: int, device: object) -> Tensor:
    if threshold_map is None:
        return torch.full((cells,), limit, dtype=torch.int64, device=device)  # type: ignore[call-overload]
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


def _hysteresis(
    kind: Tensor, cost: Tensor, limits: Tensor, grid: torch.Size, factor: float
) -> Tensor:
    """Cells beside a changed one are held to a tighter limit: once, without propagation."""
    changed = (kind == CHANGED).view(1, 1, *grid).float()
    beside = torch.nn.functional.max_pool2d(changed, 3, 1, 1).flatten() > 0
    tight = torch.floor(limits.double() * factor).long()
    tight = torch.where(limits == ALWAYS, ALWAYS, tight)
    return torch.where(beside & (cost > tight), CHANGED, kind)


def _expire(kind: Tensor, motion: Tensor, corners: Tensor, stream: _Stream, rules: Rules) -> Tensor:
    """max_age: a cell whose source was emitted that many frames ago is encoded again."""
    max_age = stream.births.shape[0]
    if max_age == 0:
        return kind
    # Token ids grow with time: the first id of the oldest frame that may live tells age.
    oldest = stream.births[(int(stream.clock[0]) + 1) % max_age]
    kept = torch.where((kind == MOVED)[:, None], motion, 0)
    source = _vote(_id_blocks(stream, kept, corners, rules))
    return torch.where(source < oldest, CHANGED, kind)


def _light(motion: Tensor, corners: Tensor, stream: _Stream, rules: Rules) -> Tensor:
    """What the pixels that every cell's vector brings have gone through, ``[f, C, 4, N]``."""
    whole = whole_pixels(motion, rules.precision, int(stream.clock[0]))  # [N, 2]
    return gate_light.brought(stream.light, corners, whole, rules.cell)


def _id_blocks(stream: _Stream, motion: Tensor, corners: Tensor, rules: Rules) -> Tensor:
    """The token ids that every cell's vector brings, ``[N, p, p]``: by whole pixels.

    A fraction is rounded up as often as it should be, frame by frame: always rounded alike, slow
    motion would leave the ids behind.
    """
    whole = whole_pixels(motion, rules.precision, int(stream.clock[0]))  # [N, 2]
    return blocks_at(stream.ids, corners + whole, rules.cell)


def whole_pixels(motion: Tensor, precision: int, frame: int) -> Tensor:
    """By how many pixels vectors displace token ids.

    Args:
        motion: ``[..., 2]`` int64, in ``1 / precision`` pixels.
        frame: the number of the frame since the reset, which says how fractions are rounded.
    """
    up = ROUNDED_UP[frame % QUARTERS]
    return (motion * (QUARTERS // precision) + up) // QUARTERS


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
    now: Tensor, kind: Tensor, motion: Tensor, corners: Tensor, stream: _Stream, rules: Rules
) -> Tensor:
    """Writes the reference picture, the token ids and the clock; returns the sources ``[N]``."""
    cell, at = rules.cell, corners * rules.precision + motion
    # [N, f, C, p, p]: all read the old picture
    pixels = blocks_between(stream.picture, at, cell, rules.precision)
    ids = _id_blocks(stream, motion, corners, rules).long()  # [N, p, p]
    source = _vote(ids)
    changed = kind == CHANGED
    fresh = stream.clock[1] + changed.cumsum(0) - 1  # [N]
    source = torch.where(changed, fresh, source)
    pixels = torch.where(changed.view(-1, 1, 1, 1, 1), now, pixels)
    ids = torch.where(changed.view(-1, 1, 1), fresh.view(-1, 1, 1), ids)
    paste_blocks(stream.picture, pixels, corners, cell)
    paste_blocks(stream.ids, ids.int(), corners, cell)
    if stream.light.numel():
        light = _light(motion, corners, stream, rules)  # [f, C, 4, N]
        light = torch.where(changed, gate_light.fresh(light), light)
        stream.light.copy_(light.view(stream.light.shape))
    stream.source.copy_(source.view(stream.source.shape))
    stream.clock[0] += 1
    stream.clock[1] += changed.sum()
    return source
