"""InternVL's vision tower on kept cells.

Letters: R packed rows, N patches of a frame, H heads, d features of a head, D features.
"""

from typing import Any, Self

from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.families.vit import VitLike

_FACTORS = ("lambda_1", "lambda_2")


class InternVL(VitLike):
    """``InternVLVisionModel``: pictures of any size, perhaps norms over all heads together.

    Positions, if it has them, are resized by the model itself.
    """

    names = ("InternVLVisionModel",)
    layers, output_projection, scaling = "encoder.layer", "projection_layer", "scale"
    attention_calls = ("q_proj", "k_proj", "v_proj", "q_norm", "k_norm", "projection_layer")
    attention_others = ("projection_dropout",)
    called = (
        "embeddings.patch_embeddings",
        *(f"encoder.layer.*.{part}" for part in ("layernorm_before", "layernorm_after", "mlp")),
        *(f"encoder.layer.*.attention.{part}" for part in attention_calls),
        "layernorm",
    )

    def __init__(self, model: nn.Module) -> None:
        self._size: tuple[int, int] | None = None
        super().__init__(model)
        structure.check_parts(model, ("embeddings.interpolate_pos_encoding",))
        for i in range(self.depth):
            structure.check_parts(model, _FACTORS, f"{self.layers}.{i}")

    @property
    def size(self) -> tuple[int, int]:
        return self._size or super().size

    def sized(self, height: int, width: int) -> Self:
        if min(height, width) < self.patch:
            raise ValueError(
                f"pixel_values: {height} x {width} hold no whole patch of {self.patch} pixels"
            )
        tower = self.copied()
        tower._size = height, width
        return tower

    def positions(self) -> Tensor:
        embeddings = self.model.embeddings
        shape_only = self.weight.new_empty((0, 1 + self.cells, len(self.weight)))
        if embeddings.position_embeddings is None:
            return shape_only.new_zeros(shape_only.shape[1:])
        positions: Tensor = embeddings.interpolate_pos_encoding(shape_only, *self.size)[0]
        return positions

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.layer(layer)
        x, attention = block.layernorm_before(x), block.attention
        value = attention.v_proj(x)
        # [R, H * d]: normed over all heads. Under autocast the norms give a wider dtype.
        query = attention.q_norm(attention.q_proj(x)).to(value.dtype)
        key = attention.k_norm(attention.k_proj(x)).to(value.dtype)
        query, key, value = (
            each.unflatten(1, (-1, attention.head_dim)) for each in (query, key, value)
        )
        return query, key, value

    def projections(self, layer: int) -> tuple[nn.Module | Tensor, ...]:
        return (*super().projections(layer), self.layer(layer).lambda_1)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.layer(layer)
        x = x + self.added(layer, attended)
        return x + block.lambda_2 * block.mlp(block.layernorm_after(x))

    def output(
        self, features: Tensor, pooled: Tensor | None, states: Any, last: Tensor | None = None
    ) -> Any:
        from transformers.models.internvl.modeling_internvl import (
            InternVLVisionModelOutputWithPooling,
        )

        return InternVLVisionModelOutputWithPooling(features, pooled, states)

    def check_mode(self) -> None:
        super().check_mode()
        for block in structure.part(self.model, self.layers):
            dropout = block.attention.projection_dropout
            structure.check_off(dropout, "projection dropout", getattr(dropout, "p", 0.0))
