"""Counting: what was right, what it cost, and how sure one can be.

Letters: N cells of a frame, L layers, D features, I of the MLP.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from harness import grouped

from patchgate.gate import CHANGED
from reading.methods import CELL, Trace

_LAYERS, _WIDTH, _MLP = 12, 768, 3072  # L, D, I of the tower named below
TOWER = "SigLIP base/16"
_ROUNDS = 2000  # of the bootstrap
ENOUGH = 0.99  # retention that counts as reading as well as from the dense video


@dataclass(frozen=True)
class Cost:
    """The numbers of one trace, or the mean of several."""

    tokens: float
    seconds: float  # of the clip
    cells: int  # of the clip
    kept_flops: float  # share of the dense tower's operations, kept cells attending to kept cells
    full_flops: float  # the same, kept cells attending to all N of their frame
    own_flops: float  # share that the reader's own tower did; where it has none, full_flops

    @classmethod
    def of(cls, traces: Sequence[Trace], fps: int, own: float | None = None) -> "Cost":
        kinds = [trace.kind for trace in traces]
        lengths = [(kind == CHANGED).flatten(1).sum(1).double() for kind in kinds]  # [T] each
        cells = kinds[0][0].numel()
        dense = len(kinds[0]) * _flops(cells, cells)

        def share(keys: Callable[[float], float]) -> float:
            return float(np.mean([sum(_flops(n, keys(n)) for n in each.tolist()) / dense
                                  for each in lengths]))  # fmt: skip

        full = share(lambda n: cells)
        return cls(
            tokens=float(np.mean([float(each.sum()) for each in lengths])),
            seconds=len(kinds[0]) / fps,
            cells=kinds[0].numel(),
            kept_flops=share(lambda n: n),
            full_flops=full,
            own_flops=full if own is None else own,
        )


def _flops(tokens: float, keys: float) -> float:
    """Operations of a frame in which so many tokens run, each attending to so many: see
    encoders/run/work.py.

    Patch embedding and layers, without pooling, which is no part of reading.
    """
    embed = 2 * 3 * CELL**2 * _WIDTH
    linear = _LAYERS * (8 * _WIDTH**2 + 4 * _WIDTH * _MLP)
    return tokens * (embed + linear + _LAYERS * 4 * _WIDTH * keys)


@dataclass(frozen=True)
class Row:
    """What one reader got out of what one method left of one clip, for one kind of question."""

    reader: str
    scene: str
    clip: str
    family: str
    setting: str
    group: str
    kind: str
    asked: int
    right: float  # of those asked; a mean where the method has several traces
    dense: int  # right from the dense video
    retained: float  # right of those
    cost: Cost

    @property
    def method(self) -> tuple[str, str]:
        """Family and setting."""
        return self.family, self.setting


@dataclass(frozen=True)
class Total:
    """Rows of one method added up: each clip's cost counts once."""

    asked: int
    right: float
    dense: int
    retained: float
    tokens: float
    seconds: float
    cells: int
    kept_flops: float
    full_flops: float
    own_flops: float

    @property
    def accuracy(self) -> float:
        """Share of the questions that was answered right."""
        return self.right / max(1, self.asked)

    @property
    def retention(self) -> float:
        """Share of what the reader gets from the dense video."""
        return self.retained / self.dense if self.dense else float("nan")

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / max(1e-9, self.seconds)

    @property
    def share(self) -> float:
        """The share of the cells that was kept."""
        return self.tokens / max(1, self.cells)


def total(rows: Iterable[Row]) -> Total:
    """The row of one method and reader."""
    rows = list(rows)
    costs = {row.clip: row.cost for row in rows}.values()
    cells = sum(cost.cells for cost in costs)

    def weighted(shares: Iterable[float]) -> float:
        return sum(s * cost.cells for s, cost in zip(shares, costs, strict=True)) / max(1, cells)

    return Total(
        asked=sum(row.asked for row in rows),
        right=sum(row.right for row in rows),
        dense=sum(row.dense for row in rows),
        retained=sum(row.retained for row in rows),
        tokens=sum(cost.tokens for cost in costs),
        seconds=sum(cost.seconds for cost in costs),
        cells=cells,
        kept_flops=weighted(cost.kept_flops for cost in costs),
        full_flops=weighted(cost.full_flops for cost in costs),
        own_flops=weighted(cost.own_flops for cost in costs),
    )


def interval(rows: Iterable[Row], seed: int = 0) -> tuple[float, float]:
    """95 % of the bootstrap's retentions: clips, not questions, are drawn with replacement.

    Questions about one clip are right or wrong together, so that they say less than their number.
    """
    clips = grouped(rows, lambda row: row.clip).values()
    return bootstrap([(sum(r.retained for r in c), sum(r.dense for r in c)) for c in clips], seed)


def bootstrap(clips: Sequence[tuple[float, float]], seed: int = 0) -> tuple[float, float]:
    """95 % of the ratios of sums, of clips drawn with replacement."""
    sums = np.array(clips)  # [clips, 2]
    rng = np.random.default_rng(np.random.SeedSequence([*b"bootstrap", seed]))
    drawn = sums[rng.integers(0, len(sums), (_ROUNDS, len(sums)))].sum(1)  # [rounds, 2]
    drawn = drawn[drawn[:, 1] > 0]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(low), float(high)


class Setting(NamedTuple):
    """A method, and what it comes to over some rows."""

    family: str
    setting: str
    total: Total


def cheapest(rows: Iterable[Row]) -> Setting | None:
    """The setting of fewest tokens that retains enough over all rows together; None: none does."""
    methods = grouped(rows, lambda row: row.method)
    every = (Setting(*method, total(own)) for method, own in methods.items())
    enough = [each for each in every if each.total.retention >= ENOUGH]
    return min(enough, key=lambda each: each.total.tokens, default=None)
