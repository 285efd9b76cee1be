"""The picture that the tokens say, frame by frame.

Letters: H W pixels, h w cells, n some of the cells, p cell side in pixels, K kept cells.
"""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from patchgate.colour import Matrix, yuv_to_rgb
from patchgate.gate import CHANGED, MOVED, RETURNED
from patchgate.reference.gate_light import weigh
from patchgate.reference.subpixel import blocks_between
from reading.methods import Trace


class Planes(Protocol):
    """What is needed of a clip's footage."""

    planes: Tensor  # [T, 3, H, W] uint8 Y, Cb, Cr of full range
    matrix: Matrix


class Known:
    """What a receiver shows that was sent the kept cells, the vectors, the light of each frame and
    which earlier cells return, and nothing else.

    Args:
        footage: the clip.
        trace: what was kept of it.
        frames: those that will be asked for; only they are held.
    """

    def __init__(self, footage: Planes, trace: Trace, frames: Iterable[int]) -> None:
        wanted = set(frames)
        self._pictures: dict[int, Tensor] = {}
        picture = torch.zeros_like(footage.planes[0])
        kept = (trace.kind == CHANGED).nonzero()  # [K, 3] frame, row and column of each token
        shown: Tensor | None = None  # the picture as RGB, until something in it changes
        for t in range(max(wanted, default=-1) + 1):
            changes = [
                _relight(picture, trace, t),
                _put_back(picture, footage.planes, kept, trace, t),
                _advance(picture, footage.planes[t], trace, t),
            ]
            if any(changes):
                shown = None
            if t in wanted:
                shown = yuv_to_rgb(picture, footage.matrix) if shown is None else shown
                self._pictures[t] = shown

    def rgb(self, frame: int) -> Tensor:
        """``[3, H, W]`` uint8 of a frame that was asked for."""
        return self._pictures[frame]


def _relight(picture: Tensor, trace: Trace, t: int) -> bool:
    """Brings the cells of the picture that follow the light to frame ``t``'s, in place."""
    if trace.result is None or not trace.result.lit.numel() or not bool(trace.result.lit[t].any()):
        return False
    lit, cells = trace.result.lit[t], _cells(picture, picture.shape[-1] // trace.kind.shape[2])
    gain, offset = trace.result.weights[t, 0].long()[..., None, None].unbind(1)  # [3, 1, 1] each
    cells[lit] = weigh(cells[lit], gain, offset)
    return True


def _put_back(picture: Tensor, planes: Tensor, kept: Tensor, trace: Trace, t: int) -> bool:
    """Shows the tokens of cells that return in frame ``t``, in place."""
    back = trace.kind[t] == RETURNED  # [h, w]
    if not bool(back.any()):
        return False
    assert trace.result is not None
    cells = _cells(picture, picture.shape[-1] // back.shape[1])
    frame, row, column = kept[trace.result.source[t][back]].unbind(1)  # [n] each
    cells[back] = _cells(planes, cells.shape[-1])[frame, row, column]
    return True


def _advance(picture: Tensor, frame: Tensor, trace: Trace, t: int) -> bool:
    """Brings the picture ``[3, H, W]`` to frame ``t`` in place; False if nothing changed."""
    kind = trace.kind[t]  # [h, w]
    p = picture.shape[-1] // kind.shape[1]
    cells = _cells(picture, p)
    moved, changed = kind == MOVED, kind == CHANGED
    if bool(moved.any()):
        # A copy of every displaced block before any is pasted: all of them read the old picture.
        at = moved.nonzero() * p * trace.precision + trace.motion[t][moved]  # [n, 2] in steps
        cells[moved] = blocks_between(picture, at, p, trace.precision)
    cells[changed] = _cells(frame, p)[changed]
    return bool(moved.any() | changed.any())


def _cells(picture: Tensor, p: int) -> Tensor:
    """A view ``[.., h, w, 3, p, p]`` of ``[.., 3, H, W]``."""
    parts = picture.unflatten(-1, (-1, p)).unflatten(-3, (-1, p))  # [.., 3, h, p, w, p]
    return parts.movedim((-4, -2), (-5, -4))
