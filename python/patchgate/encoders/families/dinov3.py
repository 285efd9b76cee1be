"""DINOv3's tower on kept cells.

Letters: K kept patches, R packed rows, h w cells of a frame, H heads, d features of a head.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.families.dinov2 import LAYER_CALLS, AttentionParts, Dino


class Dinov3(Dino):
    """DINOv3's tower: positions rotate the queries and keys of patches, not of prefix tokens."""

    names = ("DINOv3ViTModel",)
    called = (
        "embeddings.patch_embeddings",
        *(f"model.layer.*.{part}" for part in LAYER_CALLS),
        "norm",
    )
    parts = (
        "embeddings.patch_embeddings",
        "embeddings.cls_token",
        "embeddings.register_tokens",
        "rope_embeddings.inv_freq",
    )
    layers, norm = "model.layer", "norm"
    attentions = (AttentionParts(dropout="dropout"),)

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        structure.check_children(model, "embeddings", ("patch_embeddings",))
        self.prefix = 1 + self.model.embeddings.register_tokens.shape[1]

    @property
    def projection(self) -> Any:
        return self.model.embeddings.patch_embeddings

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        return self.embedded(rows)

    def prefix_tokens(self) -> Tensor:
        embeddings = self.model.embeddings
        return torch.cat([embeddings.cls_token[0], embeddings.register_tokens[0]])

    def qkv(self, layer: int, x: Tensor, cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = super().qkv(layer, x, cell)
        cos, sin = (part[:, None].to(self.weight.dtype) for part in self._angles(cell))  # [R, 1, d]
        # Under autocast the angles have a wider dtype than the projections.
        query, key = (_rotated(each, cos, sin).to(value.dtype) for each in (query, key))
        return query, key, value

    def check_mode(self) -> None:
        super().check_mode()
        if not self.model.rope_embeddings.training:
            return
        for name in ("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale"):
            if getattr(self.model.config, name, None) is not None:
                raise ValueError(
                    f"tower: it is in training mode with {name}, which moves the positions of "
                    "all patches at random; call eval(), or set it to None"
                )

    def _angles(self, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Computes cosine and sine of each row's angles, ``[R, d]`` each.

        The angles are the row's place in the picture, from -1 to 1 down and across, times each
        frequency. Prefix tokens have angles of 0.
        """
        h, w = self.shape
        place = torch.stack([cell // w, cell % w], 1).float()  # [R, 2]
        # Filled on the device: a CUDA graph cannot capture a copy from the host.
        extent = torch.stack([place.new_full((), side) for side in (h, w)])
        centre = 2.0 * ((place + 0.5) / extent) - 1.0
        centre = centre.masked_fill((cell < 0)[:, None], 0.0)
        frequency = self.model.rope_embeddings.inv_freq  # [d / 4]
        angles = (2 * math.pi * centre[:, :, None] * frequency).flatten(1).tile(2)
        return angles.cos(), angles.sin()


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates ``[R, H, d]``: its first half with its second."""
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
