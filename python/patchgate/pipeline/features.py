"""What a token's features are: the cell's own pixels, or what a tower makes of them.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
D features, p cell side, P patch side.
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
from patchgate.gate import GateSettings
from patchgate.gather import gather

Stage = Callable[[str], AbstractContextManager[None]]


class KeptCells(NamedTuple):
    """What the gate says of a chunk, as far as features need it."""

    cells: Tensor  # [K] int64, flat over [T, h, w]
    cu_seqlens: Tensor  # [T + 1]
    source: Tensor  # [T, h, w] int64
    names: Tensor  # int64: ids that frames after these may name, beside those of the last one


class Features(Protocol):
    """How frames are looked at, and what becomes of the cells that are kept."""

    def look(self, batch: Pictures) -> Tensor:
        """The frames as the gate compares them, uint8 ``[T, 3, H, W]``."""

    def empty(self) -> Tensor:
        """Features of no cells, ``[0, D]``."""

    def rows(self, planes: Tensor, batch: Pictures, cells: Tensor) -> Tensor:
        """What is taken of the frames for each cell, ``[K, E]``: after this they may go.

        Args:
            planes: ``[T * f, C, H, W]``, as the gate compared them.
            batch: the same frames; the last of the last tubelet may be missing.
            cells: ``[K]`` int64, flat over ``[T, h, w]``; rows of negative ones mean nothing.
        """

    def of(self, rows: Tensor, kept: KeptCells, stage: Stage) -> Tensor:
        """The kept cells' features, ``[K, D]``, of their rows ``[K, E]``."""


class PixelFeatures:
    """The cells' own samples on the grid: Y, then Cb and Cr, frame after frame; uint8."""

    def __init__(
        self,
        settings: GateSettings,
        size: tuple[int, int],
        device: torch.device | None = None,
    ) -> None:
        """``device``: of the frames; None: the CPU."""
        self._settings, self._size = settings, size
        self._device = torch.device("cpu") if device is None else device

    def look(self, batch: Pictures) -> Tensor:
        return grid.to_grid(batch, self._size, self._settings.fit)

    def empty(self) -> Tensor:
        width = self._settings.temporal_patch * 3 * self._settings.cell**2
        return torch.empty((0, width), dtype=torch.uint8, device=self._device)

    def rows(self, planes: Tensor, batch: Pictures, cells: Tensor) -> Tensor:
        # Copied in runs of p samples: seen so, `planes` is a table of rows, this an expansion.
        p, (_, c, height, width) = self._settings.cell, planes.shape
        h, w = height // p, width // p
        per_plane = height * w  # runs; a row of pixels has w of them
        per_cell = self._settings.temporal_patch * c  # planes
        plane, run = (arange(n, device=planes.device) for n in (per_cell, p))
        within = plane[:, None] * per_plane + run * w  # [., p]
        index = cells.clamp(min=0)
        frame, row, column = index // (h * w), index // w % h, index % w  # [K] each
        start = frame * (per_cell * per_plane) + row * (p * w) + column  # [K]
        return _ops.expand(planes.view(-1, p), start[:, None, None] + within).flatten(1)

    def of(self, rows: Tensor, kept: KeptCells, stage: Stage) -> Tensor:
        return rows


class TowerFeatures:
    """What a gated tower makes of the cells: its last hidden states in the frames that kept them.

    One video: what is remembered of earlier chunks serves later ones.
    """

    def __init__(self, tower: GatedTower, size: tuple[int, int]) -> None:
        """``size``: ``(H, W)`` of the tower's frames in pixels."""
        self._tower, self._size = tower.stream(), size

    def look(self, batch: Pictures) -> Tensor:
        return grid.placed_grid(batch, self._tower.pixel_spec.place(batch.height, batch.width))

    def empty(self) -> Tensor:
        weight, spec = next(self._tower.parameters()), self._tower.pixel_spec
        none = torch.zeros(1, dtype=torch.int64, device=weight.device)
        rows = weight.new_empty((0, 3 * spec.temporal_patch * spec.patch**2))
        cells = [side // spec.cell for side in self._size]
        return self._tower.encode(rows, none[:0], none, none.new_empty((0, *cells)))

    def rows(self, planes: Tensor, batch: Pictures, cells: Tensor) -> Tensor:
        spec, wanted = self._tower.pixel_spec, next(self._tower.parameters()).dtype
        # Rounded once, to what the tower takes: the same numbers, and half the memory.
        dtype = wanted if wanted in (torch.float16, torch.bfloat16) else torch.float32
        rows = gather(batch, cells, spec, dtype)  # [K * m * m, 3 * f * P * P]
        return rows.view(len(cells), spec.merge**2 * rows.shape[1])

    def of(self, rows: Tensor, kept: KeptCells, stage: Stage) -> Tensor:
        rows = rows.unflatten(1, (self._tower.pixel_spec.merge**2, -1)).flatten(0, 1)
        h, w = kept.source.shape[1:]
        weight = next(self._tower.parameters())
        with stage("encode"), torch.no_grad():
            return self._tower.encode(
                rows.to(weight.device, weight.dtype),
                (kept.cells % (h * w)).to(weight.device),
                kept.cu_seqlens.to(weight.device),
                kept.source.to(weight.device),
                kept.names.to(weight.device),
            )
