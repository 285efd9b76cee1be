"""One vector a frame: its pooled output, its CLS, or the mean over its cells.

If nothing but the prefix tokens is pooled, the last layer is computed for these alone: its other
tokens lend keys and values. The vector stays the same, but for rounding.

Letters: T frames, N cells, M tokens of a frame, A active tokens of all frames, F frames that are
pooled, E features of a cell, D features of a vector, n numbers for pooling.
"""

from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor

from patchgate import _ops
from patchgate._tensors import arange
from patchgate.encoders.run import leaving
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.packed import Encoded
from patchgate.encoders.tower import Tower

Pool = Literal["cls", "pooled", "mean"]


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a run; by default the states of all tokens."""

    prefix_only: bool = False  # nothing but the prefix tokens' last states

    @classmethod
    def of(cls, tower: Tower, pool: Pool | None) -> Self:
        """``pool``: how to make a vector of a frame; None: the states are wanted."""
        return cls(pool == "cls" or (pool == "pooled" and tower.pools_prefix))

    def fidelity(self, tower: Tower, given: Fidelity) -> Fidelity:
        """Returns the settings of such runs: nobody sees who wakes in the last layer."""
        if not self.prefix_only or given.context == "kept":
            return given
        below, limit = tower.computed_layers - 1, given.tolerance_layers
        return replace(given, tolerance_layers=below if limit is None else min(limit, below))

    def asking(self, tower: Tower, layer: int, active: Tensor) -> tuple[Tensor, Tensor | slice]:
        """Returns the tokens that attend in a layer and leave it, and which of all active these
        are: ``[T, M]`` bool, and ``[A]`` bool or a slice.

        Args:
            active: ``[T, M]`` bool: those that enter the layer.
        """
        if not self.prefix_only or layer + 1 < tower.computed_layers:
            return active, slice(None)
        asking = active.clone()
        asking[:, tower.prefix :] = False
        return asking, asking[active]


STATES = Wanted()


def vectors(tower: Tower, encoded: Encoded, pool: Pool, before: Tensor | None) -> Tensor:
    """Makes a vector of each frame of a run, ``[T, D]``: of the states that the frame shows.

    Args:
        before: ``[1, D]``, the pooled output of the last frame before that computed anything; None
            if there is none, or with another pool.
    """
    table = encoded.tables["features"]  # without those of tapped layers
    if pool == "cls":
        return table.rows[table.shown[:, 0]]
    if pool == "mean":
        cells = table.shown[:, tower.prefix :]  # [T, N]
        first = torch.ones(1, dtype=torch.bool, device=cells.device)
        # Cells may have moved in a frame that computed nothing.
        other = torch.cat([first, (cells[1:] != cells[:-1]).any(1)])  # [T]
        frames = (other | encoded.counts.active.any(1)).nonzero().flatten()  # [F]
        means = _ops.expand(table.rows, cells[frames]).mean(1)  # [F, E]
        every = arange(len(cells), device=frames.device)
        which = torch.searchsorted(frames, every, right=True) - 1  # [T]
        return means[which]
    found = pooled(tower, encoded, before)
    assert found is not None  # ``leaving.pools`` was asked before
    return found


def pooled(
    tower: Tower, encoded: Encoded, before: Tensor | None, dense: Tensor | None = None
) -> Tensor | None:
    """Makes the tower's pooled output of each frame of a run, ``[T, D]``; None: it has none.

    A frame that computed nothing repeats that of the frame before. Only frames that computed
    anything are pooled.

    Args:
        before: ``[1, D]``, the pooled output of the last frame before that computed anything.
        dense: ``[T, prefix + N, E]``, the features that all frames show, if they are there.
    """
    computed = encoded.counts.active.any(1)  # [T]
    frames = computed.nonzero().flatten()  # [F]
    new = None
    if len(frames) and leaving.pools(tower):
        table, entry = encoded.tables["features"], encoded.tables.get("pool")
        scores = None if entry is None else _ops.expand(entry.rows, entry.shown[frames])
        # scores: [F, prefix + N, n]
        if dense is None:
            shown = table.shown[frames]
            shown = shown[:, : tower.prefix] if tower.pools_prefix else shown
            dense, numbers = _ops.expand(table.rows, shown), list(range(len(frames)))
        else:
            numbers = frames.tolist()
        new = leaving.pooled(tower, dense, scores, numbers)
    last = computed.cumsum(0) - 1  # [T]: which of the F; -1: one of an earlier run
    if new is None:
        return None if before is None else before.expand(len(last), -1).clone()
    return new[last] if before is None else torch.cat([before.to(new.dtype), new])[last + 1]
