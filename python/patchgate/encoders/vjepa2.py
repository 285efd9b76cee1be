"""V-JEPA 2's encoder on kept cells. Letters: K kept cells, C f P P a patch, D features."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from patchgate.encoders.spacetime import SpaceTimeTower


class VJepa2(SpaceTimeTower):
    """V-JEPA 2: rotary positions in time and space, which its layers take as numbers of patches.

    The encoder of a model: ``model.encoder = gated(model.encoder, ...)``.
    """

    names = ("VJEPA2Encoder",)
    called = ("embeddings.patch_embeddings", "layer.*", "layernorm")
    parts = ("embeddings.patch_embeddings.proj", "layer", "layernorm")

    @property
    def projection(self) -> Any:
        return self.model.embeddings.patch_embeddings.proj

    @property
    def patch_embedding(self) -> Any:
        return self.model.embeddings.patch_embeddings

    @property
    def layers(self) -> Iterable[nn.Module]:
        return self.model.layer

    def check_shape(self, shape: list[int]) -> None:
        side = self.model.config.crop_size
        if shape[2:] != [side, side]:
            raise ValueError(
                f"pixel values: the tower numbers patches of {side} x {side} pixels, got "
                f"{shape[2]} x {shape[3]}"
            )

    def encode(self, rows: Tensor, index: Tensor) -> Tensor:
        x = self.embedded(rows)[None]
        for layer in self.model.layer:
            x = layer(x, position_mask=index[None])[0]
        return self.model.layernorm(x)[0]
