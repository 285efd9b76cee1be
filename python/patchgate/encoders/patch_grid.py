"""Orders the patches of tubelets: cell after cell and, in each of them, row by row.

Letters: T tubelets or frames, f frames of a tubelet, C channels, H W pixels, h w cells, N = h * w,
P patch side, m merge side, K cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from patchgate._tensors import arange


@dataclass(frozen=True)
class PatchGrid:
    """The grid of a frame. Patch k of cell c is its patch number ``c * m * m + k``."""

    h: int  # cells
    w: int  # cells
    merge: int  # m
    patch: int  # P
    temporal_patch: int  # f

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of a frame in pixels."""
        return self.h * self.merge * self.patch, self.w * self.merge * self.patch

    def places(self, device: torch.device) -> Tensor:
        """Returns row and column of each patch of a frame, in patches, ``[N * m * m, 2]`` int64."""
        m = self.merge
        each = arange(self.h * self.w * m * m, device=device)
        cell, k = each // (m * m), each % (m * m)
        return torch.stack([cell // self.w * m + k // m, cell % self.w * m + k % m], 1)

    def frames(self, rows: Tensor) -> Tensor:
        """Makes frames ``[T * f, C, H, W]`` of all patches ``[T * N * m * m, C * f * P * P]``."""
        m, p, f = self.merge, self.patch, self.temporal_patch
        parts = rows.reshape(-1, self.h, self.w, m, m, rows.shape[1] // (f * p * p), f, p, p)
        return parts.permute(0, 6, 5, 1, 3, 7, 2, 4, 8).reshape(-1, parts.shape[5], *self.size)

    def rows(self, frames: Tensor, index: Tensor) -> Tensor:
        """Returns the patches of some cells, ``[K * m * m, C * f * P * P]``.

        Args:
            frames: ``[T * f, C, H, W]``.
            index: ``[K]`` int64, flat over ``[T, h, w]``.
        """
        h, w, m, p = self.h, self.w, self.merge, self.patch
        parts = frames.reshape(-1, self.temporal_patch, frames.shape[1], h, m, p, w, m, p)
        parts = parts.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)  # [T, h, w, m, m, C, f, P, P]
        kept = parts[index // (h * w), index // w % h, index % w]  # [K, m, m, C, f, P, P]
        return kept.flatten(0, 2).flatten(1)


def checked_grid(grid_thw: Any, merge: int) -> tuple[list[int], int, int]:
    """Checks ``grid_thw`` of a call of Qwen's towers. Synchronises if it is on a device.

    Args:
        grid_thw: ``[videos, 3]`` integers, in tubelets and patches.
        merge: m.

    Returns:
        The tubelets of each video, and the patches down and across, which all videos share.

    Raises:
        TypeError: it is not a tensor.
        ValueError: it has another shape, videos have different sizes, or sizes that are not whole
            cells.
    """
    if not isinstance(grid_thw, Tensor):
        raise TypeError(f"grid_thw: expected a Tensor, got {type(grid_thw).__name__}")
    if grid_thw.dim() != 2 or grid_thw.shape[1] != 3 or not len(grid_thw):
        raise ValueError(f"grid_thw: expected [videos, 3], got {list(grid_thw.shape)}")
    tubelets, heights, widths = grid_thw.T.tolist()
    if len({*zip(heights, widths, strict=True)}) > 1:
        raise ValueError(
            "grid_thw: expected one height and width in a call, got "
            f"{grid_thw[:, 1:].tolist()}; call the tower once for each"
        )
    height, width = heights[0], widths[0]
    if height % merge or width % merge or min(height, width) < 1:
        raise ValueError(
            f"grid_thw: {height} x {width} patches are not whole cells of {merge} x {merge}"
        )
    return tubelets, height, width


def patch_rows(pixel_values: Tensor, patch: int, index: Tensor) -> Tensor:
    """Returns the patches of some cells, in the order of a convolution's weight.

    Args:
        pixel_values: ``[T, C, H, W]``.
        patch: P.
        index: ``[K]`` int64, flat over ``[T, h, w]``.

    Returns:
        ``[K, C * P * P]`` in the dtype of ``pixel_values``.
    """
    blocks = pixel_values.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))
    blocks = blocks.permute(0, 2, 4, 1, 3, 5)  # [T, h, w, C, P, P], nothing copied
    h, w = blocks.shape[1:3]
    return blocks[index // (h * w), index // w % h, index % w].flatten(1)
