"""A gate that remembers pictures, once more from docs/gate.md: one cell at a time, on its oracle.

It shares no code with the package; ``tests/gate/test_gate_returns.py`` compares the two.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

from gate_oracle import Oracle
from gate_oracle_cell import CHANGED, MOVED, ZERO, Array, Frame, Vector

RETURNED = 4


@dataclass
class Kept:
    """A remembered picture."""

    picture: Array  # [f, C, H, W]
    tokens: dict[Vector, int]  # of the cells that can return
    used: int
    shot: int


class Returning:
    """The gate of one stream with ``memory`` pictures; the other settings are the oracle's."""

    def __init__(self, memory: int, **settings: Any) -> None:
        self.gate = Oracle(**settings)
        self.places: list[Kept | None] = [None] * memory
        self.whole: set[Vector] = set()
        self.turns = self.shot = 0
        self.busy = False
        self.told: list[tuple[int, int, int]] = []  # frame, base, kept

    def push(self, planes: Array, factors: Array | None = None) -> list[Frame]:
        """As ``Oracle.push``."""
        f = self.gate.temporal_patch
        frames = []
        for t in range(0, len(planes), f):
            before, new = copy.deepcopy(self.gate), planes[t : t + f]
            frame = self.gate.push(new, factors)[0]
            changed = self._changed(frame)
            many = len(changed) > frame.kind.size // 8
            if many and before.now and (frame.is_key or not self.busy):
                frame = self._turn(before, new, factors, frame, t // f)
            else:
                self._follow(frame)
            self.busy = len(self._changed(frame)) > frame.kind.size // 8
            frames.append(frame)
        return frames

    @staticmethod
    def _changed(frame: Frame) -> set[Vector]:
        return {(y, x) for y, x in zip(*(frame.kind == CHANGED).nonzero(), strict=True)}

    def _follow(self, frame: Frame) -> None:
        """Which cells show one token as it was encoded."""
        for y, x in zip(*(frame.kind == MOVED).nonzero(), strict=True):
            self.whole.discard((y, x))
        self.whole |= self._changed(frame)

    def _turn(
        self, before: Oracle, new: Array, factors: Array | None, first: Frame, at: int
    ) -> Frame:
        self.turns += 1
        whole, shot, frame, base = set(self.whole), self.shot, first, 0
        old_tokens = {(y, x): int(before.ids[y * before.p, x * before.p]) for y, x in whole}
        choice = self._choice(before, new, factors, self._changed(first))
        if choice is not None:
            order, taken = choice
            again = copy.deepcopy(before)
            p = again.p
            for (y, x), i in taken.items():
                own = slice(y * p, y * p + p), slice(x * p, x * p + p)
                kept = self.places[i - 1]
                again.picture[(..., *own)] = kept.picture[(..., *own)]
                again.ids[own] = kept.tokens[y, x]
            frame = again.push(new, factors)[0]
            self.gate = again
            self.whole |= taken.keys()
            if not frame.is_key:
                for y, x in taken:
                    assert frame.kind[y, x] == 0
                    frame.kind[y, x] = RETURNED
                base = order[0]
                for i in set(taken.values()):
                    self.places[i - 1].used = self.turns
        if base:
            self.shot = self.places[base - 1].shot
        elif frame.is_key:
            self.shot = self.turns
        new_one = Kept(before.picture.copy(), old_tokens, self.turns, shot)
        place = self._place(new_one, first.kind.size, base)
        if place is not None:
            self.places[place] = new_one
        self._follow(frame)
        self.told.append((at, base, 0 if place is None else place + 1))
        return frame

    def _choice(
        self, before: Oracle, new: Array, factors: Array | None, changed: set[Vector]
    ) -> tuple[list[int], dict[Vector, int]] | None:
        g = before
        planes = new[:, : None if g.chroma else 1].astype(int)
        h, w = (n // g.p for n in new.shape[2:])
        fits: list[set[Vector]] = []
        for i in range(len(self.places) + 1):
            fits.append(set())
            kept = self.places[i - 1] if i else None
            if i and kept is None:
                continue
            if kept is not None and not self._looks_alike(kept, planes, changed, factors):
                continue
            other = copy.copy(g)
            if kept is not None:
                other.picture = kept.picture
            for at in [(y, x) for y in range(h) for x in range(w)]:
                if other._cost(planes, at, ZERO) > self._limit(at, factors):
                    continue
                if kept is not None:
                    if at not in kept.tokens:
                        continue
                    age = g.now - g.births[kept.tokens[at]]
                    if g.max_age is not None and age >= g.max_age:
                        continue
                fits[i].add(at)
        used = [0, *(-1 if kept is None else kept.used for kept in self.places)]
        order = sorted(range(len(fits)), key=lambda i: (-len(fits[i]), i > 0, -used[i]))
        taken = {}
        for at in [(y, x) for y in range(h) for x in range(w)]:
            first = next((i for i in order if at in fits[i]), 0)
            if first:
                taken[at] = first
        gained = len(taken.keys() & changed)
        return (order, taken) if gained and 4 * gained >= len(changed) else None

    def _limit(self, at: Vector, factors: Array | None) -> float:
        """What a cell may cost that fits."""
        g = self.gate
        side = g.p // (g.sub_blocks * g.merge)
        factor = 1.0 if factors is None else float(factors[at])
        if math.isinf(factor):
            return math.inf
        limit = math.floor(math.floor(g.threshold * side * side) * factor)
        return limit if g.hysteresis is None else math.floor(limit * g.hysteresis)

    def _looks_alike(
        self, kept: Kept, planes: Array, changed: set[Vector], factors: Array | None
    ) -> bool:
        """Whether a picture may be the frame's at a glance."""
        p, side = self.gate.p, self.gate.p // (self.gate.sub_blocks * self.gate.merge)
        ends = p // 4, p - 1 - p // 4
        alike = 0
        for y, x in changed & kept.tokens.keys():
            most = self._limit((y, x), factors)
            most = most if math.isinf(most) else 2 * most // side**2
            places = [(y * p + dy, x * p + dx) for dy in ends for dx in ends]
            alike += all(
                abs(int(planes[0, 0][at]) - int(kept.picture[0, 0][at])) <= most for at in places
            )
        return alike > 0 and 16 * alike >= len(changed)

    def _place(self, new: Kept, cells: int, base: int) -> int | None:
        if 4 * len(new.tokens) < cells:
            return None
        for i, kept in enumerate(self.places):
            same = 0 if kept is None else len(kept.tokens.items() & new.tokens.items())
            if kept is not None and 8 * (cells - same) < cells:
                return i
        if base:
            return base - 1
        if None in self.places:
            return self.places.index(None)
        every = list(range(len(self.places)))
        own = [i for i in every if self.places[i].shot == new.shot]
        if 2 * len(own) >= len(every) > 1:
            every = own
        return min(every, key=lambda i: self.places[i].used)
