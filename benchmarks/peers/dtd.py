"""Differential Token Drop (Yao et al., "TimeChat-Online", arXiv 2504.17343, section 3.2).

Letters: T frames, C channels, H W pixels, h w patches, N cells, D features.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, cosine_similarity

from peers.choice import Choice
from peers.pixels import by_pairs, unit

PIXEL_TAU, FEATURE_TAU = 0.1, 0.5  # the second is its demonstration's


def differences(frames: Tensor, patch: int) -> Tensor:
    """Mean absolute differences of cells to the frame before, ``[T, h, w]``; the first has inf.

    Args:
        frames: ``[T, C, H, W]`` uint8, or floats of 0..1: the scale of the differences.
        patch: side of a cell in pixels.
    """

    def of(some: Tensor) -> Tensor:
        some = unit(some)
        return avg_pool2d((some[1:] - some[:-1]).abs().mean(1, keepdim=True), patch)[:, 0]

    return by_pairs(frames, of)


def by_pixels(found: Tensor, threshold: float = PIXEL_TAU) -> Choice:
    """Cells whose ``differences`` are no less than ``threshold``."""
    return Choice.of(found >= threshold)


def likenesses(features: Tensor) -> Tensor:
    """Cosines of tokens ``[T, N, D]`` to the frame before, ``[T, N]``; the first has -inf."""
    alike = features.new_full(features.shape[:2], -torch.inf)
    alike[1:] = cosine_similarity(features[1:], features[:-1], dim=-1)
    return alike


def by_features(alike: Tensor, threshold: float = FEATURE_TAU) -> Choice:
    """Tokens whose ``likenesses`` are no more than ``threshold``."""
    return Choice.of(alike <= threshold)
