"""The tokens under each pixel, and what a cell shows that lies over several of them.

A moved cell lies over parts of earlier tokens. The gate knows which: its reference picture has the
id of a token for each pixel, and vectors displace ids with the picture. Kinds, vectors and sources
say all that happened to them, so that the ids are found again here, bit for bit.

Letters: T frames (or tubelets), H W pixels, h w cells, K tokens, D features, p cell side, n cells
that show several tokens, L tokens of all of these cells.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from patchgate import _ops
from patchgate._tensors import arange
from patchgate.gate import CHANGED, MOVED, STATIC
from patchgate.reference.gate import whole_pixels
from patchgate.reference.gate_motion import blocks_at
from patchgate.tokens.layout import TokenGrid

AVERAGED = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # dtypes that have means
_NUMBERS = 1 << 24  # features that are gathered at a time


class Cells(NamedTuple):
    """What the gate says of the cells of some consecutive frames, and how they lie on pixels."""

    kind: Tensor  # [T, h, w] uint8
    motion: Tensor  # [T, h, w, 2] int8
    source: Tensor  # [T, h, w] int64
    grid: TokenGrid
    start_ids: Tensor | None  # [H, W] int32: see VideoTokens


class Blend(NamedTuple):
    """What every cell shows: a token, or the mean of several, weighted by their pixels."""

    row: Tensor  # [T, h, w] int64: a token; K and more: a mean
    token: Tensor  # [L] int64
    pixels: Tensor  # [L] int64: how many of its pixels the cell shows
    ends: Tensor  # [n + 1] int64: mean i is that of ends[i]:ends[i + 1]


def ids_after(cells: Cells, first: int = 0) -> Iterator[Tensor]:
    """Yields the token under each pixel after each frame, int32 ``[H, W]``: one tensor, which
    changes from frame to frame.

    Args:
        first: the frame to begin with, 0 or one of which every cell shows its own source whole.
    """
    p, (_, h, w) = cells.grid.cell, cells.kind.shape
    ids = cells.start_ids if first == 0 else None
    known = ids is not None
    ids = torch.empty(h * p, w * p, dtype=torch.int32, device="cpu") if ids is None else ids.clone()
    by_cell = ids.view(h, p, w, p).transpose(1, 2)  # [h, w, p, p]
    for t in range(first, len(cells.kind)):
        kind, source = cells.kind[t], cells.source[t]  # [h, w]
        moved = kind == MOVED
        whole = kind >= CHANGED  # also those that joined another token
        if t > first:
            whole |= (kind == STATIC) & (source != cells.source[t - 1])
        elif not known:
            whole, moved = torch.ones_like(moved), torch.zeros_like(moved)
        at = moved.nonzero()  # [n, 2]
        vectors = cells.motion[t][moved].long()  # [n, 2]
        by = whole_pixels(vectors, cells.grid.motion_precision, cells.grid.frames_before + t)
        blocks = blocks_at(ids, at * p + by, p)  # [n, p, p]: all of the old ids
        by_cell[moved] = blocks
        by_cell[whole] = source[whole].int()[:, None, None]
        yield ids


def ids_before(cells: Cells, frame: int) -> Tensor | None:
    """Returns the token under each pixel before a frame, int32 ``[H, W]``; -1: the frame does not
    show it. None if every cell of the frame shows its source whole.
    """
    if frame == 0:
        return cells.start_ids
    if cells.start_ids is None and not bool((cells.kind[: frame + 1] == MOVED).any()):
        return None
    whole = (cells.kind[:frame] >= CHANGED).flatten(1).all(1).nonzero().flatten()
    first = int(whole[-1]) if len(whole) else 0
    before = None
    for t, ids in enumerate(ids_after(cells, first), first):
        if t == frame - 1:
            before = ids.clone()
        if t == frame:
            break
    assert before is not None
    p = cells.grid.cell
    sources = cells.source[frame].repeat_interleave(p, 0).repeat_interleave(p, 1)
    if torch.equal(ids.long(), sources):
        return None
    return before.masked_fill_(~torch.isin(before, ids.unique()), -1)


def blend_of(cells: Cells, tokens: int) -> Blend | None:
    """Finds what every cell shows. None: every cell shows its source whole.

    It needs memory for the ids of one picture and for the result.

    Args:
        tokens: K.
    """
    moved = cells.kind == MOVED
    if cells.start_ids is None and not bool(moved.any()):
        return None
    p, row = cells.grid.cell, cells.source.clone()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    found = 0
    for t, ids in enumerate(ids_after(cells)):
        fresh = moved[t]  # [h, w]: cells that may show others than before
        if t:
            still = (cells.kind[t] == STATIC) & (cells.source[t] == cells.source[t - 1])
            row[t] = torch.where(still, row[t - 1], row[t])
        elif cells.start_ids is None:
            continue
        else:
            fresh = cells.kind[t] < CHANGED
        by_cell = ids.unflatten(0, (-1, p)).unflatten(2, (-1, p)).transpose(1, 2)  # [h, w, p, p]
        under = by_cell[fresh].flatten(1)  # [n, p * p]
        shown = under[:, 0].long()
        mixed = (under != under[:, :1]).any(1)
        many = int(mixed.sum())
        shown[mixed] = tokens + found + arange(many)
        row[t][fresh] = shown
        if many:
            parts.append(_counted(under[mixed]))
            found += many
    if not found:
        return None
    token, pixels, counts = map(torch.cat, zip(*parts, strict=True))
    return Blend(row, token, pixels, pad(counts.cumsum(0), (1, 0)))


def _counted(under: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Counts the ids of each row of ``[n, p * p]``.

    Returns:
        The ids, each row's ascending, and how often each occurs, ``[L]`` int64 both; and how many
        of them each row has, ``[n]`` int64.
    """
    ordered = under.sort(1).values
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    at = begins.flatten().nonzero().flatten()  # [L]
    often = torch.diff(at, append=at.new_tensor([ordered.numel()]))
    return ordered.flatten()[at].long(), often, begins.sum(1)


def means(features: Tensor, blend: Blend) -> Tensor:
    """Computes the means of a blend, ``[n, D]`` in the features' dtype (16 bits are added up in
    float32), some cells at a time. Gradients flow to the features.

    Args:
        features: ``[K, D]`` of one of the dtypes ``AVERAGED``, on any device.
    """
    on, weight = features.device, torch.promote_types(features.dtype, torch.float32)
    step = max(1, _NUMBERS // max(1, features.shape[1]))
    parts, first, last = [], 0, len(blend.ends) - 1
    while first < last:
        begin = int(blend.ends[first])
        most = blend.ends.new_tensor([begin + step])
        after = int(torch.searchsorted(blend.ends, most, right=True)) - 1
        after = max(first + 1, after)  # a cell of more than that comes alone
        own = slice(begin, int(blend.ends[after]))
        rows = features[blend.token[own].to(on)]  # [l, D]
        ends = (blend.ends[first : after + 1] - begin).int().to(on)
        pixels = blend.pixels[own].to(on, weight)
        parts.append(_ops.segment_mean(rows, pixels, arange(len(rows), device=on), ends))
        first = after
    return torch.cat(parts)
