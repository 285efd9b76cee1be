"""Qwen2.5-VL's vision tower on kept cells.

Letters: T tubelets, N cells of a frame, m merge side, D features.
"""

from typing import Self

from torch import Tensor

from patchgate.encoders.qwen import QwenVision


class Qwen25Vision(QwenVision):
    """Qwen2.5-VL: RMS norms, gated MLPs, and windows in all layers but a few."""

    names = ("Qwen2_5_VisionTransformerPretrainedModel",)
    parts = ("fullatt_block_indexes", "window_size")
    _window: Tensor  # [N * m * m] int64

    def sized(self, height: int, width: int) -> Self:
        tower = super().sized(height, width)
        tower._window = tower._window_numbers()
        return tower

    def windows(self, layer: int) -> Tensor | None:
        return None if layer in self.model.fullatt_block_indexes else self._window

    def sequence(self, state: Tensor | None) -> Tensor | None:
        """The tower lists the patches of a frame window after window."""
        if state is None:
            return None
        return state[:, self._window.argsort(stable=True)].flatten(0, 1)

    def _window_numbers(self) -> Tensor:
        """Windows are squares of cells; the last ones of a row or column may be smaller."""
        side = int(self.model.window_size) // (self.patch * self.merge)  # in cells
        row, column = (self.grid.places(self.weight.device) // (self.merge * side)).unbind(1)
        return row * -(-self.grid.w // side) + column
