"""DINOv2's towers on kept cells, with and without registers.

Letters: K kept patches, R packed rows, N patches of a frame, H heads, d features of a head,
D features, H W pixels where they are a picture's.
"""

from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.tower import Tower

_LAYER_PARTS = ("norm1", "layer_scale1", "norm2", "mlp", "layer_scale2")
_LAYER = ("norm1", "attention", "layer_scale1", "drop_path", "norm2", "mlp", "layer_scale2")


class AttentionParts(NamedTuple):
    """The dotted paths of the parts of a layer's attention, under the attention."""

    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"
    output: str = "o_proj"
    head_dim: str = "head_dim"
    scaling: str = "scaling"
    dropout: str = "attention_dropout"
    dropouts: tuple[str, ...] = ()  # modules


# DINOv2 before transformers 5.18.
_NESTED = AttentionParts(
    "attention.query",
    "attention.key",
    "attention.value",
    "output.dense",
    "attention.attention_head_size",
    "attention.scaling",
    "attention.dropout_prob",
    ("output.dropout",),
)

# Modules of a layer that are called, in any version.
LAYER_CALLS = (
    *_LAYER_PARTS,
    *(f"attention.{part}" for parts in (AttentionParts(), _NESTED) for part in parts[:4]),
)


class Dino(Tower):
    """The base class of DINOv2's and DINOv3's towers.

    They have a CLS token, perhaps registers, scaled residuals, and take pictures of any size.
    """

    parts: ClassVar[tuple[str, ...]]  # attributes that the family's own code uses
    layers: ClassVar[str]  # path of the list of layers
    norm: ClassVar[str]  # path of the last layer norm
    # The parts of an attention in the versions of transformers.
    attentions: ClassVar[tuple[AttentionParts, ...]] = (AttentionParts(),)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self._size: tuple[int, int] | None = None
        structure.check_parts(model, ("config.image_size", "config.patch_size", *self.parts))
        structure.check_parts(model, (self.layers, self.norm))
        self._attention = self._attention_parts()
        for i in range(self.depth):
            self._check_layer(f"{self.layers}.{i}")
        structure.check_patches(self.projection, self.patch)
        if not self.cells:
            raise ValueError(
                f"tower: image_size={self.size[0]} holds no whole patch of {self.patch} pixels"
            )

    def _attention_parts(self) -> AttentionParts:
        """Returns the paths that this model has, or the first known ones if it has none of them."""
        first = structure.part(self.model, f"{self.layers}.0.attention")
        for parts in self.attentions:
            if hasattr(first, parts.query.split(".")[0]):
                return parts
        return self.attentions[0]

    def _check_layer(self, path: str) -> None:
        """Raises a ``TypeError`` unless a layer has the parts that are used, and no others."""
        query, key, value, output, *numbers, dropouts = self._attention
        structure.check_parts(self.model, _LAYER_PARTS, path)
        structure.check_children(self.model, path, _LAYER)
        attention = f"{path}.attention"
        structure.check_tree(self.model, attention, (query, key, value, output, *dropouts))
        structure.check_parts(self.model, numbers, attention)

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
        tower = self.copied()
        tower._size = height, width
        return tower

    @property
    def depth(self) -> int:
        return len(structure.part(self.model, self.layers))

    def layer(self, number: int) -> Any:
        """Returns one of the tower's layers."""
        return structure.part(self.model, self.layers)[number]

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block, parts = self.layer(layer), self._attention
        x, width = block.norm1(x), structure.part(block.attention, parts.head_dim)
        query, key, value = (
            structure.part(block.attention, path)(x).unflatten(1, (-1, width))
            for path in (parts.query, parts.key, parts.value)
        )
        return query, key, value

    def scale(self, layer: int) -> float:
        return float(structure.part(self.layer(layer).attention, self._attention.scaling))

    def projections(self, layer: int) -> tuple[nn.Module, ...]:
        block = self.layer(layer)
        return structure.part(block.attention, self._attention.output), block.layer_scale1

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.layer(layer)
        x = x + self.added(layer, attended)
        return x + block.layer_scale2(block.mlp(block.norm2(x)))

    def layer_flops(self, layer: int) -> float:
        return structure.linear_flops(self.layer(layer))

    def leave(self, rows: Tensor) -> Tensor:
        return structure.part(self.model, self.norm)(rows)

    @property
    def pools_prefix(self) -> bool:
        return True

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        return torch.stack([dense[t, 0] for t in frames])

    def check_mode(self) -> None:
        for block in structure.part(self.model, self.layers):
            attention = block.attention
            share = structure.part(attention, self._attention.dropout)
            structure.check_off(attention, "attention dropout", share)
            for path in self._attention.dropouts:
                dropout = structure.part(attention, path)
                structure.check_off(dropout, "dropout", dropout.p)
            structure.check_off(block, "drop path", getattr(block.drop_path, "drop_prob", 0.0))
            structure.check_checkpointing(block)


class Dinov2(Dino):
    """DINOv2's tower: learned positions, which the model itself resizes to the picture."""

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
    layers, norm = "encoder.layer", "layernorm"
    attentions = (AttentionParts(), _NESTED)

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
        """Returns the position embeddings of CLS and of each cell, ``[1 + N, D]``."""
        shape_only = self.weight.new_empty((0, 1 + self.cells, len(self.weight)))
        positions = self.model.embeddings.interpolate_pos_encoding(shape_only, *self.size)
        return positions[0]
