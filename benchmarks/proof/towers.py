"""Towers of random weights: time does not depend on what they have learned.

Letters: T frames, N patches of a frame, C channels, P patch side, H W pixels.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from peers import layers
from torch import Tensor
from transformers import SiglipVisionConfig, SiglipVisionModel

import patchgate
from patchgate.gather import PixelSpec

MEAN = STD = (0.5, 0.5, 0.5)
SIZES: dict[str, dict[str, Any]] = {
    "tiny/16-96": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
                   "num_attention_heads": 4, "image_size": 96, "patch_size": 16},
    "SigLIP base/16-224": {},
    "SigLIP so400m/14-384": {"hidden_size": 1152, "intermediate_size": 4304,
                             "num_hidden_layers": 27, "num_attention_heads": 16,
                             "image_size": 384, "patch_size": 14},
}  # fmt: skip


@dataclass
class Sized:
    """A tower and what its processor does."""

    name: str  # in SIZES
    head: bool = False  # whether it pools: nobody of the proof needs that

    @cached_property
    def model(self) -> SiglipVisionModel:
        torch.manual_seed(0)
        config = SiglipVisionConfig(**SIZES[self.name], vision_use_head=self.head)
        return SiglipVisionModel(config).eval().requires_grad_(False)

    @property
    def patch(self) -> int:
        return self.model.config.patch_size

    @property
    def cells(self) -> tuple[int, int]:
        """``(h, w)``."""
        side = self.model.config.image_size // self.patch
        return side, side

    def gated(self, **settings: Any) -> Any:
        """With our gate; what the peers' kept patches run through, too."""
        return patchgate.gated(self.model, mean=MEAN, std=STD, **settings)

    @cached_property
    def spec(self) -> PixelSpec:
        return self.gated().pixel_spec

    @cached_property
    def frame_flops(self) -> float:
        """Operations of a dense frame."""
        side = self.model.config.image_size
        return layers.dense(self.model, torch.zeros(1, 3, side, side)).flops

    def pictures(self, rows: Tensor) -> Tensor:
        """Patch rows of whole frames, ``[T * N, C * P * P]``, as ``[T, C, H, W]``."""
        h, w = self.cells
        cut = rows.view(-1, h, w, 3, self.patch, self.patch)
        return cut.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, h * self.patch, w * self.patch)
