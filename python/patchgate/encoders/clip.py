"""CLIP's vision tower on kept cells. Letters: T frames, K kept patches, N patches of a frame,
D features.
"""

import torch
from torch import Tensor

from patchgate.encoders.clip_like import ClipLike


class Clip(ClipLike):
    """CLIP: a CLS token, whose layer-normed last state is the pooled output."""

    names = ("CLIPVisionModel", "CLIPVisionTransformer")
    parts = ("embeddings.class_embedding", "pre_layrnorm", "post_layernorm")
    prefix = 1

    def enter(self, patches: Tensor) -> Tensor:
        return self.model.pre_layrnorm(patches)

    def prefix_tokens(self) -> Tensor:
        embeddings = self.model.embeddings
        first = torch.zeros(1, dtype=torch.int64, device=self.weight.device)
        return self.enter(embeddings.class_embedding + embeddings.position_embedding(first))

    def pool(self, dense: Tensor, entry: Tensor | None, frames: list[int]) -> Tensor | None:
        return self.model.post_layernorm(torch.stack([dense[t, 0] for t in frames]))
