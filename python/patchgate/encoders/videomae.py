"""VideoMAE on kept cells. Letters: K kept cells, C f P P a patch, D features."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from patchgate.encoders.spacetime import SpaceTimeTower


class VideoMae(SpaceTimeTower):
    """VideoMAE: fixed positions, one for each patch of a clip of fixed length."""

    names = ("VideoMAEModel",)
    called = ("embeddings.patch_embeddings.projection", "encoder.layer.*", "layernorm")
    parts = (
        "embeddings.patch_embeddings.projection",
        "embeddings.position_embeddings",
        "encoder.layer",
    )

    @property
    def projection(self) -> Any:
        return self.model.embeddings.patch_embeddings.projection

    @property
    def layers(self) -> Iterable[nn.Module]:
        return self.model.encoder.layer

    def check_shape(self, shape: list[int]) -> None:
        patches = self.model.embeddings.patch_embeddings
        expected = [self.model.config.num_frames, 3, *patches.image_size]
        if shape != expected:
            raise ValueError(f"pixel values: the tower takes clips of {expected}, got {shape}")

    def encode(self, rows: Tensor, index: Tensor) -> Tensor:
        x = self.embedded(rows)
        positions = self.model.embeddings.position_embeddings[0].to(x)  # [T * h * w, D]
        x = (x + positions[index])[None]
        for layer in self.model.encoder.layer:
            x = layer(x)
        return (x if self.model.layernorm is None else self.model.layernorm(x))[0]
