"""The video rebuilt from what the gate emitted: cells and vectors. The other half of its guarantee.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
n some of the cells, p cell side in pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from patchgate._tensors import arange
from patchgate.gate_settings import MERGED, MOVED
from patchgate.subpixel import blocks_between

if TYPE_CHECKING:
    from patchgate.tokens import TokenLayout, VideoTokens


def planes(tokens: VideoTokens, layout: TokenLayout) -> Tensor:
    """Every frame, uint8 ``[T * f, C, H, W]``."""
    picture = _start(tokens, layout)
    out = picture.new_empty((tokens.shape.T, *picture.shape))  # [T, f, C, H, W]
    for t in range(tokens.shape.T):
        out[t] = picture = _next(picture, tokens, layout, t)
    return out.flatten(0, 1)


def picture_before(tokens: VideoTokens, layout: TokenLayout, frame: int) -> Tensor:
    """The reference picture that ``frame`` was compared with, uint8 ``[f, C, H, W]``."""
    picture = _start(tokens, layout)
    for t in range(frame):
        picture = _next(picture, tokens, layout, t)
    return picture


def _start(tokens: VideoTokens, layout: TokenLayout) -> Tensor:
    if tokens.start_picture is not None:
        return tokens.start_picture
    _, h, w = tokens.shape
    size = (layout.temporal_patch, layout.planes, h * layout.cell, w * layout.cell)
    return tokens.features.new_zeros(size)


def _next(picture: Tensor, tokens: VideoTokens, layout: TokenLayout, t: int) -> Tensor:
    """Picture ``[f, C, H, W]`` after frame ``t``: moved cells read the old one."""
    new = picture.clone()
    kind = tokens.kind[t]  # [h, w]
    moved = (kind == MOVED).nonzero()  # [n, 2]
    if len(moved):
        corner = moved * layout.cell
        precision = layout.motion_precision
        came_from = corner * precision + tokens.motion[t][kind == MOVED]  # in steps
        _paste(new, corner, blocks_between(picture, came_from, layout.cell, precision))
    given = (kind == MERGED).nonzero()  # [n, 2]
    if len(given):
        _paste(new, given * layout.cell, _cells(tokens, tokens.source[t][kind == MERGED], layout))
    emitted = slice(int(tokens.cu_seqlens[t]), int(tokens.cu_seqlens[t + 1]))
    if emitted.start < emitted.stop:
        corner = tokens.cell[emitted] * layout.cell
        _paste(new, corner, _cells(tokens, emitted, layout))
    return new


def _cells(tokens: VideoTokens, which: Tensor | slice, layout: TokenLayout) -> Tensor:
    """Tokens as pictures of their cells, ``[n, f, C, p, p]``."""
    shape = (layout.temporal_patch, layout.planes, layout.cell, layout.cell)
    return tokens.features[which].view(-1, *shape)


def _paste(picture: Tensor, corner: Tensor, blocks: Tensor) -> None:
    """Writes ``blocks [n, f, C, p, p]`` where their top left is ``corner [n, 2]``."""
    span = arange(blocks.shape[-1], device=corner.device)
    rows = corner[:, 0, None, None] + span[:, None]  # [n, p, 1]
    columns = corner[:, 1, None, None] + span  # [n, 1, p]
    picture[:, :, rows, columns] = blocks.movedim(0, 2)
