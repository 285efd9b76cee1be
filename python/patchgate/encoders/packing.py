"""The kept tokens of many frames in one packed sequence, and attention within each frame.

Letters: T frames, F frames that keep a cell, K kept patches, R = K + F * prefix packed rows,
H heads, d features of a head, D features.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class Attend(Protocol):
    """What a layer asks of attention. Other contexts than a frame's kept tokens go in here."""

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> Tensor:
        """``[R, H, d]`` of packed rows each, in layer ``layer``; the result likewise."""
        ...


@dataclass(frozen=True)
class Segments:
    """Where the tokens of each frame lie: ``[prefix tokens | kept patches]`` of a frame after
    those of the frame before. A frame that keeps nothing has no segment, and no prefix tokens.
    """

    frame: Tensor  # [F] int64: the frame of each segment
    start: Tensor  # [F] int64: its first row
    lengths: list[int]  # F: its rows
    patch_row: Tensor  # [K] int64: the row of each kept patch
    prefix_row: Tensor  # [F, prefix] int64: the rows of each frame's prefix tokens

    @classmethod
    def of(cls, kept: Tensor, prefix: int) -> Self:
        """Lays out frames of which each keeps so many patches.

        Args:
            kept: ``[T]`` int64. prefix: prefix tokens (CLS, registers) of a frame.
        """
        frame = kept.nonzero().flatten()  # [F]
        patches = kept[frame]  # [F]
        length = patches + prefix
        start = length.cumsum(0) - length
        segment = torch.arange(len(frame), device=kept.device).repeat_interleave(patches)  # [K]
        patch_row = torch.arange(len(segment), device=kept.device) + prefix * (segment + 1)
        prefix_row = start[:, None] + torch.arange(prefix, device=kept.device)
        return cls(frame, start, length.tolist(), patch_row, prefix_row)

    @property
    def rows(self) -> int:
        """R."""
        return sum(self.lengths)

    def interleave(self, patches: Tensor, prefix: Tensor) -> Tensor:
        """``[R, D]`` of kept patches ``[K, D]`` and any frame's prefix tokens ``[prefix, D]``."""
        if not len(prefix):
            return patches
        out = patches.new_empty((self.rows, patches.shape[1]))
        repeated = prefix.to(patches.dtype).repeat(len(self.lengths), 1)  # [F * prefix, D]
        out = out.index_copy(0, self.prefix_row.flatten(), repeated)
        return out.index_copy(0, self.patch_row, patches)

    def cells(self, cell: Tensor) -> Tensor:
        """``[R]``: the cell of each row, of kept patches at cells ``[K]``; -1: a prefix token."""
        return cell.new_full((self.rows,), -1).index_copy(0, self.patch_row, cell)


class KeptAttention:
    """Every token attends to the tokens of its own segment (``context="kept"``).

    One call per segment: with 1 to 20 tokens a frame as fast as batches padded to like lengths
    (which must be gathered and scattered again), with more it is faster.
    """

    def __init__(self, segments: Segments) -> None:
        self._lengths = segments.lengths

    def __call__(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float
    ) -> Tensor:
        parts = (x.transpose(0, 1)[None].split(self._lengths, 2) for x in (query, key, value))
        out = [
            scaled_dot_product_attention(q, k, v, scale=scale).transpose(1, 2)  # [1, n, H, d]
            for q, k, v in zip(*parts, strict=True)
        ]
        return torch.cat(out, 1)[0]


def groups(kept: Tensor, prefix: int, most: int) -> list[slice]:
    """Runs of whole frames of at most ``most`` rows each (more where one frame alone has more).

    Args:
        kept: ``[T]`` int64, patches of each frame.
    """
    runs, first, rows = [], 0, 0
    for t, patches in enumerate(kept.tolist()):
        length = patches + prefix if patches else 0
        if rows and rows + length > most:
            runs.append(slice(first, t))
            first, rows = t, 0
        rows += length
    return [*runs, slice(first, len(kept))]
