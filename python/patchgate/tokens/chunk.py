"""The tokens of a few consecutive frames.

Letters: T frames (or tubelets), h w cells, K tokens, D features.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_OF_TOKENS = ("features", "frame", "cell")  # of a chunk; the rest is of frames


class TokenChunk(NamedTuple):
    """The tokens of a few consecutive frames. Token ids and frames count from the video's start.

    Features are on the device of the tower, or without one of the video; all else is on the CPU.
    """

    features: Tensor  # [K, D]
    frame: Tensor  # [K] int64
    cell: Tensor  # [K, 2] int64
    pts_seconds: Tensor  # [T] float64
    duration_seconds: Tensor  # [T] float64
    source: Tensor  # [T, h, w] int64
    kind: Tensor  # [T, h, w] uint8
    motion: Tensor  # [T, h, w, 2] int8


class HostResult(NamedTuple):
    """The gate's result for a chunk, on the CPU."""

    cells: Tensor  # [K] int64, flat over [T, h, w]
    source: Tensor  # [T, h, w] int64
    kind: Tensor  # [T, h, w] uint8
    motion: Tensor  # [T, h, w, 2] int8


def chunk_of(
    features: Tensor,  # [K, D]
    host: HostResult,
    pts_seconds: Tensor,  # [T]
    duration_seconds: Tensor,  # [T]
    frames_before: int,
) -> TokenChunk:
    """Makes a chunk of features and the gate's result.

    Args:
        features: ``[K, D]``.
        host: the gate's result on the CPU.
        pts_seconds, duration_seconds: ``[T]`` float64 each.
        frames_before: the number of frames of the video before the chunk.
    """
    index, source, kind, motion = host
    h, w = kind.shape[1:]
    frame = index // (h * w) + frames_before
    cell = torch.stack([index // w % h, index % w], 1)
    return TokenChunk(features, frame, cell, pts_seconds, duration_seconds, source, kind, motion)


def concatenated(parts: Sequence[Tensor]) -> Tensor:
    """Joins tensors along rows as ``torch.cat`` does, but copies nothing if only one has rows."""
    some = [part for part in parts if len(part)]
    return some[0] if len(some) == 1 else torch.cat(list(parts))


def joined(chunks: list[TokenChunk]) -> TokenChunk:
    """Joins consecutive chunks."""
    return TokenChunk(*map(concatenated, zip(*chunks, strict=True)))


def split(chunk: TokenChunk, frames: int, before: int = 0) -> tuple[TokenChunk, TokenChunk]:
    """Splits a chunk into its first ``frames`` frames and the others. Nothing is copied.

    Args:
        before: the number of frames of the video before the chunk.
    """
    # Not all tokens are of kept cells: a tower with a tolerance computes others, too.
    tokens = int((chunk.frame < before + frames).sum())
    ends = [tokens if name in _OF_TOKENS else frames for name in TokenChunk._fields]
    first = (part[:end] for part, end in zip(chunk, ends, strict=True))
    others = (part[end:] for part, end in zip(chunk, ends, strict=True))
    return TokenChunk(*first), TokenChunk(*others)
