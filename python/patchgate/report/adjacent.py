"""The textbook gate, for comparison: it compares each cell with that of the frame before.

RLT, DTD and frame differencing do so. Its receiver shows the last cell that was emitted. Here it
has patchgate's own test (the same threshold, sub-blocks and planes). The one difference is what a
frame is compared with: the frame before, instead of what the receiver shows.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from patchgate.gate import Gate
from patchgate.report.survey import sub_block_errors


class AdjacentResult(NamedTuple):
    """The cells that the textbook gate emits, and the pictures that its receiver shows."""

    emitted: Tensor  # [T, h, w] bool
    pictures: Tensor  # [T, f, C, H, W] uint8


class AdjacentGate:
    """The textbook gate for a stream of frames, with the settings of ``gate``."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._before: Tensor | None = None  # [f, C, H, W]: the frame before
        self._shown: Tensor | None = None  # [f, C, H, W]: what the receiver has

    def push(self, frames: Tensor) -> AdjacentResult:
        """Gates the next frames ``[T, f, C, H, W]`` uint8. The very first is emitted whole."""
        cell = self._gate.settings.cell
        before = frames[:1] if self._before is None else self._before[None]
        errors = worst_errors(frames, torch.cat([before, frames[:-1]]), self._gate)
        emitted = errors > self._gate.settings.limit
        if self._shown is None:
            emitted[0] = True
            self._shown = frames[0]
        pixels = emitted.repeat_interleave(cell, 1).repeat_interleave(cell, 2)  # [T, H, W]
        pictures = torch.empty_like(frames)
        for t, frame in enumerate(frames):
            self._shown = pictures[t] = torch.where(pixels[t], frame, self._shown)
        self._before = frames[-1].clone()
        return AdjacentResult(emitted, pictures)


def worst_errors(frames: Tensor, before: Tensor, gate: Gate) -> Tensor:
    """Returns the summed difference of each cell's worst sub-block: ``[T, h, w]`` int32.

    It is the worst of any plane and any frame of the tubelet.

    Args:
        frames, before: uint8 ``[T, f, C, H, W]``; frames of equal numbers are compared.
        gate: its settings are used.
    """
    a_side = gate.settings.cell // gate.settings.sub_block
    errors = sub_block_errors(frames, before, gate).amax(1)  # [T, b, c]
    return errors.unflatten(2, (-1, a_side)).unflatten(1, (-1, a_side)).amax((2, 4))
