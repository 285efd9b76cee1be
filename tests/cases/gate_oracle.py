"""The gate's rules once more, from the design's text alone: one stream, one cell at a time, numpy.

Obvious and slow. It shares no code with the package; test_gate.py compares the two.
"""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from between import block_between
from gate_oracle_cell import CHANGED, MOVED, ZERO, Array, Cell, Frame, Vector
from gate_oracle_light import (
    FRESH,
    ONE,
    Ledger,
    Weights,
    composed,
    is_too_far,
    weighed,
    weights_of,
    widest,
)


@dataclass
class Oracle:
    """The gate of one stream. The settings are named as those of ``patchgate.Gate``."""

    threshold: float = 4
    search_radius: int = 8
    on_motion: str = "camera"
    scene_cut: float | None = 0.8
    max_age: int | None = None
    patch: int = 14
    merge: int = 1
    temporal_patch: int = 1
    sub_blocks: int = 2
    chroma: bool = True
    hysteresis: float | None = None
    noise: str | None = None
    motion_precision: int = 1
    illumination: str | None = None
    picture: Array | None = None  # [f, C, H, W]: the reference picture(s)
    ids: Array | None = None  # [H, W]: the token of every pixel
    births: list[int] = field(default_factory=list)  # the frame of every token
    quartiles: list[int] = field(default_factory=list)
    light: dict[Vector, Ledger] = field(default_factory=dict)
    now: int = 0

    def push(self, planes: Array, factors: Array | None = None) -> list[Frame]:
        """Planes ``[T, C, H, W]`` uint8, T a multiple of ``temporal_patch``; factors ``[h, w]``."""
        f = self.temporal_patch
        planes = planes[:, : None if self.chroma else 1].astype(np.int64)
        return [self._frame(planes[t : t + f], factors) for t in range(0, len(planes), f)]

    @property
    def p(self) -> int:
        return self.patch * self.merge

    def _frame(self, new: Array, factors: Array | None) -> Frame:
        h, w = new.shape[2] // self.p, new.shape[3] // self.p
        places = [(y, x) for y in range(h) for x in range(w)]
        side = self.p // (self.sub_blocks * self.merge)
        limit = math.floor(self.threshold * side * side)
        if self.picture is None:
            self.picture, self.ids = new.copy(), np.zeros(new.shape[2:], np.int64)
            cells = {at: Cell(limit, {ZERO: -1}, kind=CHANGED) for at in places}
            weights, lit = self._same_light(), set()
        else:
            weights, lit = self._relight(new, places, limit, factors)
            zero = {at: self._cost(new, at, ZERO) for at in places}
            limit = self._adapted(limit, zero)
            cells = {at: Cell(_scaled(limit, factors, at), {ZERO: zero[at]}) for at in places}
            self._decide(new, cells)
        self._update(new, cells)
        frame = self._result(cells, h, w, limit)
        if self.illumination:
            frame.weights = np.array(weights).reshape(*new.shape[:2], 2)
            frame.lit = np.array([at in lit for at in places]).reshape(h, w)
        self.now += 1
        return frame

    # --- the light ---

    def _same_light(self) -> Weights:
        return [(ONE, 0)] * (self.picture.shape[0] * self.picture.shape[1])

    def _relight(
        self, new: Array, places: list[Vector], limit: int, factors: Array | None
    ) -> tuple[Weights, set[Vector]]:
        limits = {at: _scaled(limit, factors, at) for at in places}
        plain = {at: self._cost(new, at, ZERO) for at in places}
        doubtful = [at for at in places if 2 * plain[at] > limits[at]]
        if not self.illumination or 8 * len(doubtful) < len(places):
            return self._same_light(), set()
        weights = weights_of(new, self.picture, doubtful, self.p)
        if weights == self._same_light():
            return weights, set()
        old, lit = self.picture, set()
        planes = old.reshape(-1, *old.shape[2:])
        lighter = [weighed(plane, each) for plane, each in zip(planes, weights, strict=True)]
        self.picture = np.stack(lighter).reshape(old.shape)
        for at in places:
            after = composed(self.light[at], weights)
            nearer = self._cost(new, at, ZERO) < plain[at] and not is_too_far(after)
            if not math.isinf(limits[at]) and (nearer or plain[at] > limits[at]):
                lit.add(at)
                self.light[at] = after
            else:
                self._block(self.picture, at)[...] = self._block(old, at)
        return weights, lit

    def _brought(self, at: Vector, cell: Cell) -> Ledger:
        """What the pixels that a kept cell shows have gone through."""
        if cell.kind != MOVED:
            return self.light[at]
        y, x = (self.p * at[i] + self._whole(cell.used)[i] for i in (0, 1))
        under = {
            (i // self.p, j // self.p) for i in range(y, y + self.p) for j in range(x, x + self.p)
        }
        return widest([self.light[each] for each in under])

    # --- the vectors of one cell ---

    def _block(self, picture: Array, at: Vector, pixels: Vector = ZERO) -> Array:
        """The cell's pixels, displaced: [.., p, p]."""
        top, left = at[0] * self.p + pixels[0], at[1] * self.p + pixels[1]
        assert top >= 0
        assert left >= 0
        return picture[..., top : top + self.p, left : left + self.p]

    def _then(self, at: Vector, v: Vector) -> Array:
        """What the reference has for the cell under a vector: [f, C, p, p]."""
        if not (v[0] % self.motion_precision or v[1] % self.motion_precision):
            return self._block(self.picture, at, tuple(d // self.motion_precision for d in v))
        quarters = [4 * self.p * at[i] + 4 // self.motion_precision * v[i] for i in (0, 1)]
        return block_between(self.picture, *quarters, self.p)

    def _then_ids(self, at: Vector, v: Vector) -> Array:
        """The ids that come with it, by whole pixels: fractions are rounded by turns."""
        return self._block(self.ids, at, self._whole(v))

    def _whole(self, v: Vector) -> Vector:
        up = (0, 2, 1, 3)[self.now % 4]
        return tuple((4 // self.motion_precision * d + up) // 4 for d in v)

    def _cost(self, new: Array, at: Vector, v: Vector) -> int:
        """The largest SAD of any sub-block in any plane of any frame of the cell."""
        difference = abs(self._block(new, at) - self._then(at, v))
        n = self.sub_blocks * self.merge
        side = self.p // n
        sums = difference.reshape(*difference.shape[:2], n, side, n, side).sum(axis=(3, 5))
        return int(sums.max())

    def _objective(self, new: Array, at: Vector, v: Vector) -> tuple[int, int, Vector]:
        """What the search minimises, and how it breaks ties."""
        difference = self._block(new, at)[:, 0] - self._then(at, v)[:, 0]
        length = abs(v[0]) + abs(v[1])
        price = (self.p**2 >> 4) * length // self.motion_precision
        return int(abs(difference).sum()) + price, length, v

    def _legal(self, at: Vector, v: Vector) -> bool:
        """A candidate of the search: not zero, in reach, wholly inside the picture."""
        height, width = self.picture.shape[2:]
        top, left = (at[i] * self.p + v[i] / self.motion_precision for i in (0, 1))
        inside = 0 <= top <= height - self.p and 0 <= left <= width - self.p
        return inside and 0 < max(map(abs, v)) / self.motion_precision <= self.search_radius

    def _search(self, new: Array, at: Vector) -> Vector | None:
        """The cell's minimum: of whole pixels, then of halves around it, then of quarters."""

        def least(vectors: list[Vector]) -> Vector | None:
            legal = [v for v in vectors if self._legal(at, v)]
            return min(legal, key=lambda v: self._objective(new, at, v), default=None)

        def grid(centre: Vector, reach: int, step: int) -> list[Vector]:
            span = range(-reach * step, reach * step + 1, step)
            return [(centre[0] + i, centre[1] + j) for i in span for j in span]

        best = least(grid(ZERO, self.search_radius, self.motion_precision))
        for step in {1: (), 2: (1,), 4: (2, 1)}[self.motion_precision]:
            best = best and least(grid(best, 1, step))
        return best

    # --- the rules, in their order ---

    def _adapted(self, limit: int, zero: dict[Vector, int]) -> int:
        if self.noise is None:
            return limit
        self.quartiles.append(sorted(zero.values())[(len(zero) - 1) // 4])
        recent = sorted(self.quartiles[-15:])
        median = recent[(len(recent) - 1) // 2]
        return min(max(3 * median // 2, limit), 2 * limit)

    def _decide(self, new: Array, cells: dict[Vector, Cell]) -> None:
        for at, cell in cells.items():
            if cell.tested[ZERO] <= cell.limit:
                continue
            cell.best = self._search(new, at)
            if cell.best is not None:
                cell.tested[cell.best] = self._cost(new, at, cell.best)
        unexplained = sum(not cell.explained for cell in cells.values())
        if self.scene_cut is not None and unexplained > math.floor(self.scene_cut * len(cells)):
            for cell in cells.values():
                cell.kind = CHANGED
            return
        dominant = self._dominant(new, cells)
        for at, cell in cells.items():
            if cell.tested[ZERO] > cell.limit:
                self._on_motion(new, at, cell, dominant)
        self._hysteresis(cells)
        if self.max_age is not None:
            for at, cell in cells.items():
                if self.now - self.births[self._source(at, cell)] >= self.max_age:
                    cell.kind = CHANGED
        for at, cell in cells.items():
            if self.illumination and cell.kind != CHANGED and is_too_far(self._brought(at, cell)):
                cell.kind = CHANGED

    def _dominant(self, new: Array, cells: dict[Vector, Cell]) -> Vector:
        votes: Counter[Vector] = Counter()
        for at, cell in cells.items():
            if cell.tested[ZERO] <= cell.limit:
                luma = self._block(new, at)[:, 0]
                texture = sum(int(abs(np.diff(luma, axis=axis)).sum()) for axis in (1, 2))
                bound = 2 * self.threshold * self.p**2 * self.temporal_patch
                votes[ZERO] += texture > bound
            elif cell.explained:
                votes[cell.best] += 1
        votes[ZERO] += 0  # without a vote, nothing moves
        return min(votes, key=lambda v: (-votes[v], abs(v[0]) + abs(v[1]), v))

    def _on_motion(self, new: Array, at: Vector, cell: Cell, dominant: Vector) -> None:
        chosen = None
        if self.on_motion == "reuse" and cell.explained:
            chosen = cell.best
        if self.on_motion == "camera":
            near = [v for v in self._followed(dominant, cell.best) if self._legal(at, v)]
            cell.tested |= {v: self._cost(new, at, v) for v in near}
            passing = [v for v in near if cell.tested[v] <= cell.limit]
            chosen = min(passing, key=lambda v: self._objective(new, at, v), default=None)
        cell.kind = CHANGED if chosen is None else MOVED
        cell.used = chosen or ZERO

    def _followed(self, dominant: Vector, own: Vector | None) -> list[Vector]:
        """The vectors that are tried on a cell because the camera moves so."""
        if self.motion_precision == 1:
            return [(dominant[0] + i, dominant[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        if own is None or max(abs(own[i] - dominant[i]) for i in (0, 1)) > self.motion_precision:
            return [dominant]
        return [dominant, own]

    def _hysteresis(self, cells: dict[Vector, Cell]) -> None:
        if self.hysteresis is None:
            return
        changed = {at for at, cell in cells.items() if cell.kind == CHANGED}  # no propagation
        for (y, x), cell in cells.items():
            around = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} - {(y, x)}
            if not around & changed or math.isinf(cell.limit):
                continue
            if cell.cost > math.floor(cell.limit * self.hysteresis):
                cell.kind = CHANGED

    def _source(self, at: Vector, cell: Cell) -> int:
        """The id with most pixels in the block that the cell shows, ties to the smallest."""
        ids, counts = np.unique(self._then_ids(at, cell.used), return_counts=True)
        return int(ids[counts.argmax()])

    def _update(self, new: Array, cells: dict[Vector, Cell]) -> None:
        picture, ids = self.picture.copy(), self.ids.copy()
        fresh = [list(FRESH) for _ in self._same_light()]
        self.light = {
            at: fresh if cell.kind == CHANGED else self._brought(at, cell)
            for at, cell in cells.items()
        }
        for at, cell in cells.items():
            if cell.kind == CHANGED:
                self._block(picture, at)[...] = self._block(new, at)
                self._block(ids, at)[...] = len(self.births)
                self.births.append(self.now)
            elif cell.kind == MOVED:
                self._block(picture, at)[...] = self._then(at, cell.used)
                self._block(ids, at)[...] = self._then_ids(at, cell.used)
        self.picture, self.ids = picture, ids

    def _result(self, cells: dict[Vector, Cell], h: int, w: int, limit: int) -> Frame:
        def grid(values: list) -> Array:
            return np.array(values).reshape(h, w, *np.shape(values[0]))

        every = list(cells.values())
        return Frame(
            kind=grid([cell.kind for cell in every]),
            motion=grid([ZERO if cell.kind == CHANGED else cell.used for cell in every]),
            cost=grid([cell.cost for cell in every]),
            source=grid([self._source(at, Cell(0, {})) for at in cells]),
            is_key=all(cell.kind == CHANGED for cell in every),
            limit=limit,
            weights=np.zeros((0, self.picture.shape[1], 2), int),
            lit=np.zeros((0, w), bool),
        )


def _scaled(limit: int, factors: Array | None, at: Vector) -> float:
    if factors is None:
        return limit
    factor = float(factors[at])
    return math.inf if math.isinf(factor) else math.floor(limit * factor)
