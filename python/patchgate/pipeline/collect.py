"""Collects the chunks of a whole video in one container. Letters: h w cells."""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch

from patchgate.gate import Gate
from patchgate.pipeline.features import Features, PixelFeatures
from patchgate.pipeline.frames import FrameSource, token_chunks, until_used_up
from patchgate.tokens import (
    TokenChunk,
    TokenGrid,
    TokenLayout,
    VideoTokens,
    cu_seqlens,
    grid_of,
    spans,
)
from patchgate.tokens.check import contradiction
from patchgate.tokens.chunk import joined


def collected(
    source: FrameSource,
    gate: Gate,
    features: Features,
    layout: TokenLayout | None,
    on_chunk: Callable[[TokenChunk], None] | None = None,
) -> VideoTokens:
    """Runs the pipeline to its end and collects its chunks in one container.

    Args:
        layout: that of tokens of pixels; None: they are a tower's.
    """
    chunks = []
    for chunk in until_used_up(token_chunks(source, gate, features=features)):
        chunks.append(chunk)
        if on_chunk is not None:
            on_chunk(chunk)
    grid = grid_of(gate) if layout is None else None
    return assemble(chunks, empty_chunk(gate, features), layout, grid)


def assemble(
    chunks: list[TokenChunk],
    empty: TokenChunk,
    layout: TokenLayout | None,
    grid: TokenGrid | None = None,
) -> VideoTokens:
    """Joins consecutive chunks from the video's start in one container."""
    whole = joined([empty, *chunks])
    return VideoTokens(
        **whole._asdict(),
        span=spans(whole.frame, whole.source),
        cu_seqlens=cu_seqlens(whole.kind),
        layout=layout,
        grid=grid,
    )


def checked_whole(
    chunks: Sequence[TokenChunk],
    empty: TokenChunk,
    layout: TokenLayout | None,
    grid: TokenGrid | None = None,
) -> VideoTokens:
    """Joins chunks that a user has kept.

    Raises:
        TypeError: they are no chunks.
        ValueError: one is missing, or they are not in their order.
    """
    for each in chunks:
        if not isinstance(each, TokenChunk):
            raise TypeError(f"chunks: expected TokenChunks, got {type(each).__name__}")
    expected = "chunks: expected those of all pushes since the first one, in their order"
    try:
        tokens = assemble(list(chunks), empty, layout, grid)
    except (
        RuntimeError,
        IndexError,
        ValueError,
    ) as error:  # another grid; a token that is not there
        raise ValueError(f"{expected} ({error})") from error
    told = (None if each is None else asdict(each) for each in (layout, grid))
    if wrong := contradiction(tokens.tensors(), *told):
        raise ValueError(f"{expected} ({wrong})")
    return tokens


def empty_chunk(gate: Gate, features: Features | None = None) -> TokenChunk:
    """Makes a chunk of no frames and no tokens, with the right shapes and dtypes."""
    assert gate.size is not None
    h, w = (side // gate.settings.cell for side in gate.size)
    f, planes = gate.settings.temporal_patch, 3 if gate.settings.chroma else 1
    lit = gate.settings.illumination is not None
    return TokenChunk(
        features=(features or PixelFeatures(gate.settings, gate.size)).empty(),
        frame=torch.empty(0, dtype=torch.int64, device="cpu"),
        cell=torch.empty((0, 2), dtype=torch.int64, device="cpu"),
        pts_seconds=torch.empty(0, dtype=torch.float64, device="cpu"),
        duration_seconds=torch.empty(0, dtype=torch.float64, device="cpu"),
        source=torch.empty((0, h, w), dtype=torch.int64, device="cpu"),
        kind=torch.empty((0, h, w), dtype=torch.uint8, device="cpu"),
        motion=torch.empty((0, h, w, 2), dtype=torch.int8, device="cpu"),
        weights=torch.empty((0, f, planes, 2), dtype=torch.int32, device="cpu") if lit else None,
        lit=torch.empty((0, h, w), dtype=torch.bool, device="cpu") if lit else None,
    )
