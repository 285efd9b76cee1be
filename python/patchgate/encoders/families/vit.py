"""transformers' ViT on kept cells, and the base class of towers with layers that are named alike.

Letters: F frames that keep a cell, R packed rows, N patches of a frame, H heads, d features of a
head, D features.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.tower import Tower

_LAYER_PARTS = ("layernorm_before", "layernorm_after", "mlp")


class VitLike(Tower):
    """The base class of towers with a CLS token and ``layernorm_before`` and ``layernorm_after``.

    Queries, keys and values have a projection each.
    """

    layers: ClassVar[str]  # path of the list of layers
    output_projection: ClassVar[str]  # under a layer's attention
    scaling: ClassVar[str]  # the factor on scores, there, too
    attention_calls: ClassVar[tuple[str, ...]]  # modules under it that are called
    attention_others: ClassVar[tuple[str, ...]] = ()  # its other modules
    prefix = 1

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        structure.check_parts(model, ("config.image_size", "config.patch_size", self.layers))
        structure.check_parts(
            model, ("embeddings.patch_embeddings.projection", "embeddings.cls_token", "layernorm")
        )
        structure.check_children(model, "embeddings", ("patch_embeddings", "dropout"))
        for i in range(self.depth):
            self._check_layer(f"{self.layers}.{i}")
        structure.check_patches(self.projection, self.patch)
        if not self.cells:
            raise ValueError(
                f"tower: image_size={self.size} holds no whole patch of {self.patch} pixels"
            )

    def _check_layer(self, path: str) -> None:
        """Raises a ``TypeError`` unless a layer has the parts that are used, and no others."""
        structure.check_parts(self.model, (*_LAYER_PARTS, "dropout"), path)
        structure.check_children(self.model, path, ("attention", "dropout", *_LAYER_PARTS))
        attention = f"{path}.attention"
        numbers = ("head_dim", self.scaling, "attention_dropout")
        structure.check_parts(self.model, (*self.attention_calls, *numbers), attention)
        known = (*self.attention_calls, *self.attention_others)
        structure.check_children(self.model, attention, known)

    @property
    def patch(self) -> int:
        return structure.side_of(self.model.config.patch_size, "patch_size")

    @property
    def size(self) -> tuple[int, int]:
        size = self.model.config.image_size
        height, width = size if isinstance(size, list | tuple) else (size, size)
        return int(height), int(width)

    @property
    def projection(self) -> Any:
        return self.model.embeddings.patch_embeddings.projection

    @property
    def patch_embedding(self) -> Any:
        return self.model.embeddings.patch_embeddings

    @property
    def depth(self) -> int:
        return len(structure.part(self.model, self.layers))

    def layer(self, number: int) -> Any:
        """Returns one of the tower's layers."""
        return structure.part(self.model, self.layers)[number]

    def positions(self) -> Tensor:
        """Returns the position embeddings of CLS and of each cell, ``[1 + N, D]``."""
        raise NotImplementedError

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        return self.embedded(rows) + self.positions()[1 + cell]

    def prefix_tokens(self) -> Tensor:
        first: Tensor = self.model.embeddings.cls_token[0] + self.positions()[:1]
        return first

    def scale(self, layer: int) -> float:
        return float(getattr(self.layer(layer).attention, self.scaling))

    def projections(self, layer: int) -> tuple[nn.Module | Tensor, ...]:
        return (getattr(self.layer(layer).attention, self.output_projection),)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.layer(layer)
        x = x + self.added(layer, attended)
        return x + block.mlp(block.layernorm_after(x))

    def layer_flops(self, layer: int) -> float:
        return structure.linear_flops(self.layer(layer))

    def leave(self, rows: Tensor) -> Tensor:
        return self.model.layernorm(rows)

    def check_mode(self) -> None:
        dropout = self.model.embeddings.dropout
        structure.check_off(dropout, "dropout", dropout.p)
        for block in structure.part(self.model, self.layers):
            attention = block.attention
            structure.check_off(attention, "attention dropout", attention.attention_dropout)
            structure.check_off(block.dropout, "dropout", block.dropout.p)
            structure.check_checkpointing(block)


class Vit(VitLike):
    """``ViTModel``: one size of pictures; it pools by a layer on CLS, if it was made with one."""

    names = ("ViTModel",)
    layers, output_projection, scaling = "layers", "o_proj", "scaling"
    attention_calls = ("q_proj", "k_proj", "v_proj", "o_proj")
    called = (
        "embeddings.patch_embeddings",
        *(f"layers.*.{part}" for part in _LAYER_PARTS),
        *(f"layers.*.attention.{part}" for part in attention_calls),
        "layernorm",
        "pooler",
    )

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        structure.check_parts(model, ("embeddings.position_embeddings",))
        trained = self.model.embeddings.position_embeddings.shape[1]
        if trained != self.cells + 1:
            raise ValueError(f"tower: expected {self.cells + 1} position embeddings, got {trained}")

    def positions(self) -> Tensor:
        trained: Tensor = self.model.embeddings.position_embeddings[0]
        return trained

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.layer(layer)
        x, attention = block.layernorm_before(x), block.attention
        query, key, value = (
            project(x).unflatten(1, (-1, attention.head_dim))
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return query, key, value

    @property
    def pools(self) -> bool:
        return self.model.pooler is not None

    @property
    def pools_prefix(self) -> bool:
        return True

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        if not self.pools:
            return None
        pooled: Tensor = self.model.pooler(torch.stack([dense[t, :1] for t in frames]))
        return pooled  # [F, D]

    def pool_flops(self, frames: int, tokens: int, dense: bool) -> float:
        return frames * structure.linear_flops(self.model.pooler) if self.pools else 0.0
