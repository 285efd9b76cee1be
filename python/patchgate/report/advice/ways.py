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
from patchgate.encoders.run.session import Session
from patchgate.encoders.run.together import Steps, alone
from patchgate.encoders.run.work import Work, work
from patchgate.gate import CHANGED, Gate
from patchgate.pipeline.chunker import Chunker
from patchgate.pipeline.features import GatedCells, PixelFeatures, Stage, TowerFeatures
from patchgate.pipeline.stages import StageSeconds
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
        self._chunker = Chunker(gate, PixelFeatures(gate.settings, gate.size))
        self._cells = math.prod(grid_of(gate))
        self._before: Tensor | None = None  # [f, C, H, W]: what the last frame shows
        self.tokens, self.work = 0, 0.0

    def push(self, part: Part) -> Tensor:
        chunk = self._chunker.push_planes(part.batch, part.planes)
        layout = layout_of(self._chunker.gate, part.batch.colour.matrix)
        shown = rebuilt(chunk, layout, self._before)
        pictures = shown.unflatten(0, (len(chunk.kind), -1))  # [T, f, C, H, W]
        self._before = pictures[-1].clone()
        self.tokens += len(chunk.features)
        self.work += len(chunk.features) / self._cells
        return pictures


class Features:
    """The gate's cells through a tower: each cell shows its features, [T, N, E]."""

    def __init__(self, gate: Gate, tower: GatedTower, fidelity: Fidelity) -> None:
        assert gate.size is not None
        self._features = _Shown(tower, gate.size, Session(fidelity))
        self._chunker = Chunker(gate, self._features)
        self.tokens, self.work = 0, 0.0

    def push(self, part: Part) -> Tensor:
        chunk = self._chunker.push_planes(part.batch, part.planes)
        done = self._features.done
        self.tokens += len(chunk.features)
        self.work += done.gated_flops / (done.dense_flops / done.frames)
        return self._features.shown


class _Shown(TowerFeatures):
    """A tower's features, with what every cell shows.

    Attributes:
        shown: ``[T, N, E]``, of the frames that ``encoding`` got last.
        done: the work on them.
    """

    shown: Tensor
    done: Work

    def still(self, source: Tensor) -> bool:
        return False  # what every cell of every frame shows is wanted

    def encoding(self, rows: Tensor, gated: GatedCells, stage: Stage) -> Steps[Tensor]:
        output = yield from self.outputs(rows, gated, dense=True)
        self.shown = output.states["features"][:, self.tower.prefix :]
        self.done = work(self.tower, output.runs)
        return output.kept


def whole_features(tower: GatedTower, gate: Gate, batch: FrameBatch, planes: Tensor) -> Tensor:
    """Returns the dense tower's features of frames, ``[T, N, E]``: every cell is computed.

    Args:
        gate: one of the frames' size.
        planes: ``[T * f, C, H, W]``, the same frames on its grid.
    """
    assert gate.size is not None
    features = _Shown(tower, gate.size, Session(_ALL))
    h, w = grid_of(gate)
    shape = (len(planes) // gate.settings.temporal_patch, h, w)
    cells = arange(math.prod(shape))
    kind = torch.full(shape, CHANGED, dtype=torch.uint8, device="cpu")
    every = torch.ones(shape, dtype=torch.bool, device="cpu")
    rows = features.rows(planes, batch, cells)
    gated = GatedCells(kind, cells.view(shape), every, cells[:0])
    with torch.no_grad():
        alone(features.encoding(rows, gated, StageSeconds().time))
    return features.shown


def grid_of(gate: Gate) -> tuple[int, int]:
    """Returns the cells of a frame, ``(h, w)``."""
    assert gate.size is not None
    return gate.size[0] // gate.settings.cell, gate.size[1] // gate.settings.cell
