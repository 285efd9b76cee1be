"""How far features are from the dense ones.

Letters: T frames, N cells of a frame, D features, H W pixels of the saliency map.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

SPAN = 5  # frames over which a cell's change is told
SHARE = 0.1  # of the cells: those that changed most
BATCH = 8  # frames whose saliency is computed at a time

Head = Callable[[Tensor], Tensor]  # of cells' features [B, N, D]: a map [B, H, W]


class Errors(NamedTuple):
    """1 - cosine to the dense features, but for the saliency map: its mean absolute difference."""

    every: float  # mean over all cells
    changed: float  # mean over the tenth of the cells that changed most in five frames
    worst: float  # the 99th percentile over all cells
    cls: float  # mean over frames
    saliency: float


class Truth(NamedTuple):
    """What the dense tower makes of a clip."""

    features: Tensor  # [T, 1 + N, D], CLS first
    changed: Tensor  # [T, N] bool: the cells that changed most
    saliency: Tensor  # [T, H, W]

    @classmethod
    def of(cls, dense: Tensor, head: Head) -> "Truth":
        """The truth that dense features ``[T, 1 + N, D]`` are."""
        return cls(dense, changed(dense), read(head, dense))


def changed(dense: Tensor) -> Tensor:
    """The cells that changed most within ``SPAN`` frames, ``[T, N]`` bool.

    Args:
        dense: ``[T, 1 + N, D]``, CLS first.

    Raises:
        ValueError: there are no ``SPAN`` frames between any two.
    """
    if len(dense) <= SPAN:
        raise ValueError(f"features: expected more than {SPAN} frames, got {len(dense)}")
    moved = torch.zeros(dense.shape[0], dense.shape[1] - 1)
    later, before = dense[SPAN:, 1:], dense[:-SPAN, 1:]
    moved[SPAN:] = 1 - cosine_similarity(later, before, dim=2)
    limit = moved[SPAN:].flatten().quantile(1 - SHARE)
    found = moved >= limit
    found[:SPAN] = False
    return found


def read(head: Head, features: Tensor) -> Tensor:
    """The saliency maps ``[T, H, W]`` of features ``[T, 1 + N, D]``.

    Raises:
        ValueError: the head returns another number of maps, or NaN.
    """
    parts = []
    for some in features[:, 1:].split(BATCH):
        parts.append(head(some))
        if len(parts[-1]) != len(some):
            raise ValueError(f"saliency: expected {len(some)} maps, got {len(parts[-1])}")
    maps = torch.cat(parts)
    _check_finite("saliency", maps)
    return maps


def measure(features: Tensor, truth: Truth, head: Head) -> Errors:
    """Measures features ``[T, 1 + N, D]``.

    Raises:
        ValueError: there are more or fewer of them than dense ones, or some are NaN; so with what
            the head reads from them.
    """
    check(features, *truth.features.shape[:2])
    distance = 1 - cosine_similarity(features, truth.features, dim=2)  # [T, 1 + N]
    cells = distance[:, 1:]
    return Errors(
        float(cells.mean()),
        float(cells[truth.changed].mean()),
        float(cells.flatten().quantile(0.99)),
        float(distance[:, 0].mean()),
        float((read(head, features) - truth.saliency).abs().mean()),
    )


def check(features: Tensor, frames: int, tokens: int) -> None:
    """Raises a ``ValueError`` unless features are ``[frames, tokens, D]`` and finite."""
    if features.shape[:2] != (frames, tokens):
        raise ValueError(
            f"features: expected {frames} frames of {tokens} tokens, got {tuple(features.shape)}"
        )
    _check_finite("features", features)


def _check_finite(name: str, found: Tensor) -> None:
    if not found.isfinite().all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
