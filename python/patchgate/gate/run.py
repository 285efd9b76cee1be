"""Calls the gate's op on a gate's memory, or on a whole clip.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.gate.bank import Bank
from patchgate.gate.inputs import checked_planes
from patchgate.gate.memory import GateMemory
from patchgate.gate.settings import CHANGED, GateSettings
from patchgate.gate.tensors import DTYPES, shapes_of


class GateResult(NamedTuple):
    """The gate's answer for every cell.

    In the shapes, ``..`` is S if the input had streams, and nothing otherwise. With
    ``temporal_patch=2``, T counts tubelets.
    """

    kind: Tensor  # [.., T, h, w] uint8: 0 static, 1 moved, 2 changed, 4 returned
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


def each(result: GateResult, work: Callable[[Tensor], Tensor]) -> GateResult:
    """Does the same with each tensor of a result."""
    return GateResult(*map(work, result))


def joined(parts: Sequence[GateResult], dim: int) -> GateResult:
    """Joins results along a dimension."""
    if len(parts) == 1:
        return parts[0]
    return GateResult(*(torch.cat(column, dim) for column in zip(*parts, strict=True)))


class Push(NamedTuple):
    """A push that was checked, and is not done yet."""

    tubelets: Tensor  # [S, T, f, C, H, W]
    memory: GateMemory
    factors: Tensor | None  # [h, w] float64
    pending: Tensor | None  # [S, 1, C, H, W]: a frame without its partner
    streamed: bool  # the planes had a stream dimension


def run(tubelets: Tensor, memory: GateMemory, factors: Tensor | None) -> GateResult:
    """Gates tubelets ``[S, T, f, C, H, W]`` and changes the memory.

    Raises:
        TokenIdsUsedUp: there may be too few token ids.
    """
    if captures(memory):
        memory.fixed = True
        return run_op(tubelets, memory, factors)
    return joined([run_op(some, memory, factors) for some in with_room(tubelets, memory)], 1)


def with_room(tubelets: Tensor, memory: GateMemory) -> Iterator[Tensor]:
    """Yields the tubelets to gate at once: all, or one by one where token ids come to an end, for
    which frame is the first without room must not depend on the chunk's size.

    Raises:
        TokenIdsUsedUp: there may be too few for the next one.
    """
    if memory.has_room(tubelets.shape[1]):
        yield tubelets
        return
    for tubelet in tubelets.split(1, 1):
        memory.check_room()
        yield tubelet


def run_op(tubelets: Tensor, memory: GateMemory, factors: Tensor | None) -> GateResult:
    """Gates tubelets by one call of the op; there must be room for their token ids."""
    before = memory.before.changing(tubelets.shape[1])
    result = GateResult(*_ops.gate(tubelets, *memory.state, factors, *memory.rules))
    memory.before.changed(before, result.kind, result.lit)
    return result


Call = tuple[Tensor, GateMemory]  # tubelets [1, T, f, C, H, W], and the memory that they change


def run_together(calls: Sequence[Call]) -> list[GateResult]:
    """Does what ``run`` does for several gates of one stream each, with the same rules and shapes.

    States that lie side by side are gated in one call of the op.
    """
    roomy = [n for n, (tubelets, memory) in enumerate(calls) if memory.has_room(tubelets.shape[1])]
    _settle([calls[n][1] for n in roomy])
    some, results = [calls[n] for n in roomy], {}
    for group in _neighbours(some):
        for n, result in zip(group, _run_neighbours([some[n] for n in group]), strict=True):
            results[roomy[n]] = result
    for n, call in enumerate(calls):
        if n not in results:
            results[n] = run(*call, None)
    return [results[n] for n in range(len(calls))]


def _settle(memories: Sequence[GateMemory]) -> None:
    """Moves the states into one bank if that makes more neighbours than there were.

    A bank that has at least as many gates as came now stays as it is: of 32 cameras, seldom all
    have a new frame in one moment.
    """
    most = max((len(m.bank.members) for m in memories if m.bank is not None), default=1)
    if len(memories) > most:
        Bank(memories)


def _neighbours(calls: Sequence[Call]) -> list[list[int]]:
    """Returns the numbers of the calls in groups whose states lie side by side, in order."""
    order = sorted(range(len(calls)), key=lambda n: (id(calls[n][1].bank), calls[n][1].slot))
    groups: list[list[int]] = []
    before: GateMemory | None = None
    for number in order:
        own = calls[number][1]
        beside = before is not None and own.bank is not None and own.bank is before.bank
        if before is None or not (beside and own.slot == before.slot + 1):
            groups.append([])
        groups[-1].append(number)
        before = own
    return groups


def _run_neighbours(calls: list[Call]) -> list[GateResult]:
    """Gates streams whose states lie side by side."""
    if len(calls) == 1:
        return [run_op(*calls[0], None)]
    memories = [memory for _, memory in calls]
    tubelets = torch.cat([frames for frames, _ in calls])  # [S, T, f, C, H, W]
    before = [memory.before.changing(tubelets.shape[1]) for memory in memories]
    bank, first = memories[0].bank, memories[0].slot
    assert bank is not None
    state = bank.part(first, first + len(calls))
    joint = GateResult(*_ops.gate(tubelets, *state, None, *memories[0].rules))
    parts = [GateResult(*own) for own in zip(*(x.split(1) for x in joint), strict=True)]
    if not tubelets.is_cpu:
        return parts
    # Views would keep the results of all streams for as long as one of them is kept.
    parts = [each(part, torch.clone) for part in parts]
    moving = joint.kind.flatten(1).any(1).tolist()
    for memory, earlier, own, moves in zip(memories, before, parts, moving, strict=True):
        memory.before.changed(earlier, own.kind, own.lit, still=not moves)
    return parts


def captures(memory: GateMemory) -> bool:
    """Whether a CUDA graph is being captured on the memory's device."""
    return memory.state.clock.is_cuda and torch.cuda.is_current_stream_capturing()


def gate_clip(planes: Tensor, settings: GateSettings) -> GateResult:
    """Gates a clip ``[T * f, C, H, W]`` of whole tubelets, as a fresh ``Gate`` does.

    It keeps no state, and ``torch.compile`` makes one graph of it. It does not synchronise.
    """
    if settings.memory:
        raise ValueError(
            f"memory: expected None in one graph of a whole clip, got {settings.memory}; a picture "
            "that comes back is found between frames: push the clip to a Gate"
        )
    frames = checked_planes(planes, settings, None)  # [1, T * f, C, H, W]
    picture = (1, settings.temporal_patch, *frames.shape[2:])
    shapes = shapes_of(picture, settings)
    state = [
        torch.zeros(shapes[n], dtype=dtype, device=frames.device) for n, dtype in DTYPES.items()
    ]
    tubelets = frames.reshape(1, -1, *picture[1:])
    rules = settings.op_rules(state[2][0].numel())  # whose order is the op's
    result = GateResult(*_ops.gate(tubelets, *state, None, *rules.values()))
    return each(result, lambda tensor: tensor[0])
