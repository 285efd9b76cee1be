"""The gate with refinements: what it would encode is offered to them first, in a closed loop.

Every frame goes through the gate itself. Cells that it would encode but that a prediction explains
within the limit take its pixels, in the reference picture too, so that both sides go on from the
same. Letters: T frames, N cells of a frame, C planes, H W pixels, h w cells, p cell side.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from gpu.gate import new_state
from torch import Tensor

from patchgate import _ops
from patchgate.gate import CHANGED, STATIC, GateSettings
from patchgate.reference.gate_motion import Rules, blocks_at, paste_blocks
from reading.methods import CELL, Trace
from reading.predictions import Prediction, Recalled, Weighted, corners_of, costs

PREDICTED = 3  # beside the gate's kinds: as a refinement tells it
SETTINGS = GateSettings(patch=CELL)  # the defaults: no max_age, for token ids are not kept here


class Told(NamedTuple):
    """What a refinement sent of a frame."""

    taken: Tensor  # [N] bool: the cells that it explains
    values: Tensor  # as the refinement has it


@dataclass(frozen=True)
class Rebuilt(Trace):
    """What was kept, and the pictures that the receiver has: vectors alone do not tell them."""

    pictures: Tensor  # [T, C, H, W] uint8
    told: tuple[tuple[Told, ...], ...]  # of every frame, by each refinement; none of a key frame


class Step(NamedTuple):
    """One frame's part of ``Rebuilt``."""

    kind: Tensor  # [h, w]
    motion: Tensor  # [h, w, 2]
    picture: Tensor  # [C, H, W]
    told: tuple[Told, ...]


def refined(planes: Tensor, predictions: Sequence[Prediction]) -> Rebuilt:
    """The gate at its defaults over ``[T, C, H, W]``, with refinements in their order."""
    loop = _Loop(planes[0], predictions)
    steps = [loop.step(frame) for frame in planes]
    kind, motion, pictures = (torch.stack(each) for each in list(zip(*steps, strict=True))[:3])
    return Rebuilt(kind, motion, pictures, tuple(step.told for step in steps))


class _Loop:
    """One stream: the gate's state, and the refinements with theirs."""

    def __init__(self, frame: Tensor, predictions: Sequence[Prediction]) -> None:
        h, w = (side // CELL for side in frame.shape[1:])
        self._predictions = predictions
        self._op_rules = SETTINGS.op_rules(h * w)
        self._rules = Rules(*self._op_rules.values())
        self._corners = corners_of(frame, CELL)  # [N, 2]
        self._first = True
        self._state = new_state(frame[None, None, None], CELL)  # in the order of the op

    def step(self, frame: Tensor) -> Step:
        """The next frame ``[C, H, W]``."""
        before = tuple(each.clone() for each in self._state)
        old = self._picture.clone()
        kind, motion, cost = self._gate(frame)
        told: tuple[Told, ...] = ()
        if not self._first:
            key = self._state if bool((kind == CHANGED).all()) else None
            if key is not None:  # a cut is judged by what the refinements, too, cannot explain
                self._state = before
                kind, motion, cost = self._gate(frame, cut=-1)
            kind, told = self._explain(frame, old, kind, cost)
            if key is not None and 0 <= self._rules.cut < int((kind == CHANGED).sum()):
                self._state, told = key, ()
                kind, motion = torch.full_like(kind, CHANGED), torch.zeros_like(motion)
        self._first = False
        self._settle(kind, told)
        h, w = (side // CELL for side in frame.shape[1:])
        return Step(kind.view(h, w), motion.view(h, w, 2), self._picture.clone(), told)

    @property
    def _picture(self) -> Tensor:
        return self._state[0][0, 0]  # [C, H, W], the gate's own

    def _gate(self, frame: Tensor, **changes: int) -> tuple[Tensor, Tensor, Tensor]:
        """kind ``[N]``, motion ``[N, 2]`` and cost ``[N]`` by the gate; the state moves on."""
        rules = {**self._op_rules, **changes}
        kind, motion, cost, *_ = _ops.gate(frame[None, None, None], *self._state, None, **rules)
        return kind.flatten(), motion.view(-1, 2), cost.flatten()

    def _explain(
        self, frame: Tensor, old: Tensor, kind: Tensor, cost: Tensor
    ) -> tuple[Tensor, tuple[Told, ...]]:
        """Offers the refinements what nothing explained yet; who takes it gets its pixels."""
        now = blocks_at(frame, self._corners, CELL)  # [N, C, p, p]
        told = []
        for prediction in self._predictions:
            unexplained = kind == CHANGED
            values = prediction.tell(now, old, unexplained, self._rules)
            cells = prediction.predict(old, values, CELL)
            offered = costs(now, cells, self._rules)
            taken = unexplained & (offered <= self._rules.limit)
            if prediction.renews:
                taken |= (kind == STATIC) & (offered < cost)
            paste_blocks(self._picture, cells[taken], self._corners[taken], CELL)
            kind = torch.where(taken, PREDICTED, kind).to(torch.uint8)
            told.append(Told(taken, values))
        return kind, tuple(told)

    def _settle(self, kind: Tensor, told: tuple[Told, ...]) -> None:
        cells = blocks_at(self._picture, self._corners, CELL)
        nothing = Told(torch.zeros_like(kind, dtype=torch.bool), torch.zeros_like(kind).long())
        for prediction, own in zip(
            self._predictions, told or [nothing] * len(self._predictions), strict=True
        ):
            prediction.settle(*own, kind, cells)


REFINEMENTS: dict[str, Callable[[], list[Prediction]]] = {
    "none": list,
    "weighted": lambda: [Weighted()],
    "recalled, 2": lambda: [Recalled(2)],
}
