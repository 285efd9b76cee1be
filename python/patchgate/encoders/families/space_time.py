"""Video towers in which every token attends to all tokens of its clip: VideoMAE, V-JEPA 2.

Letters: T tubelets, f frames of a tubelet, C channels, H W pixels, h w cells, K kept cells of a
clip, P patch side, D features.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from torch import Tensor, nn

from patchgate.encoders.adapted import Adapted
from patchgate.encoders.families import structure
from patchgate.encoders.patch_grid import PatchGrid
from patchgate.encoders.projection import base


class SpaceTimeTower(Adapted, ABC):
    """What a family of such towers must offer; it calls the submodules of a model."""

    parts: ClassVar[tuple[str, ...]]  # attributes that the family's own code uses

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        structure.check_parts(model, self.parts)
        self.check_patches()

    @property
    @abstractmethod
    def layers(self) -> Iterable[nn.Module]:
        """The layers; all do the same work."""

    @abstractmethod
    def check_shape(self, shape: list[int]) -> None:
        """Raises a ``ValueError`` if a clip of whole tubelets ``[T * f, C, H, W]`` does not fit."""

    @abstractmethod
    def encode(self, rows: Tensor, index: Tensor) -> Tensor:
        """Encodes kept patches of one clip, which attend to each other.

        Args:
            rows: ``[K, C * f * P * P]``.
            index: ``[K]`` int64, flat over ``[T, h, w]``.

        Returns:
            The tower's output of these patches, ``[K, D]``.
        """

    @property
    def patch(self) -> int:
        """P, the side of a patch in pixels."""
        return int(self.weight.shape[3])

    @property
    def temporal_patch(self) -> int:
        """f, the number of frames of a patch."""
        return int(self.weight.shape[2])

    def grid(self, height: int, width: int) -> PatchGrid:
        """Returns the patch grid of frames of this size in pixels.

        Raises:
            ValueError: the size is not a whole number of patches.
        """
        side = self.patch
        if height % side or width % side:
            raise ValueError(
                f"pixel values: {height} x {width} pixels are not whole patches of {side}"
            )
        return PatchGrid(height // side, width // side, 1, side, self.temporal_patch)

    def check_patches(self) -> None:
        """Raises a ``ValueError`` if the convolution does not cut RGB into patches side by side."""
        shape, stride = list(self.weight.shape), tuple(base(self.projection).stride)
        if shape[1] != 3 or shape[3] != shape[4] or stride != tuple(shape[2:]):
            raise ValueError(
                f"tower: expected square patches of RGB side by side, got a weight of {shape} and "
                f"stride={stride}"
            )


class VideoMae(SpaceTimeTower):
    """VideoMAE's tower: fixed positions, one for each patch of a clip of fixed length."""

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


class VJepa2(SpaceTimeTower):
    """V-JEPA 2's encoder: rotary positions in time and space, from the numbers of patches.

    Its layers take these numbers. The encoder of a model is gated by ``model.encoder =
    gated(model.encoder, ...)``.
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
