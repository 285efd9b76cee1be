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

    On the CPU, but for the features: they are where the tower, or without one the video, is.
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
    """What the gate says of a chunk, on the CPU."""

    cells: Tensor  # [K] int64, flat over [T, h, w]
    source: Tensor  # [T, h, w] int64
    kind: Tensor  # [T, h, w] uint8
    motion: Tensor  # [T, h, w, 2] int8


def chunk_of(
    features: Tensor,  # [K, D]
    told: HostResult,
    pts_seconds: Tensor,  # [T]
    duration_seconds: Tensor,  # [T]
    frames_before: int,
) -> TokenChunk:
    """Tokens with their places, of frames that follow so many others."""
    index, source, kind, motion = told
    h, w = kind.shape[1:]
    frame = index // (h * w) + frames_before
    cell = torch.stack([index // w % h, index % w], 1)
    return TokenChunk(features, frame, cell, pts_seconds, duration_seconds, source, kind, motion)


def concatenated(parts: Sequence[Tensor]) -> Tensor:
    """``torch.cat`` along rows, without a copy where only one of them has any."""
    some = [part for part in parts if len(part)]
    return some[0] if len(some) == 1 else torch.cat(list(parts))


def joined(chunks: list[TokenChunk]) -> TokenChunk:
    """Consecutive chunks as one."""
    return TokenChunk(*map(concatenated, zip(*chunks, strict=True)))


def split(chunk: TokenChunk, frames: int, before: int = 0) -> tuple[TokenChunk, TokenChunk]:
    """The first so many frames, and the others. Nothing is copied.

    Args:
        before: frames of the video before the chunk.
    """
    # Not all tokens are of kept cells: a tower with a tolerance computes others anew.
    tokens = int((chunk.frame < before + frames).sum())
    ends = [tokens if name in _OF_TOKENS else frames for name in TokenChunk._fields]
    first = (part[:end] for part, end in zip(chunk, ends, strict=True))
    others = (part[end:] for part, end in zip(chunk, ends, strict=True))
    return TokenChunk(*first), TokenChunk(*others)
