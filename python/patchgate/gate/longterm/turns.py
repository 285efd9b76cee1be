"""Gates the frames of one stream that remembers pictures: ``StreamPush``.

The op knows nothing of memory. It gates frames as ever; where a frame turns out to be a turn, the
stream's state is brought back, cells that return are put into the reference picture, and the op
gates the frame again.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w,
p cell side, M remembered pictures.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
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
    whole_after,
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
            turn, busy = self.looked_at(kind)
            if turn is None:
                self.follow(kind, busy)
                most = 2 * most
            elif end - t == 1:
                part, most = self.turned(run, t, before, part), 1
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

    def looked_at(self, kind: Bytes) -> Seen:
        """Looks for turns in frames of these kinds ``[T, h, w]``, just gated."""
        turn, busy, cells = None, self.now.busy, kind[0].size
        for t, one in enumerate(kind):
            count = int(np.count_nonzero(one == CHANGED))
            many = are_many(count, cells)
            is_turn = many and (count == cells or not busy)
            if is_turn and turn is None and (t or not self._is_first(len(kind))):
                turn = t
            busy = many
        return Seen(turn, busy)

    def _is_first(self, frames: int) -> bool:
        """Whether the frames just gated, so many, were the stream's first: that is no turn."""
        return self.now.turns == 0 and int(self.state.clock[0, 0]) == frames

    def copy(self) -> State:
        """Copies the state to spare memory, where the next copy will be."""
        spare = self.memory.streams(self.memory.spare(), self.number)
        for part, now in zip(spare, self.state, strict=True):
            part.copy_(now)
        return spare

    def back(self, before: State) -> None:
        """Brings the state back that was copied."""
        for part, then in zip(self.state, before, strict=True):
            part.copy_(then)

    def follow(self, kind: Bytes, busy: bool) -> None:
        """Notes what frames of these kinds ``[T, h, w]`` do to what is remembered."""
        self.now = self.now._replace(whole=whole_after(self.now.whole, kind), busy=busy)

    def turned(self, frame: Tensor, at: int, before: State, first: GateResult) -> GateResult:
        """Does what is to be done at a turn.

        Args:
            frame: ``[1, 1, f, C, H, W]``.
            at: its number in the push.
            before: the state before it.
            first: the result with the reference as it was; the state at hand is the one after it.

        Returns:
            The frame's result.
        """
        then, result, kind = self.now, first, _on_host(first.kind[0])
        turn, base, is_key = then.turns + 1, 0, bool((kind == CHANGED).all())
        tokens = np.where(then.whole, _on_host(before.source[0]), -1)  # [h, w]
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
            pixels = before.picture[0].clone()
            seen = glance(pixels, self.settings.cell)
            self._put(slot, Picture(pixels, seen, tokens, turn, then.shot))
        busy = are_many(int(np.count_nonzero(kind == CHANGED)), kind.size)
        self.follow(kind, busy)
        self.now = self.now._replace(turns=turn, shot=shot)
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
        self.now = self.now._replace(whole=self.now.whole | (taken > 0))


def _on_host(tensor: Tensor) -> np.ndarray:  # type: ignore[type-arg]
    """Synchronises, unless it is there already."""
    return tensor.cpu().numpy()


def _on_device(what: np.ndarray, like: Tensor) -> Tensor:  # type: ignore[type-arg]
    return torch.from_numpy(what).to(like.device)
