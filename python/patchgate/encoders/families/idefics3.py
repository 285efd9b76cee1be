"""The vision towers of Idefics3 and SmolVLM on kept cells: SigLIP's for pictures of any size.

Letters: T frames, h w cells of a frame, R packed rows, D features, S positions along a side.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn

from patchgate.encoders.families import structure
from patchgate.encoders.families.clip import ClipLike


class Idefics3(ClipLike):
    """Idefics3's and SmolVLM's towers: no prefix tokens, no pooling.

    A picture of another size takes from the trained S x S positions those at the same fractions of
    its sides.
    """

    names = ("Idefics3VisionTransformer", "SmolVLMVisionTransformer")
    parts = ("post_layernorm", "embeddings.num_patches_per_side")
    prefix = 0

    def __init__(self, model: nn.Module) -> None:
        self._size: tuple[int, int] | None = None
        super().__init__(model)

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

    def embed(self, rows: Tensor, cell: Tensor) -> Tensor:
        h, w = self.shape
        side = int(self.model.embeddings.num_patches_per_side)
        place = _place(cell // w, h, side) * side + _place(cell % w, w, side)
        return self.embedded(rows) + self.model.embeddings.position_embedding(place)

    def prefix_tokens(self) -> Tensor:
        return self.weight.new_empty((0, self.weight.shape[0]))

    def leave(self, rows: Tensor) -> Tensor:
        return self.model.post_layernorm(rows)

    def opened(self, pixel_values: Tensor, options: dict[str, Any]) -> tuple[Self, Tensor]:
        """Returns the tower for pictures of this size, and the pictures.

        Args:
            pixel_values: ``[T, 3, H, W]``.
            options: the call's other arguments. ``patch_attention_mask`` ``[T, h, w]`` is removed;
                it must be all ones. Reading it synchronises.

        Raises:
            TypeError, ValueError: pixel values are not floats; the mask leaves patches out.
        """
        structure.check_floats(pixel_values, self)
        tower = self
        if pixel_values.dim() == 4:
            tower = self.sized(int(pixel_values.shape[2]), int(pixel_values.shape[3]))
        _check_mask(options.pop("patch_attention_mask", None), [len(pixel_values), *tower.shape])
        return tower, pixel_values


def _check_mask(mask: Any, shape: list[int]) -> None:
    """Raises a ``ValueError`` unless there is no mask, or one ``[T, h, w]`` of ones."""
    if mask is None:
        return
    came = list(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
    if came != shape:
        raise ValueError(f"patch_attention_mask: expected {shape}, got {came}")
    if not bool(mask.all()):
        raise ValueError(
            "patch_attention_mask: expected ones only, got frames that are padded. A gated tower "
            "takes the frames of one clip, which have one size: process each video in a call of "
            "its own, and no picture beside it"
        )


def _place(index: Tensor, count: int, side: int) -> Tensor:
    """Returns the trained position of each row (or column) of cells, ``[R]`` int64.

    In float32 and by the model's own steps: a fraction may lie on the edge between two positions,
    and rounding decides.

    Args:
        index: ``[R]`` int64, below ``count``.
        count: h (or w).
        side: S.
    """
    edges = torch.arange(1 / side, 1.0, 1 / side, dtype=torch.float32, device=index.device)
    # Filled on the device: a CUDA graph cannot capture a copy from the host.
    step = 1.0 / torch.full((), count, dtype=torch.float32, device=index.device)
    fraction = (index.to(torch.float32) * step).clamp(max=1.0 - 1e-6)
    return torch.bucketize(fraction, edges, right=True)
