"""The features of tokens: the cells' own pixels, or a tower's features.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
G cells that have rows, D features of a token or of a frame, p cell side, P patch side.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from patchgate import _ops, grid
from patchgate._tensors import arange
from patchgate.decode.frames import Pictures
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run import leaving
from patchgate.encoders.run.clip import ClipOutput
from patchgate.encoders.run.packed import Kept
from patchgate.encoders.run.pooling import Pool
from patchgate.encoders.run.session import Session
from patchgate.encoders.run.together import Steps
from patchgate.gate import CHANGED, GateSettings
from patchgate.gate.calls import Undo
from patchgate.gate.longterm.turns import Turn
from patchgate.gather import PixelSpec, gather
from patchgate.grid import Placement

Stage = Callable[[str], AbstractContextManager[None]]


class GatedCells(NamedTuple):
    """The part of the gate's result for a chunk that features need."""

    kind: Tensor  # [T, h, w] uint8
    source: Tensor  # [T, h, w] int64
    needed: Tensor  # [T, h, w] bool: the cells that have rows, see ``Features.needed``
    later_ids: Tensor  # integers: tokens that frames after these may name
    turns: tuple[Turn, ...] = ()  # of a gate with memory, by the frames of the chunk


class Features(Protocol):
    """Brings frames to the gate's grid, and makes features of the cells that are kept."""

    def to_grid(self, batch: Pictures) -> Tensor:
        """Resizes frames to the grid on which the gate compares them: uint8 ``[T, 3, H, W]``."""

    def empty(self) -> Tensor:
        """Returns the features of no cells, ``[0, D]``."""

    def still(self, source: Tensor) -> bool:
        """Whether frames in which the gate keeps and moves no cell need nothing computed.

        If so, they are noted, and neither ``needed`` nor ``encoding`` is called for them.

        Args:
            source: ``[T, h, w]`` int64: the token that explains each cell.
        """

    def needed(self, kind: Tensor) -> Tensor:
        """Returns the cells whose rows ``encoding`` needs, ``[T, h, w]`` bool: those that are kept,
        or those that a tower computes. Call it once for each frame, in order.

        Args:
            kind: ``[T, h, w]`` uint8.
        """

    def rows(self, planes: Tensor, batch: Pictures, cells: Tensor) -> Tensor:
        """Takes from the frames what each cell needs, ``[K, E]``; then frames may be freed.

        Args:
            planes: ``[T * f, C, H, W]``, as the gate compared them.
            batch: the same frames; the last of the last tubelet may be missing.
            cells: ``[K]`` int64, flat over ``[T, h, w]``. Rows of negative cells have no meaning.
        """

    def mark(self) -> Undo:
        """Notes what is remembered of earlier frames. Calling what this returns brings it back."""

    def encoding(self, rows: Tensor, gated: GatedCells, stage: Stage) -> Steps[Tensor]:
        """Makes the features ``[K, D]`` of the kept cells, of rows ``[G, E]`` of those needed.

        It does so in steps, which ``alone`` computes, or ``together`` with those of other videos;
        without gradients.
        """


class PixelFeatures:
    """The cells' own samples on the grid: Y, then Cb and Cr, frame after frame; uint8."""

    def __init__(
        self,
        settings: GateSettings,
        size: tuple[int, int],
        device: torch.device | None = None,
        spec: PixelSpec | None = None,
    ) -> None:
        """Begins a video.

        Args:
            settings, size: the gate's.
            device: the device of the frames; None: the CPU.
            spec: places pictures on the grid as a tower's processor does; None: as ``fit`` says.
        """
        self._settings, self._size, self._spec = settings, size, spec
        self._device = torch.device("cpu") if device is None else device

    def place(self, height: int, width: int) -> tuple[Placement, Placement]:
        """Returns where a picture of this size lies on the grid, down and across."""
        if self._spec is not None:
            return self._spec.place(height, width)
        return grid.fitted((height, width), self._size, self._settings.fit)

    def to_grid(self, batch: Pictures) -> Tensor:
        return grid.placed_grid(batch, self.place(batch.height, batch.width))

    def empty(self) -> Tensor:
        width = self._settings.temporal_patch * 3 * self._settings.cell**2
        return torch.empty((0, width), dtype=torch.uint8, device=self._device)

    def still(self, source: Tensor) -> bool:
        return True

    def needed(self, kind: Tensor) -> Tensor:
        return kind == CHANGED

    def rows(self, planes: Tensor, batch: Pictures, cells: Tensor) -> Tensor:
        # ``planes`` is read as a table of rows of p samples, so that ``expand`` can copy them.
        p, (_, c, height, width) = self._settings.cell, planes.shape
        h, w = height // p, width // p
        per_plane = height * w  # runs; a row of pixels has w of them
        per_cell = self._settings.temporal_patch * c  # planes
        plane, run = (arange(n, device=planes.device) for n in (per_cell, p))
        within = plane[:, None] * per_plane + run * w  # [f * C, p]
        index = cells.clamp(min=0)
        frame, row, column = index // (h * w), index // w % h, index % w  # [K] each
        start = frame * (per_cell * per_plane) + row * (p * w) + column  # [K]
        return _ops.expand(planes.view(-1, p), start[:, None, None] + within).flatten(1)

    def mark(self) -> Undo:
        return lambda: None  # nothing is remembered

    def encoding(self, rows: Tensor, gated: GatedCells, stage: Stage) -> Steps[Tensor]:
        return rows
        yield  # it takes no step


class TowerFeatures:
    """A gated tower's last hidden states of the cells, in the frames that kept them.

    One instance serves one video: later chunks use what it remembers of earlier ones.
    """

    def __init__(
        self, gated: GatedTower, size: tuple[int, int], session: Session | None = None
    ) -> None:
        """Begins a video, or goes on with one.

        Args:
            gated: the tower.
            size: ``(H, W)``, the size of the tower's frames in pixels.
            session: what is remembered of earlier frames, without a gate; None: there are none.
        """
        self._spec, self.tower = gated.pixel_spec, gated.sized(*size)
        self._placed: tuple[tuple[int, int], tuple[Placement, Placement]] | None = None
        self.session = session or Session(gated.fidelity)

    def to_grid(self, batch: Pictures) -> Tensor:
        size = batch.height, batch.width
        if self._placed is None or self._placed[0] != size:
            self._placed = size, self._spec.place(*size)
        return grid.placed_grid(batch, self._placed[1])

    def empty(self) -> Tensor:
        return self.tower.weight.new_empty((0, self.tower.width))

    def still(self, source: Tensor) -> bool:
        return self.session.still(self.tower, source.flatten(1))

    def needed(self, kind: Tensor) -> Tensor:
        return self.session.computed(kind.flatten(1)).view_as(kind)

    def rows(self, planes: Tensor, batch: Pictures, cells: Tensor) -> Tensor:
        spec = self._spec
        if not len(cells):
            width = 3 * spec.temporal_patch * spec.cell**2
            return torch.empty((0, width), dtype=torch.float32, device=batch.planes[0].device)
        wanted = self.tower.weight.dtype
        # Rounded at once to the tower's dtype: the numbers are the same, in half the memory.
        dtype = wanted if wanted in (torch.float16, torch.bfloat16) else torch.float32
        rows = gather(batch, cells, spec, dtype)  # [K * m * m, 3 * f * P * P]
        return rows.view(len(cells), spec.merge**2 * rows.shape[1])

    def mark(self) -> Undo:
        return self.session.mark()

    def encoding(self, rows: Tensor, gated: GatedCells, stage: Stage) -> Steps[Tensor]:
        with stage("encode"):
            if self.session.stands_still(self.tower, len(rows), gated.source.flatten(1)):
                return self.empty()
            return (yield from self.outputs(rows, gated, dense=False)).kept

    def outputs(
        self, rows: Tensor, gated: GatedCells, dense: bool, pool: Pool | None = None
    ) -> Steps[ClipOutput]:
        """Encodes as ``encoding`` does, and returns all that the tower gives.

        Args:
            dense: True also gives the features that every cell shows.
            pool: how to make one vector of each frame; None: none is made.
        """
        weight = self.tower.weight
        if self.session.memory is not None:
            self.session.memory.check_same(self.tower, [])
        patches = rows.unflatten(1, (self._spec.merge**2, -1)).flatten(0, 1)
        mask = gated.kind == CHANGED
        cells = (mask, gated.source, gated.needed)
        mask, source, needed = (each.flatten(1).to(weight.device) for each in cells)  # [T, N]
        patches = patches.to(weight.device, weight.dtype)
        kept = Kept(patches, mask, source, needed, int(mask.sum()), gated.turns)
        later = gated.later_ids.to(weight.device)
        return (yield from self.session.encoding(self.tower, kept, [], later, dense, pool))


class FrameVectors(TowerFeatures):
    """A gated tower's vector of each frame; tokens have no features, ``[K, 0]``.

    Attributes:
        vectors: ``[T, D]``, those of the frames that ``encoding`` got last.
    """

    def __init__(
        self, gated: GatedTower, size: tuple[int, int], pool: Pool, tolerance: float | None = None
    ) -> None:
        """Begins a video.

        Args:
            gated, size: as of ``TowerFeatures``.
            pool: one that the tower has; see ``leaving.pools``.
            tolerance: see ``Fidelity.for_vectors``.

        Raises:
            ValueError, TypeError: the tolerance is none, or the tower has no use for one.
        """
        super().__init__(gated, size, Session(gated.fidelity.for_vectors(tolerance)))
        self.pool: Pool = pool
        self.vectors = self.no_vectors()

    def no_vectors(self) -> Tensor:
        """Returns the vectors of no frames, ``[0, D]``."""
        tower, pooled = self.tower, None
        like = tower.weight.new_zeros((1, tower.prefix + tower.cells, tower.width))
        with torch.no_grad():
            if self.pool == "pooled":
                entry = leaving.pool_entry(tower, like[0])
                scores = None if entry is None else entry[None]
                pooled = leaving.pooled(tower, like, scores, [0])
        # Tapped layers give tokens more features, not frames.
        width = tower.width // (1 + len(tower.tapped)) if pooled is None else pooled.shape[1]
        return tower.weight.new_empty((0, width))

    def empty(self) -> Tensor:
        return self.tower.weight.new_empty((0, 0))

    def still(self, source: Tensor) -> bool:
        return False  # a vector is made of every frame

    def encoding(self, rows: Tensor, gated: GatedCells, stage: Stage) -> Steps[Tensor]:
        with stage("encode"):
            output = yield from self.outputs(rows, gated, dense=False, pool=self.pool)
        assert output.pooled is not None
        self.vectors = output.pooled
        return self.vectors.new_empty((int((gated.kind == CHANGED).sum()), 0))
