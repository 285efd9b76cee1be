"""Differential Token Drop (Yao et al., "TimeChat-Online", arXiv 2504.17343, section 3.2).

Letters: T frames, C channels, H W pixels, h w patches, N cells, D features.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cosine_similarity

from peers.choice import Choice
from peers.pixels import by_pairs, unit

PIXEL_TAU, FEATURE_TAU = 0.1, 0.5  # the second is its demonstration's


def by_pixels(frames: Tensor, patch: int, threshold: float = PIXEL_TAU) -> Choice:
    """Cells whose mean absolute difference to the frame before is no less than ``threshold``.

    Args:
        frames: ``[T, C, H, W]`` uint8, or floats of 0..1.
        patch: side of a cell in pixels.
        threshold: on the scale of 0..1.
    """

    def of(some: Tensor) -> Tensor:
        some = unit(some)
        return avg_pool2d((some[1:] - some[:-1]).abs().mean(1, keepdim=True), patch)[:, 0]

    return Choice.of(by_pairs(frames, of) >= threshold)


def by_features(features: Tensor, threshold: float = FEATURE_TAU) -> Choice:
    """Tokens ``[T, N, D]`` whose cosine to the frame before is no more than ``threshold``."""
    keep = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
    keep[1:] = cosine_similarity(features[1:], features[:-1], dim=-1) <= threshold
    return Choice.of(keep)
