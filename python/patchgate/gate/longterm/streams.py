"""Gates a push of streams that remember pictures (``memory``): all at once while nothing turns.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate.gate.longterm.pictures import Remembered
from patchgate.gate.longterm.turns import StreamPush, Turn
from patchgate.gate.memory import GateMemory
from patchgate.gate.run import GateResult, each, joined, run_op
from patchgate.gate.settings import GateSettings
from patchgate.gate.tensors import State

_SOON = 256  # frames after a turn in which it pays to look for jumps first
_JUMP = 4  # grey levels between samples of two frames
_SAMPLED = 2  # cells between two samples
_JUMPED = 16  # more than one sample of so many must jump


class Returned(NamedTuple):
    """What a push of a gate with memory gives."""

    result: GateResult  # [S, T, ..]
    remembered: tuple[Remembered, ...]  # S: what each stream remembers now
    turns: tuple[tuple[Turn, ...], ...]  # S: those of this push, in order


def gate_with_memory(
    tubelets: Tensor,
    memory: GateMemory,
    remembered: tuple[Remembered, ...],
    factors: Tensor | None,
    settings: GateSettings,
) -> Returned:
    """Gates tubelets ``[S, T, f, C, H, W]``, and changes the memory. Synchronises.

    Args:
        remembered: S, what is remembered of each stream.
        factors: ``[h, w]``, the push's threshold map.
    """
    none: tuple[tuple[Turn, ...], ...] = ((),) * len(remembered)
    if not tubelets.shape[1]:
        return Returned(run_op(tubelets, memory, factors), remembered, none)
    begin = memory.before.start()
    idle = all(own.quiet >= _SOON and not own.busy for own in remembered)
    result = run_op(tubelets, memory, factors) if idle else None
    if result is not None and not bool(result.kind.any()):
        return Returned(result, remembered, none)  # a still video: nothing is to be noted
    soon = tubelets.shape[1] > 1 and min(own.quiet for own in remembered) < _SOON
    jumps: Sequence[Sequence[int]] = ((),) * len(remembered)
    if soon:
        jumps = _jumps(tubelets, memory.state, settings.cell)
    pushes = [
        StreamPush(memory.streams(memory.state, s), memory, s, now, factors, settings)
        for s, now in enumerate(remembered)
    ]
    if not any(jumps):
        result = result or run_op(tubelets, memory, factors)
        seen = [push.looked_at(result.kind[s]) for s, push in enumerate(pushes)]
        if all(own.turn is None for own in seen):
            after = (p.after(result.kind[s], seen[s].busy) for s, p in enumerate(pushes))
            return Returned(result, tuple(after), none)
        memory.before.lent()
        parts = [
            each(result, partial(torch.narrow, dim=0, start=s, length=1))
            for s in range(len(pushes))
        ]
        for s, (push, (turn, busy)) in enumerate(zip(pushes, seen, strict=True)):
            if turn is None:
                push.now = push.after(result.kind[s], busy)
                continue
            first = memory.streams(memory.layout.parts(begin), s)
            if tubelets.shape[1] == 1:
                parts[s] = push.turned(tubelets[s : s + 1], 0, first, parts[s])
                continue
            push.back(first)
            parts[s] = push.gated(tubelets[s : s + 1], {turn, turn + 1})
    else:
        memory.before.lent()
        parts = [
            push.gated(tubelets[s : s + 1], {t for jump in found for t in (jump, jump + 1)})
            for s, (push, found) in enumerate(zip(pushes, jumps, strict=True))
        ]
    turns = tuple(tuple(push.turns) for push in pushes)
    return Returned(joined(parts, 0), tuple(push.now for push in pushes), turns)


def _jumps(tubelets: Tensor, state: State, p: int) -> Sequence[Sequence[int]]:
    """Guesses which frames of each stream are turns: a sample of many cells jumps. Synchronises.

    It decides only where runs of the op end, and so how often frames are gated in vain.

    Args:
        p: cell side.
    """
    step = _SAMPLED * p
    samples = tubelets[:, :, 0, 0, p // 2 :: step, p // 2 :: step].int()  # [S, T, n, m]
    before = state.picture[:, None, 0, 0, p // 2 :: step, p // 2 :: step].int()
    jumped = torch.cat([before, samples], 1).diff(dim=1).abs() > _JUMP
    many = jumped.flatten(2).sum(2) > jumped[0, 0].numel() // _JUMPED  # [S, T]
    many[:, 0] &= state.clock[:, 0] > 0  # the first frame of a stream is no turn
    return [[t for t, one in enumerate(row) if one] for row in many.tolist()]
