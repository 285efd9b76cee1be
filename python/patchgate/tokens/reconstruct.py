"""Rebuilds the video from the cells and vectors that the gate emitted.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
n some of the cells, p cell side in pixels.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.gate import MERGED, MOVED, RETURNED
from patchgate.reference.gate_light import weigh
from patchgate.reference.subpixel import blocks_between
from patchgate.tokens.chunk import TokenChunk
from patchgate.tokens.layout import TokenLayout, cu_seqlens


def planes(chunk: TokenChunk, layout: TokenLayout, before: Tensor | None) -> Tensor:
    """Rebuilds every frame of a chunk, uint8 ``[T * f, C, H, W]``.

    Args:
        chunk: frames and the tokens that they emitted; tokens of earlier frames may stand before.
        layout: the layout of its tokens.
        before: ``[f, C, H, W]`` uint8, the picture before its first frame; None: it is the first.
    """
    picture = _start(chunk, layout, before)
    out = picture.new_empty((len(chunk.kind), *picture.shape))  # [T, f, C, H, W]
    for t, emitted in enumerate(_emitted(chunk)):
        out[t] = picture = _next(picture, chunk, layout, t, emitted)
    return out.flatten(0, 1)


def picture_before(
    chunk: TokenChunk, layout: TokenLayout, before: Tensor | None, frame: int
) -> Tensor:
    """Rebuilds the reference picture that ``frame`` was compared with: uint8 ``[f, C, H, W]``."""
    picture = _start(chunk, layout, before)
    for t, emitted in enumerate(_emitted(chunk)[:frame]):
        picture = _next(picture, chunk, layout, t, emitted)
    return picture


def pictures_at(
    chunk: TokenChunk, layout: TokenLayout, before: Tensor | None, frames: list[int]
) -> Iterator[tuple[int, Tensor]]:
    """Rebuilds some frames, which rise, in memory for two: their number and uint8 ``[f, C, H, W]``.

    Args:
        chunk, layout, before: as in ``planes``.
    """
    wanted, picture = set(frames), _start(chunk, layout, before)
    for t, emitted in enumerate(_emitted(chunk)[: max(frames, default=-1) + 1]):
        picture = _next(picture, chunk, layout, t, emitted)
        if t in wanted:
            yield t, picture


def _emitted(chunk: TokenChunk) -> list[slice]:
    """Returns which tokens each frame emitted; tokens of earlier frames stand before them."""
    ends = cu_seqlens(chunk.kind)  # [T + 1]
    earlier = len(chunk.features) - int(ends[-1])
    return [slice(first, last) for first, last in pairwise((ends + earlier).tolist())]


def _start(chunk: TokenChunk, layout: TokenLayout, before: Tensor | None) -> Tensor:
    if before is not None:
        return before
    h, w = chunk.kind.shape[1:]
    size = (layout.temporal_patch, layout.planes, h * layout.cell, w * layout.cell)
    return chunk.features.new_zeros(size)


def _next(
    picture: Tensor, chunk: TokenChunk, layout: TokenLayout, t: int, emitted: slice
) -> Tensor:
    """Makes the picture ``[f, C, H, W]`` after frame ``t``; moved cells come from the old one, into
    which cells that return were put first.
    """
    picture = _relit(picture, chunk, layout, t)
    kind = chunk.kind[t]  # [h, w]
    back = (kind == RETURNED).nonzero()  # [n, 2]
    if len(back):
        picture = picture.clone()
        shown = chunk.source[t][kind == RETURNED]
        _paste(picture, back * layout.cell, _cells(chunk, shown, layout))
    new = picture.clone()
    moved = (kind == MOVED).nonzero()  # [n, 2]
    if len(moved):
        corner = moved * layout.cell
        precision = layout.motion_precision
        came_from = corner * precision + chunk.motion[t][kind == MOVED]  # in steps
        _paste(new, corner, blocks_between(picture, came_from, layout.cell, precision))
    given = (kind == MERGED).nonzero()  # [n, 2]
    if len(given):
        _paste(new, given * layout.cell, _cells(chunk, chunk.source[t][kind == MERGED], layout))
    if emitted.start < emitted.stop:
        corner = chunk.cell[emitted] * layout.cell
        _paste(new, corner, _cells(chunk, emitted, layout))
    return new


def _relit(picture: Tensor, chunk: TokenChunk, layout: TokenLayout, t: int) -> Tensor:
    """Brings the cells of the picture ``[f, C, H, W]`` that follow the light to frame ``t``'s."""
    if chunk.weights is None or chunk.lit is None or not bool(chunk.lit[t].any()):
        return picture
    gain, offset = chunk.weights[t].long()[..., None, None].unbind(2)  # [f, C, 1, 1] each
    lit = chunk.lit[t].repeat_interleave(layout.cell, 0).repeat_interleave(layout.cell, 1)  # [H, W]
    new, c = picture.clone(), gain.shape[1]  # without chroma, the light is that of luma
    new[:, :c] = torch.where(lit, weigh(picture[:, :c], gain, offset), picture[:, :c])
    return new


def _cells(chunk: TokenChunk, which: Tensor | slice, layout: TokenLayout) -> Tensor:
    """Turns tokens into pictures of their cells, ``[n, f, C, p, p]``."""
    shape = (layout.temporal_patch, layout.planes, layout.cell, layout.cell)
    return chunk.features[which].view(-1, *shape)


def _paste(picture: Tensor, corner: Tensor, blocks: Tensor) -> None:
    """Writes ``blocks [n, f, C, p, p]`` so that their top left corners are ``corner [n, 2]``."""
    span = arange(blocks.shape[-1], device=corner.device)
    rows = corner[:, 0, None, None] + span[:, None]  # [n, p, 1]
    columns = corner[:, 1, None, None] + span  # [n, 1, p]
    picture[:, :, rows, columns] = blocks.movedim(0, 2)
