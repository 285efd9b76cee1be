"""A gated tower that keeps its state between calls. Letters: T frames, N cells of a frame."""

from dataclasses import asdict

import torch
from torch import Tensor, nn

from patchgate.encoders.gated_tower import Frames, GatedTower
from patchgate.encoders.pixels import gate_planes
from patchgate.encoders.processor import PixelSpec
from patchgate.encoders.table import TokenTable
from patchgate.encoders.tower import Tower
from patchgate.gate import Gate
from patchgate.gate_settings import GateSettings


class TowerStream(GatedTower):
    """A gated tower that keeps its state between calls: the gate's, and the tokens that cells of
    later frames can still refer to. Gradients do not reach back into earlier calls.
    """

    def __init__(
        self, tower: nn.Module, family: Tower, spec: PixelSpec, settings: GateSettings
    ) -> None:
        super().__init__(tower, family, spec, settings)
        self.reset()

    def reset(self) -> None:
        """Forgets all frames."""
        self._stream_gate = Gate(**asdict(self.gate_settings))
        self._table: TokenTable | None = None

    def _call(self, pixel_values: Tensor, clips: list[int], hidden: list[str]) -> Frames:
        if len(clips) > 1:
            raise ValueError("clip_lengths: a stream is one clip; reset() it between clips")
        weight, table = self._family.weight, self._table
        if table is None:
            table = TokenTable.empty(self._family.prefix, weight.device)
        else:
            table.check_same(weight, hidden)
        planes = gate_planes(pixel_values, self.pixel_spec.mean, self.pixel_spec.std)
        result = self._stream_gate.push(planes)
        frames = self._show(pixel_values, result.kind, result.source.flatten(1), table, hidden)
        names = _nameable(self._stream_gate, result.source[-1])
        self._table = frames.table.pruned(names, frames.pooled, weight)
        return frames


def _nameable(gate: Gate, source: Tensor) -> Tensor:
    """Ids of the tokens that a later frame can name, ascending: those of the cells now, and those
    of single pixels of the reference, which motion can bring together.
    """
    assert gate.picture_ids is not None
    return torch.cat([gate.picture_ids.flatten().long(), source.flatten()]).unique()
