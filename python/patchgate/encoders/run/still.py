"""A run of frames in which no cell is new or moved: they show what the frame before showed.

Letters: T frames, M tokens of a frame.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import LayerMemory, Memory
from patchgate.encoders.run.packed import Counts, Encoded, Kept, Table
from patchgate.encoders.tower import Tower


def stand_still(fidelity: Fidelity, memory: Memory, rows: int, source: Tensor) -> bool:
    """Whether no frame keeps a cell, moves one or may be due for a refresh. Synchronises.

    Args:
        rows: how many cells have rows.
        source: ``[T, N]`` int64: the token that explains each cell.
    """
    if memory.source is None or rows or fidelity.refresh is not None:
        return False
    return bool((source == memory.source).all())


@dataclass
class Still:
    """Takes the place of a ``Run`` for such frames, and enters no layer."""

    tower: Tower
    fidelity: Fidelity
    memory: Memory
    kept: Kept

    def encode(self, hidden: list[int]) -> Encoded:
        """Does what ``Run.steps`` does, in no step."""
        each, outputs = self.tower.tokens_per_cell, self.memory.outputs
        units = self.tower.prefix + self.tower.cells
        tokens = self.tower.prefix + self.tower.cells * each
        tables = {name: self._last("rows", known, units) for name, known in outputs.items()}
        for name in outputs["features"].tables.keys() - {"rows"}:
            tables[name] = self._last(name, outputs["features"], units)
        for i in hidden:
            tables[f"hidden_{i}"] = self._last("x", self.memory.layers[i], tokens)
        mask = self.kept.mask
        active = torch.zeros((len(mask), tokens), dtype=torch.bool, device=mask.device)
        nothing = [0] * self.tower.computed_layers
        return Encoded(tables, Counts(active, 0, 0, nothing, nothing))

    def remembered(self, named: Tensor) -> Memory:
        """Does what ``Run.remembered`` does, but forgets nothing: the next ``Run`` will."""
        return replace(self.memory, frames=self.memory.frames + len(self.kept.mask))

    def _last(self, table: str, known: LayerMemory, tokens: int) -> Table:
        """Shows in every frame what the last frame showed: its slots are the first remembered."""
        return Table(known.tables[table], known.row[:tokens].expand(len(self.kept.mask), -1))
