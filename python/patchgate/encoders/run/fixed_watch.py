"""Encodes a clip in buffers of fixed capacity, and watches still tokens.

It does what ``run`` and ``waking`` do, but never waits for the device and never branches on its
results. Every layer has room for a fixed number of tokens; any further ones stay as they are, and
are counted. Which tokens attend cannot depend on the data either: in a watched layer, all tokens
attend in every frame, and no running sums are needed. So only work of the linear layers is saved.

Letters: T frames, N cells, M = prefix + N tokens of a frame, K capacity, R rows of a layer, H
heads, d features of a head, D features.
"""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from patchgate import _ops
from patchgate._tensors import arange
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.fixed import Fitting, FixedFrames, latest_of, left, packed_slots
from patchgate.encoders.tower import Tower
from patchgate.gate import MOVED, GateResult


@dataclass(frozen=True)
class Lineage:
    """The slot from which every token of a whole clip inherits (see ``slots``).

    The first frame inherits from nothing: all of it is computed.
    """

    parent: Tensor  # [T, M] int64: slots, flat over [T, M]

    @classmethod
    def of(cls, kept: Fitting, moved: Tensor, prefix: int) -> Self:
        """Finds the parents.

        A still token inherits from its place in the frame before. A moved one inherits from the
        first cell that shows its source, in the last earlier frame that has such a cell.
        """
        (frames, n), capacity = kept.source.shape, len(kept.cells)
        tokens, device = prefix + n, kept.source.device
        frame = arange(frames, device=device)[:, None]  # [T, 1]
        cell = arange(n, device=device).expand(frames, -1)
        place = (frame * capacity + kept.source).flatten()
        first = place.new_full((frames * capacity,), n)
        first = first.scatter_reduce(0, place, cell.flatten(), "amin").view(frames, capacity)
        last = torch.where(first < n, frame, 0).cummax(0).values  # [T, K]: last frame showing it
        before = torch.cat([last[:1], last[:-1]]).gather(1, kept.source)  # [T, N]
        there = first[before, kept.source]  # [T, N]
        own = arange(frames * tokens, device=device).view(frames, tokens)
        still = torch.cat([own[:1], own[:-1]])  # [T, M]
        cells = torch.where(moved, before * tokens + prefix + there, still[:, prefix:])
        return cls(torch.cat([still[:, :prefix], cells], 1))

    def shown(self, active: Tensor) -> Tensor:
        """Returns which of the packed active tokens each token shows, ``[T, M]`` int64."""
        flat = active.flatten()
        own = arange(len(flat), device=flat.device)
        root = torch.where(flat, own, self.parent.flatten())
        for _ in range(len(active).bit_length()):  # every step doubles the distance
            root = root[root]
        return (flat.cumsum(0) - 1)[root].view_as(active)


class Rows(NamedTuple):
    """The packed tokens that a layer computes, and which of them every token shows.

    Unused rows at the end repeat the first; no token shows them.
    """

    active: Tensor  # [T, M] bool
    slot: Tensor  # [R] int64: flat over [T, M]
    cu_rows: Tensor  # [T + 1] int32
    shown: Tensor  # [T, M] int64

    @classmethod
    def of(cls, active: Tensor, lineage: Lineage, rows: int) -> Self:
        slot, cu_rows = packed_slots(active, rows)
        return cls(active, slot, cu_rows, lineage.shown(active))


class Entering(NamedTuple):
    """The tokens that enter the first layer."""

    kept: Fitting
    active: Tensor  # [T, M] bool
    lineage: Lineage
    overflow: Tensor  # [1] int64: moved cells for whose embedding there is no room

    @classmethod
    def of(cls, kept: Fitting, kind: Tensor, prefix: int, fidelity: Fidelity, room: int) -> Self:
        """Lets the kept cells enter, and as many moved ones as the room is left for.

        Any further moved cells lend what their source was, with its position.

        Args:
            kind: ``[T, N]`` uint8, what the gate calls each cell.
        """
        before = torch.cat([kept.source[:1], kept.source[:-1]])
        moved = ~kept.mask & (kept.source != before)  # [T, N]
        cells, overflow = kept.mask, torch.zeros_like(kept.overflow)
        if fidelity.repositions:
            wanted = ~kept.mask & (kind == MOVED) if fidelity.owns else moved
            rank = wanted.flatten().cumsum(0).view_as(wanted)
            fits = wanted & (rank <= room - kept.mask.sum())
            cells, overflow = cells | fits, (wanted & ~fits).sum()[None]
        busy = cells.any(1, keepdim=True).expand(-1, prefix)
        active = torch.cat([busy, cells], 1)
        return cls(kept, active, Lineage.of(kept, moved, prefix), overflow)

    def embedded(self, tower: Tower, frames: Tensor, rows: Rows, owns: bool) -> Tensor:
        """Embeds the rows, ``[R, D]``, at the places where they are: each from its own pixels, or
        from its source's.
        """
        m = self.active.shape[1]
        token = rows.slot % m
        cell = (token - tower.prefix).clamp(min=0)
        place = rows.slot // m * (m - tower.prefix) + cell
        if owns:
            patches = tower.rows(frames, place)
        else:
            patches = tower.rows(frames, self.kept.cells)[self.kept.source.flatten()[place]]
        x = tower.embed(patches, cell)
        if not tower.prefix:
            return x
        first = tower.prefix_tokens().to(x.dtype)[token.clamp(max=tower.prefix - 1)]
        return torch.where((token < tower.prefix)[:, None], first, x)


def encode_watched(
    tower: Tower,
    fidelity: Fidelity,
    frames: Tensor,
    result: GateResult,
    capacity: int,
    layers: tuple[int, ...],
    hidden: list[int],
) -> FixedFrames:
    """Encodes a clip, and computes still tokens again if their attention output moved.

    Args:
        tower, fidelity: the tower and its settings.
        frames: ``[T, 3, H, W]``.
        result: a fresh gate's result for these frames.
        capacity: K.
        layers: the number of cells that each layer has room for, not descending. The prefix tokens
            of all frames have room of their own.
        hidden: the numbers of the hidden states that are wanted, too.
    """
    spare = len(frames) * tower.prefix
    room = [min(each, result.kind.numel()) + spare for each in layers]
    kept = Fitting.of(result, capacity)
    entering = Entering.of(kept, result.kind.flatten(1), tower.prefix, fidelity, room[0] - spare)
    enter = room[0] if fidelity.repositions else capacity + spare
    rows = Rows.of(entering.active, entering.lineage, enter)
    x = entering.embedded(tower, frames, rows, fidelity.owns)  # [R, D]
    states, overflow = {}, [entering.overflow]
    reaches: tuple[Tensor, ...] = ()
    for layer in range(tower.computed_layers + 1):
        if layer in hidden:
            states[f"hidden_{layer}"] = _ops.expand(x, rows.shown)
        if layer == tower.computed_layers:
            break
        cell = rows.slot % rows.active.shape[1] - tower.prefix
        query, key, value = tower.qkv(layer, x, cell.clamp(min=-1))
        if not fidelity.watches(layer):
            out = _attended(query, key, value, rows.cu_rows, rows.shown, tower.scale(layer))
            x = tower.finish(layer, x, out)
            overflow.append(torch.zeros_like(entering.overflow))
            continue
        shown = rows.shown.flatten()  # [T * M]
        every = arange(len(frames) + 1, device=shown.device).int() * rows.active.shape[1]
        out = _attended(query[shown], key, value, every, rows.shown, tower.scale(layer))
        reaches = reaches or tower.reaches(*out.shape[1:])
        size = torch.linalg.vector_norm(x.detach(), dim=1, dtype=reaches[layer].dtype)  # [R]
        fired, late = _ops.activate(
            out.detach(), rows.active, _differs(rows.shown), entering.lineage.parent,
            reaches[layer], fidelity.tolerance * size[rows.shown], room[layer],
        )  # fmt: skip
        rows = Rows.of(rows.active | fired, entering.lineage, room[layer])
        x = tower.finish(layer, x[shown[rows.slot]], out[rows.slot])
        overflow.append(late)
    latest = latest_of(rows.active.any(1))
    states["features"], pooled = left(tower, x, rows.shown, latest)
    return FixedFrames(states, pooled, kept.overflow, torch.cat(overflow))


def _attended(
    query: Tensor,  # [n, H, d]
    key: Tensor,  # [R, H, d]
    value: Tensor,  # [R, H, d]
    cu_queries: Tensor,  # [T + 1]
    shown: Tensor,  # [T, M]
    scale: float,
) -> Tensor:
    """Lets packed queries attend to all tokens of their frames."""
    frames, tokens = shown.shape
    ends = arange(frames + 1, device=shown.device).int() * tokens
    return _ops.residual_attention(
        query, key, value, cu_queries, shown.flatten(), ends, None, scale
    )[0]


def _differs(shown: Tensor) -> Tensor:
    """Returns which frames show other rows than the frame before, ``[T]`` bool."""
    return (shown != torch.cat([shown[:1], shown[:-1]])).any(1)
