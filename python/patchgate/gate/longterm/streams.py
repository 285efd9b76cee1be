"""Gates a push of streams that remember pictures (``memory``): all at once while nothing turns.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from patchgate.gate.longterm.pictures import Remembered
from patchgate.gate.longterm.turns import StreamPush, Turn, looked_at
from patchgate.gate.memory import GateMemory
from patchgate.gate.run import GateResult, each, joined, run_op
from patchgate.gate.settings import GateSettings
from patchgate.gate.tensors import State

_JUMP = 4  # grey levels between samples of two frames
_SAMPLED = 3  # cells between two samples
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
    count = tubelets.shape[1]
    if count > 1 and any(jumps := _jumps(tubelets, memory.state, settings.cell)):
        return _in_runs(_pushes(memory, remembered, factors, settings), tubelets, jumps)
    begin = memory.before.start() if count else None
    result = run_op(tubelets, memory, factors)
    none: tuple[tuple[Turn, ...], ...] = ((),) * len(remembered)
    if begin is None or (memory.before.still and not any(own.busy for own in remembered)):
        return Returned(result, remembered, none)  # a still video: nothing is to be noted
    kinds = result.kind.cpu().numpy()
    clock = memory.state.clock
    seen = [looked_at(kinds[s], now, clock, s) for s, now in enumerate(remembered)]
    after = tuple(
        now.followed(kinds[s], own.busy) if own.turn is None else now
        for s, (now, own) in enumerate(zip(remembered, seen, strict=True))
    )
    if all(own.turn is None for own in seen):
        return Returned(result, after, none)
    memory.before.lent()
    pushes = _pushes(memory, remembered, factors, settings)
    parts = [_stream(result, s) for s in range(len(pushes))]
    for s, (push, (turn, _)) in enumerate(zip(pushes, seen, strict=True)):
        own, first = tubelets[s : s + 1], memory.streams(begin, s)
        if turn is None:
            push.now = after[s]
        elif count == 1:
            parts[s] = push.turned(own, 0, first, parts[s])
        else:
            push.back(first)
            parts[s] = push.gated(own, {turn, turn + 1})
    return _returned(pushes, joined(parts, 0))


def _pushes(
    memory: GateMemory,
    remembered: tuple[Remembered, ...],
    factors: Tensor | None,
    settings: GateSettings,
) -> list[StreamPush]:
    return [StreamPush(memory, s, now, factors, settings) for s, now in enumerate(remembered)]


def _in_runs(
    pushes: list[StreamPush], tubelets: Tensor, jumps: Sequence[Sequence[int]]
) -> Returned:
    """Gates each stream by itself, in runs that end before and after its jumps."""
    pushes[0].memory.before.lent()
    parts = [
        push.gated(tubelets[s : s + 1], {t for jump in found for t in (jump, jump + 1)})
        for s, (push, found) in enumerate(zip(pushes, jumps, strict=True))
    ]
    return _returned(pushes, joined(parts, 0))


def _returned(pushes: list[StreamPush], result: GateResult) -> Returned:
    turns = tuple(tuple(push.turns) for push in pushes)
    return Returned(result, tuple(push.now for push in pushes), turns)


def _stream(result: GateResult, s: int) -> GateResult:
    """Returns one stream's part of a result, with its dimension."""
    if len(result.kind) == 1:
        return result
    return each(result, partial(torch.narrow, dim=0, start=s, length=1))


def _jumps(tubelets: Tensor, state: State, p: int) -> Sequence[Sequence[int]]:
    """Guesses which frames of each stream are turns: a sample of many cells jumps. Synchronises.

    It decides only where runs of the op end, and so how often frames are gated in vain.

    Args:
        p: cell side.
    """
    first, step = p // 2, _SAMPLED * p
    samples = tubelets[:, :, 0, 0, first::step, first::step].cpu().numpy()  # [S, T, n, m]
    before = state.picture[:, None, 0, 0, first::step, first::step].cpu().numpy()
    every = np.concatenate([before, samples], 1)
    now, then = every[:, 1:], every[:, :-1]
    jumped = np.maximum(now, then) - np.minimum(now, then) > _JUMP
    s, t = jumped.shape[:2]
    many = _JUMPED * jumped.reshape(s, t, -1).sum(2) > jumped[0, 0].size  # [S, T]
    if not many.any():
        return ((),) * s
    many[:, 0] &= state.clock[:, 0].cpu().numpy() > 0  # the first frame of a stream is no turn
    return [np.flatnonzero(row).tolist() for row in many]
