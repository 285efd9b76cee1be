"""Encodes a clip in buffers of fixed capacity: no shape depends on the content of the frames.

Nothing here waits for the device or branches on its results, so that ``torch.compile`` makes one
graph of it. ``fixed_watch`` does the same with a tolerance and new positions. Without these, a cell
shows the row that computed its source token. That row is the same in every layer, and so is found
only once.

Letters: T frames, N cells, M = prefix + N tokens of a frame, K capacity, R = K + T * prefix rows,
H W pixels, D features of a token, E features of a cell, n numbers for pooling.
"""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate import _ops
from patchgate._tensors import arange
from patchgate.encoders.run import leaving
from patchgate.encoders.run.fidelity import Context
from patchgate.encoders.tower import Tower
from patchgate.gate import CHANGED, GateResult


class FixedFrames(NamedTuple):
    """The states that the frames of a clip show, and what did not fit."""

    states: dict[str, Tensor]  # "features" -> [T, M, E], "hidden_<i>" -> [T, M, D]
    pooled: Tensor | None  # [T, D]
    overflow: Tensor  # [1] int64: kept cells beyond the capacity
    layers: Tensor | None = None  # [1 + depth] int64: tokens beyond those of the layers


class Fitting(NamedTuple):
    """The first K cells that the gate kept, which fit the capacity.

    Any further ones are treated as still cells: they show what their place showed in the frame
    before, and so do cells that name their tokens.
    """

    cells: Tensor  # [K] int64: flat over [T, N]; unused entries at the end are 0
    mask: Tensor  # [T, N] bool: the cells that fit
    source: Tensor  # [T, N] int64: which of the K explains each cell
    overflow: Tensor  # [1] int64

    @classmethod
    def of(cls, result: GateResult, capacity: int) -> Self:
        source = result.source.flatten(1)  # [T, N]
        index, _, count = _ops.compact(result.kind, capacity)  # [K], [T + 1], [1]
        wanted = result.kind.flatten(1) == CHANGED  # [T, N]
        number = (wanted.flatten().cumsum(0) - 1).view_as(wanted)  # among the kept ones
        frame = arange(len(source), device=source.device)[:, None]
        settled = torch.where(source < capacity, frame, 0).cummax(0).values  # [T, N]
        return cls(
            index.clamp(min=0),
            wanted & (number < capacity),
            source.gather(0, settled),
            (count - capacity).clamp(min=0),
        )


class Places(NamedTuple):
    """The tokens of the R rows, and the row that every token shows.

    Rows are packed, frame after frame. Unused rows at the end repeat the first: no frame attends to
    them, and no token shows them.
    """

    kept: Tensor  # [K] int64: the kept cells, flat over [T, N]
    token: Tensor  # [R] int64: place in its frame, 0..M - 1
    entry: Tensor  # [R] int64: its row in [prefix tokens | kept cells], in the first layer
    cu_rows: Tensor  # [T + 1] int32: frame t's rows are cu_rows[t]:cu_rows[t + 1]
    shown: Tensor  # [T, M] int64
    latest: Tensor  # [T] int64: the last frame so far that keeps a cell
    overflow: Tensor  # [1] int64

    @classmethod
    def of(cls, result: GateResult, prefix: int, capacity: int) -> Self:
        """Places the first K cells that the gate kept, and the prefix tokens of their frames."""
        kept = Fitting.of(result, capacity)
        (frames, n), tokens = kept.mask.shape, prefix + kept.mask.shape[1]
        busy = kept.mask.any(1)  # [T]
        active = torch.cat([busy[:, None].expand(-1, prefix), kept.mask], 1)  # [T, M]
        slot, cu_rows = packed_slots(active, capacity + frames * prefix)
        token = slot % tokens
        cell = slot // tokens * n + (token - prefix).clamp(min=0)
        entry = torch.where(token < prefix, token, kept.source.flatten()[cell] + prefix)
        row = (active.flatten().cumsum(0) - 1).view_as(active)  # [T, M]
        computed = row[:, prefix:].flatten()[kept.cells]  # [K]
        latest = latest_of(busy)
        shown = torch.cat([row[latest, :prefix], computed[kept.source]], 1)
        return cls(kept.cells, token, entry, cu_rows, shown, latest, kept.overflow)


def packed_slots(active: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Packs active slots.

    Args:
        active: ``[T, M]`` bool.
        rows: R.

    Returns:
        The active slots, flat over ``[T, M]``, in order, ``[R]`` int64, with 0 in unused entries;
        and where each frame's slots end, ``[T + 1]`` int32.
    """
    slot, cu_rows, _ = _ops.compact(active[:, None].to(torch.uint8) * CHANGED, rows)
    return slot.clamp(min=0), cu_rows


def latest_of(busy: Tensor) -> Tensor:
    """Returns the last busy frame (``[T]`` bool) up to each frame, ``[T]`` int64."""
    frame = arange(len(busy), device=busy.device)
    return torch.where(busy, frame, 0).cummax(0).values


def encode_fixed(
    tower: Tower,
    context: Context,
    frames: Tensor,
    result: GateResult,
    capacity: int,
    hidden: list[int],
) -> FixedFrames:
    """Encodes a clip with the same work in every layer.

    Args:
        frames: ``[T, 3, H, W]``.
        result: a fresh gate's result for these frames.
        capacity: K.
        hidden: the numbers of the hidden states that are wanted, too.
    """
    places = Places.of(result, tower.prefix, capacity)
    x = _entering(tower, frames, places)  # [R, D]
    cell = (places.token - tower.prefix).clamp(min=-1)
    keys, cu_keys = _keys(context, places)
    states = {}
    for layer in range(tower.computed_layers + 1):
        if layer in hidden:
            states[f"hidden_{layer}"] = _ops.expand(x, places.shown)
        if layer == tower.computed_layers:
            break
        query, key, value = tower.qkv(layer, x, cell)
        out, _ = _ops.residual_attention(
            query, key, value, places.cu_rows, keys, cu_keys, None, tower.scale(layer)
        )
        x = tower.finish(layer, x, out)
    states["features"], pooled = left(tower, x, places.shown, places.latest)
    return FixedFrames(states, pooled, places.overflow)


def left(tower: Tower, x: Tensor, shown: Tensor, latest: Tensor) -> tuple[Tensor, Tensor | None]:
    """Makes features ``[T, M, E]`` and pooled outputs ``[T, D]`` from the last layer's output."""
    rows = leaving.features(tower, x)  # [R, E]
    features = _ops.expand(rows, shown)
    entry = leaving.pool_entry(tower, rows)
    entry = None if entry is None else _ops.expand(entry, shown)  # [T, M, n]
    pooled = leaving.pooled(tower, features, entry, list(range(len(shown))))
    # A frame that computes nothing repeats the last output, though cells of it may have moved.
    return features, None if pooled is None else pooled[latest]


def _entering(tower: Tower, frames: Tensor, places: Places) -> Tensor:
    """Embeds the rows for the first layer, ``[R, D]``."""
    patches = tower.embed(tower.rows(frames, places.kept), places.kept % tower.cells)  # [K, D]
    return torch.cat([tower.prefix_tokens().to(patches.dtype), patches])[places.entry]


def _keys(context: Context, places: Places) -> tuple[Tensor, Tensor]:
    """Returns the rows that each frame's queries attend to, and where those of each frame end.

    These are the rows that all tokens of the frame show or, with ``"kept"``, those it computes.
    """
    frames, tokens = places.shown.shape
    if context == "kept":
        return arange(len(places.token), device=places.token.device), places.cu_rows
    ends = torch.arange(
        0, (frames + 1) * tokens, tokens, dtype=torch.int32, device=places.shown.device
    )
    return places.shown.flatten(), ends
