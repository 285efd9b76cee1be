"""The ways in which frames of a video become what is shown of them.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w,
K tokens, E features of a cell, G cells that have rows.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.decode import FrameBatch
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.session import Session, later_ids
from patchgate.encoders.run.work import Work, work
from patchgate.gate import CHANGED, Gate
from patchgate.pipeline.features import GatedCells, PixelFeatures, TowerFeatures
from patchgate.tokens.chunk import HostResult, chunk_of
from patchgate.tokens.layout import layout_of
from patchgate.tokens.reconstruct import planes as rebuilt

_ALL = Fidelity(context="kept")  # of frames that keep every cell: the dense tower, and no more


class Part(NamedTuple):
    """Some frames of the video, one after the other."""

    batch: FrameBatch  # as decoded, in whole tubelets
    planes: Tensor  # [T * f, C, H, W] uint8, on the grid
    whole: Tensor  # what is shown if all of them are taken whole: [T, f, C, H, W] or [T, N, E]

    def at(self, index: Tensor) -> "Part":
        """Returns those frames (tubelets) whose numbers are in ``index``."""
        f = len(self.planes) // len(self.whole)
        each = (index[:, None] * f + arange(f)).flatten()  # frames
        y, cb, cr = (plane[each] for plane in self.batch.planes)
        times = (self.batch.pts_seconds[each], self.batch.duration_seconds[each])
        batch = FrameBatch((y, cb, cr), *times, self.batch.colour)
        whole = self.whole[index.to(self.whole.device)]
        return Part(batch, self.planes[each], whole)


class Way(Protocol):
    """A way from frames to what is shown of them. It keeps its state."""

    @property
    def tokens(self) -> int:
        """The tokens so far."""

    @property
    def work(self) -> float:
        """The work so far, in frames that are computed whole."""

    def push(self, part: Part) -> Tensor:
        """Takes the next frames; returns what is shown, in the form of ``Part.whole``."""


class Whole:
    """Every cell of every frame is a token."""

    def __init__(self, cells: int) -> None:
        self._cells, self.tokens, self.work = cells, 0, 0.0

    def push(self, part: Part) -> Tensor:
        self.tokens += len(part.whole) * self._cells
        self.work += len(part.whole)
        return part.whole


class Sampled:
    """Every k-th frame goes another way; the others show what the last of these showed."""

    def __init__(self, every: int, way: Way) -> None:
        self._every, self._way = every, way
        self._seen = 0  # frames
        self._last: Tensor | None = None  # [1, ...]: what the last frame shows

    @property
    def tokens(self) -> int:
        """The tokens of the frames that were taken."""
        return self._way.tokens

    @property
    def work(self) -> float:
        """The work of the frames that were taken."""
        return self._way.work

    def push(self, part: Part) -> Tensor:
        number = arange(len(part.whole)) + self._seen  # [T]
        taken = number % self._every == 0
        shown = [] if self._last is None else [self._last]
        if bool(taken.any()):
            shown.append(self._way.push(part.at(taken.nonzero().flatten())))
        table = torch.cat(shown)
        which = taken.cumsum(0) - int(self._last is None)  # [T]
        self._seen += len(number)
        self._last = table[-1:].clone()
        return table[which.to(table.device)]


class Pixels:
    """The gate's cells: those that are new are shown as they are, others as it explains them."""

    def __init__(self, gate: Gate) -> None:
        assert gate.size is not None
        self._gate, self._features = gate, PixelFeatures(gate.settings, gate.size)
        self._cells = math.prod(grid_of(gate))
        self._before: Tensor | None = None  # [f, C, H, W]: what the last frame shows
        self.tokens, self.work = 0, 0.0

    def push(self, part: Part) -> Tensor:
        found = self._gate.push(part.planes)
        f = len(part.planes) // len(found.kind)
        index = (found.kind == CHANGED).flatten().nonzero().flatten()  # [K]
        rows = self._features.rows(part.planes, part.batch, index)
        result = HostResult(index, found.source, found.kind, found.motion)
        times = part.batch.pts_seconds[::f], part.batch.duration_seconds[::f]
        layout = layout_of(self._gate, part.batch.colour.matrix)
        shown = rebuilt(chunk_of(rows, result, *times, 0), layout, self._before)
        pictures = shown.unflatten(0, (-1, f))  # [T, f, C, H, W]
        self._before = pictures[-1].clone()
        self.tokens += len(index)
        self.work += len(index) / self._cells
        return pictures


class Features:
    """The gate's cells through a tower: each cell shows its features, [T, N, E]."""

    def __init__(self, gate: Gate, tower: GatedTower, fidelity: Fidelity) -> None:
        assert gate.size is not None
        self._gate, self._features = gate, TowerFeatures(tower, gate.size, Session(fidelity))
        self.tokens, self.work = 0, 0.0

    def push(self, part: Part) -> Tensor:
        found = self._gate.push(part.planes)
        needed = self._features.needed(found.kind)
        rows = self._features.rows(part.planes, part.batch, needed.flatten().nonzero().flatten())
        gated = GatedCells(found.kind, found.source, needed, later_ids(self._gate))
        shown, done = _encoded(self._features, rows, gated)
        self.tokens += done.kept
        self.work += done.gated_flops / (done.dense_flops / done.frames)
        return shown


def whole_features(tower: GatedTower, gate: Gate, batch: FrameBatch, planes: Tensor) -> Tensor:
    """Returns the dense tower's features of frames, ``[T, N, E]``: every cell is computed.

    Args:
        gate: one of the frames' size.
        planes: ``[T * f, C, H, W]``, the same frames on its grid.
    """
    assert gate.size is not None
    features = TowerFeatures(tower, gate.size, Session(_ALL))
    h, w = grid_of(gate)
    shape = (len(planes) // gate.settings.temporal_patch, h, w)
    cells = arange(math.prod(shape))
    kind = torch.full(shape, CHANGED, dtype=torch.uint8, device="cpu")
    every = torch.ones(shape, dtype=torch.bool, device="cpu")
    rows = features.rows(planes, batch, cells)
    gated = GatedCells(kind, cells.view(shape), every, cells[:0])
    return _encoded(features, rows, gated)[0]


def grid_of(gate: Gate) -> tuple[int, int]:
    """Returns the cells of a frame, ``(h, w)``."""
    assert gate.size is not None
    return gate.size[0] // gate.settings.cell, gate.size[1] // gate.settings.cell


def _encoded(features: TowerFeatures, rows: Tensor, gated: GatedCells) -> tuple[Tensor, Work]:
    output = features.output(rows, gated, dense=True)
    tower = features.tower
    return output.states["features"][:, tower.prefix :], work(tower, output.runs)
