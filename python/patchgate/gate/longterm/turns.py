"""Gates the frames of one stream that remembers pictures: ``StreamPush``.

The op knows nothing of memory. It gates frames as ever; where a frame turns out to be a turn, the
stream's state is brought back, cells that return are put into the reference picture, and the op
gates the frame again.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w,
p cell side, M remembered pictures.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgate import _ops
from patchgate.gate.longterm.fitting import fitting, glance
from patchgate.gate.longterm.pictures import (
    Bytes,
    Choice,
    Flags,
    Picture,
    Remembered,
    are_many,
    chosen,
    slot_for,
)
from patchgate.gate.memory import GateMemory
from patchgate.gate.run import GateResult, joined
from patchgate.gate.settings import CHANGED, RETURNED, GateSettings
from patchgate.gate.tensors import State


class Turn(NamedTuple):
    """A frame in which many cells changed at once, and what a gate with memory made of it."""

    frame: int  # its number in the push
    base: int  # 1 + the number of the picture that returns as a whole; 0: none does
    kept: int  # 1 + the number of the place where the reference before it is kept; 0: it is not


class Seen(NamedTuple):
    """What frames turned out to be."""

    turn: int | None  # the first of them that is a turn
    busy: bool  # many cells changed in the last


@dataclass
class StreamPush:
    """A push of one stream."""

    memory: GateMemory
    number: int  # the stream's
    now: Remembered
    factors: Tensor | None  # [h, w]
    settings: GateSettings
    turns: list[Turn] = field(default_factory=list)  # of the push

    @cached_property
    def state(self) -> State:
        """The state of the stream: views, changed in place."""
        return self.memory.streams(self.memory.state, self.number)

    def gated(self, frames: Tensor, ends: set[int]) -> GateResult:
        """Gates frames ``[1, T, f, C, H, W]`` in runs that end where it pays to end them.

        Args:
            ends: frames before which a run ends.
        """
        count, t, most = frames.shape[1], 0, frames.shape[1]
        parts = []
        while t < count:
            end = min([e for e in ends if e > t] + [count, t + most])
            before, run = self.copy(), frames[:, t:end]
            part = self.op(run)
            kind = _on_host(part.kind[0])
            seen = looked_at(kind, self.now, self.state.clock)
            turn = seen.turn
            if turn is None:
                self.now = self.now.followed(kind, seen.busy)
                most = 2 * most
            elif end - t == 1:
                part, most = self.turned(run, t, before, part, before.picture[0]), 1
            else:
                self.back(before)
                ends = ends | {t + turn, t + turn + 1}
                continue
            parts.append(part)
            t = end
        return joined(parts, 1)

    def op(self, frames: Tensor) -> GateResult:
        """Gates frames ``[1, T, f, C, H, W]`` with the reference at hand."""
        rules = self.memory.rules
        return GateResult(*_ops.gate(frames, *self.state, self.factors, *rules))

    def copy(self) -> State:
        """Copies the state to spare memory, where the next copy will be: all but the picture, which
        may be kept.
        """
        spare = self.memory.streams(self.memory.spare(), self.number)
        for part, now in zip(spare[1:], self.state[1:], strict=True):
            part.copy_(now)
        return spare._replace(picture=self.state.picture.clone())

    def back(self, before: State) -> None:
        """Brings the state back that was copied."""
        for part, then in zip(self.state, before, strict=True):
            part.copy_(then)

    def turned(
        self,
        frame: Tensor,
        at: int,
        before: State,
        first: GateResult,
        own: Tensor | None = None,
    ) -> GateResult:
        """Does what is to be done at a turn.

        Args:
            frame: ``[1, 1, f, C, H, W]``.
            at: its number in the push.
            before: the state before it.
            first: the result with the reference as it was; the state at hand is the one after it.
            own: ``[f, C, H, W]``, the reference before it, if nobody else will write to it.

        Returns:
            The frame's result.
        """
        then = self.now = self.now.settled()
        result, kind = first, _on_host(first.kind[0])
        turn, base, is_key = then.turns + 1, 0, bool(first.is_key)
        tokens = np.where(then.before, _on_host(before.source[0]), -1)  # [h, w]
        choice = self._choice(frame, before, kind[0] == CHANGED)
        if choice is not None:
            self.back(before)
            self._put_back(choice)
            result = self.op(frame)
            is_key = bool(result.is_key)
            if not is_key:
                base, back = choice.base, choice.taken > 0
                result.kind[0, 0].masked_fill_(_on_device(back, frame), RETURNED)
                self._use(set(choice.taken[back].tolist()), turn)
            kind = _on_host(result.kind[0])
        slot = slot_for(tokens, then.shot, self.now, base)
        recalled = self.now.pictures[base - 1] if base else None
        shot = recalled.shot if recalled is not None else turn if is_key else then.shot
        if slot is not None:
            pixels = before.picture[0].clone() if own is None else own
            seen = glance(pixels, self.settings.cell)
            self._put(slot, Picture(pixels, seen, tokens, turn, then.shot))
        busy = are_many(kind.tobytes().count(CHANGED), kind.size)
        self.now = self.now.followed(kind, busy)._replace(turns=turn, shot=shot)
        self.turns.append(Turn(at, base, 0 if slot is None else slot + 1))
        return result

    def _choice(self, frame: Tensor, before: State, changed: Flags) -> Choice | None:
        """Chooses what comes back at a turn: see ``chosen``. Synchronises."""
        pictures = self.now.pictures
        fits = fitting(frame, before, pictures, changed, self.factors, self.settings)
        return None if fits is None else chosen(fits, changed, pictures)

    def _use(self, numbers: set[int], turn: int) -> None:
        """Notes that cells came from pictures of these numbers, from 1."""
        for number in numbers:
            each = self.now.pictures[number - 1]
            if each is not None:
                self._put(number - 1, each._replace(used=turn))

    def _put(self, slot: int, picture: Picture) -> None:
        pictures = (*self.now.pictures[:slot], picture, *self.now.pictures[slot + 1 :])
        self.now = self.now._replace(pictures=pictures)

    def _put_back(self, choice: Choice) -> None:
        """Puts the cells that come back into the reference."""
        p, state, taken = self.settings.cell, self.state, choice.taken
        cells = state.picture[0].unflatten(-1, (-1, p)).unflatten(-3, (-1, p))  # [f, C, h, p, w, p]
        ids = state.ids[0].unflatten(-1, (-1, p)).unflatten(-3, (-1, p))  # [h, p, w, p]
        for i, each in enumerate(self.now.pictures, 1):
            if each is None or not (taken == i).any():
                continue
            own = _on_device(taken == i, cells)  # [h, w]
            tokens = _on_device(each.tokens, cells)
            pixels = each.pixels.unflatten(-1, (-1, p)).unflatten(-3, (-1, p))
            at = own[:, None, :, None]  # [h, 1, w, 1]
            cells.copy_(torch.where(at, pixels, cells))
            ids.copy_(torch.where(at, tokens[:, None, :, None].int(), ids))
            state.source[0].copy_(torch.where(own, tokens, state.source[0]))
        self.now = self.now._replace(before=self.now.before | (taken > 0))


def looked_at(kind: Bytes, now: Remembered, clock: Tensor, s: int = 0) -> Seen:
    """Looks for turns in frames of these kinds ``[T, h, w]`` of one stream, just gated.

    Args:
        now: what was remembered before them. clock: ``[S, 2]``, after them; its row ``s`` is
            the stream's.
    """
    turn, busy, cells = None, now.busy, kind[0].size
    for t, one in enumerate(kind):
        count = one.tobytes().count(CHANGED)
        many = are_many(count, cells)
        if many and turn is None and (count == cells or not busy):
            # The stream's first frame is no turn.
            first = t == 0 and now.turns == 0 and int(clock[s, 0]) == len(kind)
            turn = None if first else t
        busy = many
    return Seen(turn, busy)


def _on_host(tensor: Tensor) -> NDArray[Any]:
    """Synchronises, unless it is there already."""
    return tensor.cpu().numpy()


def _on_device(what: NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(what).to(like.device)
