"""How far features are from the dense ones.

Letters: T frames, N cells of a frame, D features.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from pretrained.weights import Saliency

SPAN = 5  # frames over which a cell's change is told
SHARE = 0.1  # of the cells: those that changed most


class Errors(NamedTuple):
    """1 - cosine to the dense features, but for the saliency map: its mean absolute difference."""

    every: float  # mean over all cells
    changed: float  # mean over the tenth of the cells that changed most in five frames
    worst: float  # the 99th percentile over all cells
    cls: float  # mean over frames
    saliency: float


def changed(dense: Tensor) -> Tensor:
    """The cells that changed most within ``SPAN`` frames, ``[T, N]`` bool.

    Args:
        dense: ``[T, 1 + N, D]``, CLS first.
    """
    moved = torch.zeros(dense.shape[0], dense.shape[1] - 1)
    later, before = dense[SPAN:, 1:], dense[:-SPAN, 1:]
    moved[SPAN:] = 1 - cosine_similarity(later, before, dim=2)
    limit = moved[SPAN:].flatten().quantile(1 - SHARE)
    found = moved >= limit
    found[:SPAN] = False
    return found


def measure(features: Tensor, dense: Tensor, mask: Tensor, saliency: Saliency) -> Errors:
    """Of ``[T, 1 + N, D]`` each; ``mask`` as ``changed`` gives it."""
    if not features.isfinite().all():
        raise ValueError("features: expected finite numbers, got NaN or infinity")
    if features.shape != dense.shape:
        raise ValueError(f"features: expected {tuple(dense.shape)}, got {tuple(features.shape)}")
    distance = 1 - cosine_similarity(features, dense, dim=2)  # [T, 1 + N]
    cells = distance[:, 1:]
    maps = [torch.cat([saliency(some) for some in x[:, 1:].split(8)]) for x in (features, dense)]
    return Errors(
        float(cells.mean()),
        float(cells[mask].mean()),
        float(cells.flatten().quantile(0.99)),
        float(distance[:, 0].mean()),
        float((maps[0] - maps[1]).abs().mean()),
    )
