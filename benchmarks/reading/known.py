"""The picture that the tokens say, frame by frame.

Letters: H W pixels, h w cells, n some of the cells, p cell side in pixels.
"""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from patchgate.colour import Matrix, yuv_to_rgb
from patchgate.gate import CHANGED, MOVED
from patchgate.reference.subpixel import blocks_between
from reading.methods import Trace


class Planes(Protocol):
    """What is needed of a clip's footage."""

    planes: Tensor  # [T, 3, H, W] uint8 Y, Cb, Cr of full range
    matrix: Matrix


class Known:
    """What a receiver shows that was sent the kept cells and the vectors, and nothing else.

    Args:
        footage: the clip.
        trace: what was kept of it.
        frames: those that will be asked for; only they are held.
    """

    def __init__(self, footage: Planes, trace: Trace, frames: Iterable[int]) -> None:
        wanted = set(frames)
        self._pictures: dict[int, Tensor] = {}
        picture = torch.zeros_like(footage.planes[0])
        shown: Tensor | None = None  # the picture as RGB, until something in it changes
        for t in range(max(wanted, default=-1) + 1):
            if _advance(picture, footage.planes[t], trace, t):
                shown = None
            if t in wanted:
                shown = yuv_to_rgb(picture, footage.matrix) if shown is None else shown
                self._pictures[t] = shown

    def rgb(self, frame: int) -> Tensor:
        """``[3, H, W]`` uint8 of a frame that was asked for."""
        return self._pictures[frame]


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
    """A view ``[h, w, 3, p, p]`` of ``[3, H, W]``."""
    return picture.unflatten(2, (-1, p)).unflatten(1, (-1, p)).permute(1, 3, 0, 2, 4)
