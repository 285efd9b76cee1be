"""CLIP's vision tower on kept cells, and the base class of towers that are built like it.

Such towers of transformers have a convolution that cuts patches, learned positions, and
``encoder.layers`` with two layer norms, four projections and an MLP.

Letters: T frames, K kept patches, N patches of a frame, R packed rows, H heads, d features of a
head, D features, C channels, P patch side.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.tower import Tower

_PARTS = (
    "config.patch_size",
    "embeddings.patch_embedding",
    "embeddings.position_embedding.weight",
    "encoder.layers",
)


_LAYER_CALLS = (
    "layer_norm1",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "layer_norm2",
    "mlp",
)


_LAYER_PARTS = (*_LAYER_CALLS, "self_attn.head_dim", "self_attn.scale")


class ClipLike(Tower):
    """The base class of CLIP's and SigLIP's towers."""

    called = (
        "embeddings.patch_embedding",
        "embeddings.position_embedding",
        "pre_layrnorm",
        *(f"encoder.layers.*.{part}" for part in _LAYER_CALLS),
        "post_layernorm",
        "head",
    )
    parts: ClassVar[tuple[str, ...]]  # attributes that the family's own code uses

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        structure.check_parts(model, (*_PARTS, *self.parts))
        for i in range(self.depth):
            structure.check_parts(model, _LAYER_PARTS, f"encoder.layers.{i}")
        self._check_patches()

    @property
    def patch(self) -> int:
        return structure.side_of(self.model.config.patch_size, "patch_size")

    @property
    def size(self) -> tuple[int, int]:
        side = structure.side_of(self.model.config.image_size, "image_size")
        return side, side

    @property
    def projection(self) -> Any:
        return self.model.embeddings.patch_embedding

    @property
    def depth(self) -> int:
        return len(self.model.encoder.layers)

    def enter(self, patches: Tensor) -> Tensor:
        """Computes what enters the first layer from embedded patches, ``[K, D]`` both."""
        return patches

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        positions = self.model.embeddings.position_embedding
        return self.enter(self.embedded(rows) + positions(cell + self.prefix))

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        block = self.model.encoder.layers[layer]
        x, attention = block.layer_norm1(x), block.self_attn
        heads = (-1, attention.head_dim)
        query, key, value = (
            project(x).unflatten(1, heads)
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return query, key, value

    def scale(self, layer: int) -> float:
        return float(self.model.encoder.layers[layer].self_attn.scale)

    def projections(self, layer: int) -> tuple[nn.Module, ...]:
        return (self.model.encoder.layers[layer].self_attn.out_proj,)

    def finish(self, layer: int, x: Tensor, attended: Tensor) -> Tensor:
        block = self.model.encoder.layers[layer]
        x = x + self.added(layer, attended)
        return x + block.mlp(block.layer_norm2(x))

    def layer_flops(self, layer: int) -> float:
        return structure.linear_flops(self.model.encoder.layers[layer])

    def check_mode(self) -> None:
        for layer in self.model.encoder.layers:
            structure.check_off(layer.self_attn, "attention dropout", layer.self_attn.dropout)
            structure.check_checkpointing(layer)

    def _check_patches(self) -> None:
        """Raises unless a convolution cuts patches and there is one position for each of them."""
        structure.check_parts(self.model, ("config.image_size",))
        structure.check_patches(self.projection, self.patch)
        if not self.cells:
            raise ValueError(
                f"tower: image_size={self.size[0]} holds no whole patch of {self.patch} pixels"
            )
        positions = self.model.embeddings.position_embedding.weight.shape[0]
        if positions != self.cells + self.prefix:
            raise ValueError(
                f"tower: expected {self.cells + self.prefix} position embeddings, got {positions}"
            )


class Clip(ClipLike):
    """CLIP's tower: a CLS token, whose last state after a layer norm is the pooled output."""

    names = ("CLIPVisionModel", "CLIPVisionTransformer")
    parts = ("embeddings.class_embedding", "pre_layrnorm", "post_layernorm")
    prefix = 1

    def enter(self, patches: Tensor) -> Tensor:
        return self.model.pre_layrnorm(patches)

    def prefix_tokens(self) -> Tensor:
        embeddings = self.model.embeddings
        first = torch.zeros(1, dtype=torch.int64, device=self.weight.device)
        return self.enter(embeddings.class_embedding + embeddings.position_embedding(first))

    @property
    def pools_prefix(self) -> bool:
        return True

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        return self.model.post_layernorm(torch.stack([dense[t, 0] for t in frames]))
