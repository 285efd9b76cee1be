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
    weights: Tensor | None = None  # [T, f, C, 2] int32: the light; None: it is not followed
    lit: Tensor | None = None  # [T, h, w] bool, with weights: cells that follow it

    def tensors(self) -> dict[str, Tensor]:
        """Returns the fields that are set, by name."""
        return {name: part for name, part in self._asdict().items() if part is not None}


class HostResult(NamedTuple):
    """The gate's result for a chunk, on the CPU."""

    cells: Tensor  # [K] int64, flat over [T, h, w]
    source: Tensor  # [T, h, w] int64
    kind: Tensor  # [T, h, w] uint8
    motion: Tensor  # [T, h, w, 2] int8
    weights: Tensor | None = None  # [T, f or 0, C, 2] int32
    lit: Tensor | None = None  # [T, h or 0, w] bool: no rows if the light is not followed


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
    index, source, kind, motion, weights, lit = host
    h, w = kind.shape[1:]
    if index.shape[0]:
        frame = index // (h * w) + frames_before
        cell = torch.stack([index // w % h, index % w], 1)
    else:  # as of most frames of a still camera
        frame, cell = index.new_empty(0), index.new_empty((0, 2))
    if lit is not None and not lit.shape[1]:
        weights = lit = None
    times = (pts_seconds, duration_seconds)
    return TokenChunk(features, frame, cell, *times, source, kind, motion, weights, lit)


def concatenated(parts: Sequence[Tensor]) -> Tensor:
    """Joins tensors along rows as ``torch.cat`` does, but copies nothing if only one has rows."""
    some = [part for part in parts if len(part)]
    return some[0] if len(some) == 1 else torch.cat(list(parts))


def joined(chunks: Sequence[TokenChunk]) -> TokenChunk:
    """Joins consecutive chunks.

    Raises:
        ValueError: some have the light, and others have not.
    """
    parts: dict[str, Tensor] = {}
    for name, *column in zip(TokenChunk._fields, *chunks, strict=True):
        known = [part for part in column if part is not None]
        if 0 < len(known) < len(column):
            raise ValueError("expected chunks of one gate: some have the light, others have not")
        if known:
            parts[name] = concatenated(known)
    return TokenChunk(**parts)


def no_frames(like: TokenChunk) -> TokenChunk:
    """Makes a chunk of no frames and no tokens."""
    return TokenChunk(**{name: part[:0] for name, part in like.tensors().items()})


def split(chunk: TokenChunk, frames: int, before: int = 0) -> tuple[TokenChunk, TokenChunk]:
    """Splits a chunk into its first ``frames`` frames and the others. Nothing is copied.

    Args:
        before: the number of frames of the video before the chunk.
    """
    # Not all tokens are of kept cells: a tower with a tolerance computes others, too.
    tokens = int((chunk.frame < before + frames).sum())
    ends = [tokens if name in _OF_TOKENS else frames for name in TokenChunk._fields]
    end = dict(zip(TokenChunk._fields, ends, strict=True))
    parts = chunk.tensors()
    first = {name: part[: end[name]] for name, part in parts.items()}
    others = {name: part[end[name] :] for name, part in parts.items()}
    return TokenChunk(**first), TokenChunk(**others)
