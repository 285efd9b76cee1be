"""Qwen3-VL's vision tower on kept cells.

Letters: T tubelets, N cells of a frame, m merge side, R packed rows, E features of a cell.
"""

from typing import Any, Self

from torch import Tensor, nn

from patchgate._tensors import arange
from patchgate.encoders.families.qwen import QwenVision


class Qwen3Vision(QwenVision):
    """Qwen3-VL's tower: learned positions, which are resampled to the frame's grid, and deepstack.

    Deepstack: the outputs of some layers (the tapped ones) are merged, too, for the first layers of
    the language model. A cell's features are its merged output and then those of each tapped layer,
    ``[(1 + tapped layers) * E]``.
    """

    names = ("Qwen3VLVisionModel",)
    parts = (
        "pos_embed",
        "config.num_position_embeddings",
        "deepstack_visual_indexes",
        "deepstack_merger_list",
    )
    _near: tuple[Tensor, Tensor]  # learned positions and their weights, [N * m * m, 4] each

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        ways = [("interpolation_mode", "bilinear"), ("interpolation_align_corners", True)]
        for name, known in ways:
            if getattr(model, name, known) != known:
                raise ValueError(f"tower: expected {name}={known}, got {getattr(model, name)}")

    @property
    def tapped(self) -> tuple[int, ...]:
        return tuple(sorted(self.model.deepstack_visual_indexes))

    def sized(self, height: int, width: int) -> Self:
        tower = super().sized(height, width)
        tower._near = tower._interpolation()
        return tower

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        patches = super().embed(rows, cell)
        index, weight = (part[cell] for part in self._near)  # [R, 4] each
        learned = (self.model.pos_embed(index) * weight[..., None]).sum(1)
        return patches + learned.to(patches.dtype)

    def tap(self, layer: int, rows: Tensor) -> Tensor:
        number = list(self.model.deepstack_visual_indexes).index(layer)
        return self.model.deepstack_merger_list[number](rows)

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        """Makes Qwen2.5-VL's output and ``deepstack_features``, ``[T * N, E]`` per tapped layer."""
        from transformers.models.qwen3_vl.modeling_qwen3_vl import (
            BaseModelOutputWithDeepstackFeatures,
        )

        parts = 1 + len(self.model.deepstack_merger_list)
        merged, *deepstack = features.flatten(0, 1).chunk(parts, 1)
        return BaseModelOutputWithDeepstackFeatures(
            self.sequence(last), merged, self.sequences(states), deepstack_features=deepstack
        )

    def _interpolation(self) -> tuple[Tensor, Tensor]:
        """Computes which learned positions each patch mixes, and their weights.

        The square of learned positions is resized bilinearly to the grid, with aligned corners; in
        float32, as the model does whatever its dtype is.

        Returns:
            Indices, int64, and weights, float32, ``[N * m * m, 4]`` each.
        """
        side = int(self.model.config.num_position_embeddings**0.5)
        places = self.grid.places(self.weight.device)  # [N * m * m, 2]
        steps = places[-1].clamp(min=1)  # the last patch is the far corner
        at = places.float() * (side - 1) / steps  # [N * m * m, 2] in learned positions
        near = arange(2, device=at.device)  # the positions on either side
        index = (at.floor().long()[..., None] + near).clamp(max=side - 1)  # [N * m * m, 2, 2]
        weight = 1 - ((at - at.floor())[..., None] - near).abs()
        (rows, columns), (down, across) = index.unbind(1), weight.unbind(1)  # [N * m * m, 2]
        return (
            (rows[:, :, None] * side + columns[:, None]).flatten(1),
            (down[:, :, None] * across[:, None]).flatten(1),
        )
