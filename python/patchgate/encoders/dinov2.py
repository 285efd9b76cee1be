"""DINOv2's towers on kept cells, with and without registers.

Letters: K kept patches, R packed rows, N patches of a frame, H heads, d features of a head,
D features, H W pixels where they are a picture's.
"""

import copy
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from patchgate.encoders import structure
from patchgate.encoders.tower import Tower

LAYER_CALLS = (
    "norm1",
    "attention.q_proj",
    "attention.k_proj",
    "attention.v_proj",
    "attention.o_proj",
    "layer_scale1",
    "norm2",
    "mlp",
    "layer_scale2",
)
_LAYER_PARTS = (*LAYER_CALLS, "attention.head_dim", "attention.scaling")
_LAYER = ("norm1", "attention", "layer_scale1", "drop_path", "norm2", "mlp", "layer_scale2")
_ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


class Dino(Tower):
    """What DINOv2 and DINOv3 share: CLS and registers, scaled residuals, pictures of any size."""

    parts: ClassVar[tuple[str, ...]]  # attributes that the family's own code uses
    layers: ClassVar[str]  # path of the list of layers
    norm: ClassVar[str]  # path of the last layer norm
    dropout: ClassVar[str]  # attribute of an attention module

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._size: tuple[int, int] | None = None
        structure.check_parts(model, ("config.image_size", "config.patch_size", *self.parts))
        structure.check_parts(model, (self.layers, self.norm))
        for i in range(self.depth):
            layer = f"{self.layers}.{i}"
            structure.check_parts(model, (*_LAYER_PARTS, f"attention.{self.dropout}"), layer)
            structure.check_children(model, layer, _LAYER)
            structure.check_children(model, f"{layer}.attention", _ATTENTION)
        structure.check_patches(self.projection, self.patch)
        if not self.cells:
            raise ValueError(
                f"tower: image_size={self.size[0]} holds no whole patch of {self.patch} pixels"
            )

    @property
    def patch(self) -> int:
        return structure.side_of(self.model.config.patch_size, "patch_size")

    @property
    def size(self) -> tuple[int, int]:
        if self._size is not None:
            return self._size
        side = structure.side_of(self.model.config.image_size, "image_size")
        return side, side

    def sized(self, height: int, width: int) -> Self:
        if min(height, width) < self.patch:
            raise ValueError(
                f"pixel_values: {height} x {width} hold no whole patch of {self.patch} pixels"
            )
        tower = copy.copy(self)
        tower._size = height, width
        return tower

    @property
    def depth(self) -> int:
        return len(structure.part(self.model, self.layers))

    def layer(self, number: int) -> Any:
        """One of the tower's layers."""
        return structure.part(self.model, self.layers)[number]

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.layer(layer)
        x, attention = block.norm1(x), block.attention
        query, key, value = (
            project(x).unflatten(1, (-1, attention.head_dim))
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return query, key, value

    def scale(self, layer: int) -> float:
        return float(self.layer(layer).attention.scaling)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.layer(layer)
        x = x + block.layer_scale1(block.attention.o_proj(attended.flatten(1)))
        return x + block.layer_scale2(block.mlp(block.norm2(x)))

    def layer_flops(self, layer: int) -> float:
        return structure.linear_flops(self.layer(layer))

    def leave(self, rows: Tensor) -> Tensor:
        return structure.part(self.model, self.norm)(rows)

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        return torch.stack([dense[t, 0] for t in frames])

    def check_mode(self) -> None:
        for block in structure.part(self.model, self.layers):
            attention = block.attention
            structure.check_off(attention, "attention dropout", getattr(attention, self.dropout))
            structure.check_off(block, "drop path", getattr(block.drop_path, "drop_prob", 0.0))
            structure.check_checkpointing(block)


class Dinov2(Dino):
    """DINOv2: learned positions, brought to the picture's size as the tower itself does it."""

    names = ("Dinov2Model", "Dinov2WithRegistersModel")
    called = (
        "embeddings.patch_embeddings",
        *(f"encoder.layer.*.{part}" for part in LAYER_CALLS),
        "layernorm",
    )
    parts = (
        "embeddings.patch_embeddings.projection",
        "embeddings.position_embeddings",
        "embeddings.interpolate_pos_encoding",
        "embeddings.cls_token",
        "embeddings.dropout",
    )
    layers, norm, dropout = "encoder.layer", "layernorm", "attention_dropout"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        structure.check_children(model, "embeddings", ("patch_embeddings", "dropout"))
        registers = getattr(self.model.embeddings, "register_tokens", None)  # [1, registers, D]
        self.prefix = 1 if registers is None else 1 + registers.shape[1]
        trained = self.model.embeddings.position_embeddings.shape[1]
        if trained != self.cells + 1:
            raise ValueError(f"tower: expected {self.cells + 1} position embeddings, got {trained}")

    @property
    def projection(self) -> Any:
        return self.model.embeddings.patch_embeddings.projection

    @property
    def patch_embedding(self) -> Any:
        return self.model.embeddings.patch_embeddings

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        return self.embedded(rows) + self._positions()[1 + cell]

    def prefix_tokens(self) -> Tensor:
        embeddings = self.model.embeddings
        first = embeddings.cls_token[0] + self._positions()[:1]
        return first if self.prefix == 1 else torch.cat([first, embeddings.register_tokens[0]])

    def check_mode(self) -> None:
        super().check_mode()
        dropout = self.model.embeddings.dropout
        structure.check_off(dropout, "dropout", dropout.p)

    def _positions(self) -> Tensor:
        """Of CLS and of each cell, ``[1 + N, D]``."""
        shape_only = self.weight.new_empty((0, 1 + self.cells, len(self.weight)))
        positions = self.model.embeddings.interpolate_pos_encoding(shape_only, *self.size)
        return positions[0]
