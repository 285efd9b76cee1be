"""How tokens lie in a video: the grid that they stand for, and where each frame's tokens begin.

Letters: T frames (or tubelets), C planes, h w cells, f frames of a tubelet, K tokens.
"""

from dataclasses import dataclass
from typing import NamedTuple, get_args

import torch
from torch import Tensor

from patchgate._check import checked_choice, checked_count, checked_switch, settle
from patchgate.colour import Matrix
from patchgate.gate import CHANGED, Gate


class TokenShape(NamedTuple):
    """The dense grid that the tokens stand for."""

    T: int  # frames, or tubelets
    h: int  # cells
    w: int  # cells


@dataclass(frozen=True)
class TokenLayout:
    """How a token of pixels lies in the picture. Features of a tower have a ``TokenGrid``."""

    cell: int  # side in pixels
    planes: int  # C: 1 or 3
    temporal_patch: int = 1  # f
    matrix: Matrix = "bt601"  # to show the planes as RGB
    motion_precision: int = 1  # vectors count in 1 / so many pixels: 1, 2 or 4

    def __post_init__(self) -> None:
        for name in ("cell", "planes", "temporal_patch", "motion_precision"):
            settle(self, **{name: checked_count(f"TokenLayout.{name}", getattr(self, name), 1)})
        settle(self, matrix=checked_choice("TokenLayout.matrix", self.matrix, get_args(Matrix)))


@dataclass(frozen=True)
class TokenGrid:
    """How the cells of a tower's tokens lie on the gate's pixels, over which motion takes them."""

    cell: int  # side in pixels
    motion_precision: int = 1  # vectors count in 1 / so many pixels: 1, 2 or 4
    frames_before: int = 0  # since the gate's reset, before the first of these frames: vectors
    # that are fractions of a pixel are rounded in turn (docs/gate.md, rule 9)
    blends: bool = True  # False: every cell shows one token whole, also where the gate saw motion

    def __post_init__(self) -> None:
        for name, least in (("cell", 1), ("motion_precision", 1), ("frames_before", 0)):
            settle(self, **{name: checked_count(f"TokenGrid.{name}", getattr(self, name), least)})
        settle(
            self,
            motion_precision=checked_choice(
                "TokenGrid.motion_precision", self.motion_precision, (1, 2, 4)
            ),
            blends=checked_switch("TokenGrid.blends", self.blends),
        )


def spans(frame: Tensor, source: Tensor) -> Tensor:
    """Counts the frames that each token holds for: from its own to the last that shows it.

    Args:
        frame: ``[K]`` int64, the frame that emitted each token.
        source: ``[T, h, w]`` int64 in ``[0, K)``.

    Returns:
        ``[K]`` int64, at least 1, which is also that of a token that no cell has as its source.
    """
    last = frame.clone()
    for t, sources in enumerate(source):
        last[sources.flatten()] = t  # all of one value: no matter which write wins
    return last - frame + 1


def cu_seqlens(kind: Tensor) -> Tensor:
    """Returns where each frame's tokens begin, ``[T + 1]`` int32, from kinds ``[T, h, w]``."""
    ends = (kind == CHANGED).flatten(1).sum(1).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends]).int()


def layout_of(gate: Gate, matrix: Matrix) -> TokenLayout:
    """Makes the layout of this gate's pixel tokens, which always have Y, Cb and Cr."""
    own = gate.settings
    return TokenLayout(own.cell, 3, own.temporal_patch, matrix, own.motion_precision)


def grid_of(gate: Gate, blends: bool = True) -> TokenGrid:
    """Makes the grid of a tower's tokens whose cells this gate kept, from its reset on."""
    return TokenGrid(gate.settings.cell, gate.settings.motion_precision, blends=blends)
