"""Work counted, not timed: floating-point operations of a tower, a multiply and an add as two.

With D features, C * P * P samples of a patch, per layer:

    patch embedding   2 C P P D                 per patch, once
    linear layers     ``Tower.layer_flops``     per token
    attention         4 D n                     per query of n keys (scores, weighted sum)
    pooling           ``Tower.pool_flops``

Layer norms, activations, softmax, the gate and copies are not counted.
"""

from dataclasses import dataclass

from patchgate.encoders.tower import Tower


@dataclass(frozen=True)
class Work:
    """What one call kept and computed."""

    frames: int  # T
    encoded_frames: int  # F: those that keep a cell
    cells: int  # T * N
    kept: int  # K
    dense_flops: float  # of the tower on all frames
    gated_flops: float  # of this call

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


def work(tower: Tower, frames: int, lengths: list[int]) -> Work:
    """Of ``frames`` frames of which those that keep a cell have segments of these lengths."""
    rows = tower.cells + tower.prefix
    kept = sum(lengths) - tower.prefix * len(lengths)
    dense = _encode(tower, [rows] * frames) + tower.pool_flops(frames, frames * rows, dense=True)
    gated = _encode(tower, lengths) + tower.pool_flops(len(lengths), sum(lengths), dense=False)
    return Work(frames, len(lengths), frames * tower.cells, kept, dense, gated)


def _encode(tower: Tower, lengths: list[int]) -> float:
    tokens, pairs = sum(lengths), sum(n * n for n in lengths)
    patches = tokens - tower.prefix * len(lengths)
    d = tower.weight.shape[0]
    layers = sum(tokens * tower.layer_flops(i) + 4.0 * d * pairs for i in range(tower.depth))
    return 2.0 * patches * tower.weight.numel() + layers
