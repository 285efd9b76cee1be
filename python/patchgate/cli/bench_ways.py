"""The ways from decoded frames to a tower's input or features, for ``patchgate bench``.

Every cell, and the cells that the gate keeps. Both convert and resize by one op.

Letters: T frames (or tubelets), f frames of a tubelet, N cells of a frame, K kept cells, m merge
side, C channels, P patch side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from patchgate import _ops, grid
from patchgate._tensors import arange
from patchgate.decode import FrameBatch
from patchgate.gate import Gate
from patchgate.gather import PixelSpec, gather
from patchgate.gather.resize import ShortestEdge, SizeRule, Stretch
from patchgate.pipeline import StageSeconds

EVERY_CELL = "every cell"
_MEAN = _STD = (0.5, 0.5, 0.5)  # SigLIP's


class Way(Protocol):
    """One way from decoded frames to a tower's input or features. It keeps its state."""

    def push(self, batch: FrameBatch, stages: StageSeconds) -> int:
        """Takes the next frames, and returns how many tokens they became."""
        ...


@dataclass
class _EveryCell:
    """The way of all cells; with a tower, it is the tower's own call."""

    spec: PixelSpec
    model: Any

    def push(self, batch: FrameBatch, stages: StageSeconds) -> int:
        with stages.time("gather"):
            rows = _all_rows(batch, self.spec)  # [T, N, ...]
        if self.model is not None:
            with stages.time("encode"):
                h, w = self.spec.cells(batch.height, batch.width)
                p = self.spec.patch
                cut = rows.view(-1, h, w, 3, p, p).permute(0, 3, 1, 4, 2, 5)
                self.model(cut.reshape(-1, 3, h * p, w * p))
        return rows.shape[0] * rows.shape[1]


@dataclass
class _Gated:
    """The way of the cells that the gate keeps."""

    spec: PixelSpec
    gate: Gate
    tower: Any  # a stream

    def push(self, batch: FrameBatch, stages: StageSeconds) -> int:
        with stages.time("grid"):
            planes = grid.placed_grid(batch, self.spec.place(batch.height, batch.width))
        with stages.time("gate"):
            found = self.gate.push(planes)
        with stages.time("compact"):
            index, cu_seqlens, count = _ops.compact(found.kind, found.kind.numel())
            index = index[: int(count)]  # [K]
        with stages.time("gather"):
            rows = gather(batch, index, self.spec)
        if self.tower is not None:
            with stages.time("encode"):
                names = self.gate.picture_ids
                assert names is not None
                cell = index % found.kind[0].numel()
                self.tower.encode(rows, cell, cu_seqlens, found.source, names.flatten().long())
        return len(index)


def _all_rows(batch: FrameBatch, spec: PixelSpec) -> Tensor:
    """Makes the patch rows of whole frames, ``[T, N, m * m * C * f * P * P]``."""
    h, w = spec.cells(batch.height, batch.width)
    tubelets = len(batch) // spec.temporal_patch
    return gather(batch, arange(tubelets * h * w), spec).view(tubelets, h * w, -1)


def ways_of(gate: Gate, model: Any, tolerance: float) -> dict[str, Callable[[], Way]]:
    """Returns the ways by name; each call of one begins a new stream."""
    settings = gate.settings
    assert gate.size is not None
    patches = (settings.patch, settings.merge, settings.temporal_patch)
    size: SizeRule = Stretch(*gate.size)
    if settings.fit == "crop":
        if gate.size[0] != gate.size[1]:
            raise ValueError(f"--fit crop: bench takes a square --size, got {gate.size}")
        size = ShortestEdge(gate.size[0])
    spec = PixelSpec(size, _MEAN, _STD, *patches, crop=gate.size)
    if model is None:
        return {
            EVERY_CELL: lambda: _EveryCell(spec, None),
            "patchgate": lambda: _Gated(spec, gate.fresh(), None),
        }
    from patchgate.encoders.gated import gated

    kept = gated(model, mean=_MEAN, std=_STD, context="kept")
    full = gated(model, mean=_MEAN, std=_STD, tolerance=tolerance)
    return {
        EVERY_CELL: lambda: _EveryCell(spec, model),
        "patchgate, kept cells only": lambda: _Gated(spec, gate.fresh(), kept.stream()),
        "patchgate": lambda: _Gated(spec, gate.fresh(), full.stream()),
    }
