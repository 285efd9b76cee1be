"""Gates the frames of one stream that remembers pictures: ``StreamPush.gated``.

The op knows nothing of memory. It gates frames as ever; where a frame turns out to be a turn, the
stream's state is brought back, cells that return are put into the reference picture, and the op
gates the frame again. A remembered picture is compared by the op, too, with a limit that every cell
passes: then it writes nothing, and its costs are those of the zero test.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w,
p cell side, M remembered pictures.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.gate.longterm.pictures import (
    Picture,
    Remembered,
    chosen,
    most_changes,
    slot_for,
    whole_after,
)
from patchgate.gate.memory import GateMemory
from patchgate.gate.run import GateResult, joined
from patchgate.gate.settings import CHANGED, MOVED, RETURNED, GateSettings
from patchgate.gate.tensors import State

_ALWAYS = 2**31 - 1  # a limit that every cost passes, as the op's


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

    state: State  # of one stream: views, changed in place
    memory: GateMemory
    number: int  # the stream's
    now: Remembered
    factors: Tensor | None  # [h, w]
    settings: GateSettings
    turns: list[Turn] = field(default_factory=list)  # of the push

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
            turn, busy = self.looked_at(part.kind[0])
            if turn is None:
                self.now = self.after(part.kind[0], busy)
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

    def looked_at(self, kind: Tensor) -> "Seen":
        """Looks for turns in frames of these kinds ``[T, h, w]``, just gated. Synchronises."""
        if not bool(kind.any()):
            return Seen(None, False)
        cells, t = kind[0].numel(), len(kind)
        counts = (kind == CHANGED).flatten(1).sum(1).tolist()
        busy = [self.now.busy, *(n > most_changes(cells) for n in counts)]
        first = int(self.state.clock[0, 0]) == t  # frame 0 of the stream is no turn
        turns = (
            t
            for t, n in enumerate(counts)
            if busy[t + 1] and (n == cells or not busy[t]) and (t or not first)
        )
        return Seen(next(turns, None), busy[-1])

    def after(self, kind: Tensor, busy: bool) -> Remembered:
        """Returns what is remembered after frames of these kinds ``[T, h, w]``."""
        whole = self.now.whole
        if bool(kind.any()):
            whole = whole_after(whole, kind, MOVED, CHANGED)
        quiet = self.now.quiet + len(kind)
        return self.now._replace(whole=whole, busy=busy, quiet=quiet)

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
        then, result, recalled = self.now, first, 0
        turn = then.turns + 1
        if any(each is not None for each in then.pictures):
            fits = self._fitting(frame, before)
            changed = first.kind[0, 0] == CHANGED
            choice = None if fits is None else chosen(fits, changed, then.pictures)
            if choice is not None:
                self.back(before)
                self._put_back(choice.taken)
                result = self.op(frame)
                if not bool(result.is_key):
                    result.kind[0, 0].masked_fill_(choice.taken > 0, RETURNED)
                    recalled = choice.base
                    there = choice.taken.unique().tolist()
                    pictures = tuple(
                        each._replace(used=turn) if each is not None and i in there else each
                        for i, each in enumerate(then.pictures, 1)
                    )
                    self.now = self.now._replace(pictures=pictures)
        tokens = torch.where(then.whole, before.source[0], -1)  # [h, w]
        picture = Picture(before.picture[0], tokens, turn, then.shot)
        slot = slot_for(picture, self.now, recalled)
        base = self.now.pictures[recalled - 1] if recalled else None
        shot = base.shot if base is not None else turn if bool(result.is_key) else then.shot
        if slot is not None:
            picture = picture._replace(pixels=picture.pixels.clone())
            pictures = tuple(
                picture if i == slot else each for i, each in enumerate(self.now.pictures)
            )
            self.now = self.now._replace(pictures=pictures)
        count = int((result.kind == CHANGED).sum())
        busy = count > most_changes(result.kind.numel())
        self.now = self.after(result.kind[0], busy)._replace(turns=turn, shot=shot, quiet=0)
        self.turns.append(Turn(at, recalled, 0 if slot is None else slot + 1))
        return result

    def _fitting(self, frame: Tensor, before: State) -> Tensor | None:
        """Returns which cells equal the reference or a picture, ``[1 + M, h, w]`` bool; None: no
        cell equals a picture. Synchronises.

        The limit is such that no rule can make such a cell a changed one, but a scene cut.
        """
        limits = self._limits(before)  # [h, w]
        oldest = self._oldest(before)
        none = torch.zeros_like(limits, dtype=torch.bool)
        fits = [none]
        for each in self.now.pictures:
            near = none
            if each is not None:
                near = self._costs(frame, each.pixels[None], before) <= limits
                near &= each.tokens >= oldest
            fits.append(near)
        found = torch.stack(fits)
        if not bool(found.any()):
            return None
        found[0] = self._costs(frame, before.picture, before) <= limits
        return found

    def _costs(self, frame: Tensor, picture: Tensor, before: State) -> Tensor:
        """Returns the costs of the zero test against a picture ``[1, f, C, H, W]``: ``[h, w]``."""
        own = self.settings
        full = 255 * own.sub_block**2  # the largest cost: all cells are static
        clock = before.clock.new_tensor([[1, 0]])
        scratch = (before.source.clone(), clock, before.births[:, :0], before.quartiles.clone(),
                   before.light)  # fmt: skip
        rules = (own.cell, own.sub_block, full, 0, 0, 0, -1, -1.0, False, 1)
        return _ops.gate(frame, picture, before.ids, *scratch, None, *rules)[2][0, 0]

    def _limits(self, before: State) -> Tensor:
        """Returns each cell's limit, tightened by hysteresis, ``[h, w]`` int64."""
        own = self.settings
        limits = torch.full_like(before.source[0], own.limit)
        if self.factors is not None:
            factor = self.factors.to(limits.device)
            limits = (own.limit * factor.nan_to_num(posinf=0)).floor().clamp(max=_ALWAYS).long()
            limits = limits.masked_fill(factor.isposinf(), _ALWAYS)
        if own.hysteresis is None:
            return limits
        tight = (limits.double() * own.hysteresis).floor().long()
        return torch.where(limits == _ALWAYS, limits, tight)

    def _oldest(self, before: State) -> Tensor:
        """Returns the oldest token that may come back, ``[]`` int64."""
        births, (frames, tokens) = before.births[0], before.clock[0]
        if not len(births):
            return torch.zeros_like(tokens)
        if len(births) == 1:
            return tokens
        return births[(frames + 1) % len(births)]

    def _put_back(self, taken: Tensor) -> None:
        """Puts the cells that come back into the reference, ``[h, w]``: see ``Choice``."""
        p, state = self.settings.cell, self.state
        cells = state.picture[0].unflatten(-1, (-1, p)).unflatten(-3, (-1, p))  # [f, C, h, p, w, p]
        ids = state.ids[0].unflatten(-1, (-1, p)).unflatten(-3, (-1, p))  # [h, p, w, p]
        for i, each in enumerate(self.now.pictures, 1):
            own = taken == i  # [h, w]
            if each is None:
                continue
            pixels = each.pixels.unflatten(-1, (-1, p)).unflatten(-3, (-1, p))
            at = own[:, None, :, None]  # [h, 1, w, 1]
            cells.copy_(torch.where(at, pixels, cells))
            ids.copy_(torch.where(at, each.tokens[:, None, :, None].int(), ids))
            state.source[0].copy_(torch.where(own, each.tokens, state.source[0]))
        self.now = self.now._replace(whole=self.now.whole | (taken > 0))
