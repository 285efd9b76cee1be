"""Calls the gate's op on a gate's memory, or on a whole clip.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.gate.inputs import checked_planes
from patchgate.gate.memory import GateMemory
from patchgate.gate.settings import CHANGED, GateSettings
from patchgate.gate.tensors import DTYPES, shapes_of


class GateResult(NamedTuple):
    """The gate's answer for every cell.

    In the shapes, ``..`` is S if the input had streams, and nothing otherwise. With
    ``temporal_patch=2``, T counts tubelets.
    """

    kind: Tensor  # [.., T, h, w] uint8: 0 static, 1 moved, 2 changed
    motion: Tensor  # [.., T, h, w, 2] int8: (dy, dx) from the cell to where it came from, in steps
    # of 1 / motion_precision pixels
    # The cost of the cell's vector; of a changed cell the least one tested; -1 in a first frame.
    cost: Tensor  # [.., T, h, w] int32
    source: Tensor  # [.., T, h, w] int64: the token that explains the cell, since the last reset
    is_key: Tensor  # [.., T] bool: every cell of the frame is encoded
    limit: Tensor  # [.., T] int32: the largest cost that passes, without threshold_map
    # With illumination="global" (else f = 0 and h = 0): the gain and the offset by which each plane
    # of the reference picture follows the light, in 4096ths, and the cells of it that took them.
    weights: Tensor  # [.., T, f, C, 2] int32
    lit: Tensor  # [.., T, h, w] bool

    def __repr__(self) -> str:
        kept = float((self.kind == CHANGED).float().mean()) if self.kind.numel() else 0.0
        return f"GateResult(kind={list(self.kind.shape)}, kept={kept:.1%})"


def run_op(tubelets: Tensor, memory: GateMemory, factors: Tensor | None) -> GateResult:
    """Gates tubelets ``[S, T, f, C, H, W]`` and changes the memory."""
    before = memory.before.changing(tubelets.shape[1])
    result = GateResult(*_ops.gate(tubelets, *memory.state, factors, *memory.rules))
    memory.before.changed(before, result.kind, result.lit)
    return result


def captures(memory: GateMemory) -> bool:
    """Whether a CUDA graph is being captured on the memory's device."""
    return memory.state.clock.is_cuda and torch.cuda.is_current_stream_capturing()


def gate_clip(planes: Tensor, settings: GateSettings) -> GateResult:
    """Gates a clip ``[T * f, C, H, W]`` of whole tubelets, as a fresh ``Gate`` does.

    It keeps no state, and ``torch.compile`` makes one graph of it. It does not synchronise.
    """
    frames = checked_planes(planes, settings, None)  # [1, T * f, C, H, W]
    picture = (1, settings.temporal_patch, *frames.shape[2:])
    shapes = shapes_of(picture, settings)
    state = [
        torch.zeros(shapes[n], dtype=dtype, device=frames.device) for n, dtype in DTYPES.items()
    ]
    tubelets = frames.reshape(1, -1, *picture[1:])
    rules = settings.op_rules(state[2][0].numel())  # whose order is the op's
    result = GateResult(*_ops.gate(tubelets, *state, None, *rules.values()))
    return GateResult(*(tensor[0] for tensor in result))
