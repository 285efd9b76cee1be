"""Counts the floating-point operations of a tower; a multiply and an add are two.

D features of a token, C * P * P samples of a patch. The operations are:

    patch embedding   2 C P P D                 per patch
    positions         ``Tower.position_flops``  if a matrix product resizes them
    linear layers     ``Tower.layer_flops``     per token and layer
    attention         4 D n                     per query of n keys and layer
    pooling           ``Tower.pool_flops``

Layer norms, activations, softmax, the gate and copies are not counted.

Why are these formulas, and not ``torch.utils.flop_counter`` with our ops registered? That counts
what runs, by a dispatch mode. The mode takes longer than a call in which nothing changed.
``residual_attention`` and ``exchange`` get segments, whose lengths a formula would have to read
from the device. And the dense tower would have to run to be counted: on a copy of the model on the
meta device, again for every size of picture. Tests compare these formulas with that counter
(``tests/encoders/test_gated_families.py``).

Letters: T frames, M tokens of a frame, N cells, K kept ones, F frames that computed anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import torch

from patchgate.encoders.run import leaving
from patchgate.encoders.run.packed import Counts
from patchgate.encoders.tower import Tower


@dataclass(frozen=True)
class Work:
    """The cells that one call kept, and the operations that it took."""

    frames: int  # T
    encoded_frames: int  # F: those that computed a cell
    cells: int  # T * N
    kept: int  # K
    dense_flops: float  # operations of the dense tower on all frames
    gated_flops: float  # operations of this call

    @classmethod
    def total(cls, parts: Iterable[Work]) -> Work:
        """Returns the sum of several works."""
        return cls(*(sum(each) for each in zip(*map(astuple, parts), strict=True)))

    @property
    def kept_share(self) -> float:
        """Kept cells over all cells."""
        return self.kept / max(1, self.cells)

    @property
    def flops_ratio(self) -> float:
        """Dense operations over gated ones: the speed-up if all operations cost alike."""
        return self.dense_flops / max(1.0, self.gated_flops)

    def __str__(self) -> str:
        return (
            f"{self.kept_share:.2%} of {self.cells} cells kept, {self.encoded_frames} of "
            f"{self.frames} frames encoded, {self.gated_flops / 1e9:.2f} of "
            f"{self.dense_flops / 1e9:.2f} GFLOP"
        )


def work(tower: Tower, runs: list[Counts]) -> Work:
    """Counts the work of some runs. Synchronises."""
    active = torch.cat([run.active for run in runs])  # [T, M]
    (frames, tokens), d = active.shape, tower.weight.shape[0]
    patches = tower.cells * tower.tokens_per_cell
    patch = 2.0 * tower.weight.numel()
    dense = (
        leaving.pool_flops(tower, frames, frames * tokens, dense=True) + frames * patches * patch
    )
    dense += tower.position_flops(frames, dense=True)
    gated, encoded = 0.0, int(active.any(1).sum())
    for layer in range(tower.computed_layers):
        linear, pairs = tower.layer_flops(layer), frames * _pairs(tower, layer, tokens)
        dense += frames * tokens * linear + 4.0 * d * pairs
        gated += sum(run.tokens[layer] * linear + 4.0 * d * run.pairs[layer] for run in runs)
    gated += patch * sum(run.embedded for run in runs)
    gated += sum(tower.position_flops(len(run.active), dense=False) for run in runs)
    gated += leaving.pool_flops(tower, encoded, int(active.sum()), dense=False)
    kept = sum(run.kept for run in runs)
    return Work(frames, encoded, frames * tower.cells, kept, dense, gated)


def _pairs(tower: Tower, layer: int, tokens: int) -> int:
    """Returns the number of pairs of queries and keys in a dense frame."""
    window = tower.windows(layer)
    return tokens * tokens if window is None else int((window.bincount() ** 2).sum())
