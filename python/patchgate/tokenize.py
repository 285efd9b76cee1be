"""The main job: a video in, the tokens of what changed out."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import torch

from patchgate._check import checked_size
from patchgate.decode import Video, open_video
from patchgate.encoders.gated_tower import GatedTower
from patchgate.features import Features, PixelFeatures, TowerFeatures
from patchgate.gate import Gate
from patchgate.pipeline import FrameSource, token_chunks, until_used_up
from patchgate.tokens import TokenChunk, TokenLayout, VideoTokens, cu_seqlens, spans
from patchgate.tokens.layout import layout_of

DEFAULT_SIZE = (378, 378)


def tokenize(
    video: Any,
    tower: GatedTower | None = None,
    gate: Gate | None = None,
    size: int | tuple[int, int] = DEFAULT_SIZE,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    device: str = "cpu",
    on_chunk: Callable[[TokenChunk], None] | None = None,
    **open_options: Any,
) -> VideoTokens:
    """Turns every frame of a video into tokens, of which only the changed cells are new.

    Args:
        video: a path, a file object, bytes, or a ``Video`` that is already open.
        tower: a tower made by ``gated``: the features are its last hidden states of each cell in
            the frame that kept it (what a tolerance computes of still cells later is not stored),
            and only kept cells are ever converted to RGB. None: the cells' own samples.
        gate: its settings are used, with a fresh state; None: the tower's, or ``Gate(size=size)``.
        size: ``(H, W)`` of the grid in pixels, where neither tower nor gate says.
        fps: frames per second to look at; None: every frame.
        start, end: seconds on the video's clock.
        device: "cpu", or "cuda" to decode on the GPU: frames never leave it.
        on_chunk: called with every ``TokenChunk`` as it is made.
        open_options: further options of ``open_video``, as ``chunk`` and ``threads``.

    Returns:
        ``VideoTokens`` on the CPU (features: where the tower is, or without one the video).
        Memory: the tokens, 11 bytes per cell and frame, and a few chunks of frames, whatever the
        video's length; on a GPU see ``surface_chunks``. A video of more than 2^31 - 2 tokens ends
        there, with a warning that says where to go on.

    Raises:
        FileNotFoundError, ValueError, TypeError: from ``open_video`` and ``Gate``; a tower that is
            not gated; a gate that does not fit the tower.
    """
    gate = fitting_gate(tower, gate, size)
    with opened(video, fps, start, end, device, open_options) as source:
        gate, features = prepared(source, tower, gate)
        layout = layout_of(gate, source.colour.matrix) if tower is None else None
        return collected(source, gate, features, layout, on_chunk)


def fitting_gate(tower: GatedTower | None, gate: Gate | None, size: int | tuple[int, int]) -> Gate:
    """A fresh gate, of the tower's size where there is a tower."""
    return sized_gate(gate, size) if tower is None else _tower_gate(tower, gate, size)


def prepared(source: Video, tower: GatedTower | None, gate: Gate) -> tuple[Gate, Features]:
    """The gate for this video's frames, and what becomes of the cells that it keeps."""
    if tower is None:
        own = cast("tuple[int, int]", gate.size)
        return gate, PixelFeatures(gate.settings, own, source.device)
    place = tower.pixel_spec.place(source.height, source.width)
    own = (place[0].size, place[1].size)
    return gate.fresh(size=own), TowerFeatures(tower, own)


def collected(
    source: FrameSource,
    gate: Gate,
    features: Features,
    layout: TokenLayout | None,
    on_chunk: Callable[[TokenChunk], None] | None = None,
) -> VideoTokens:
    """The pipeline to its end, in one container."""
    chunks = []
    for chunk in until_used_up(token_chunks(source, gate, features=features)):
        chunks.append(chunk)
        if on_chunk is not None:
            on_chunk(chunk)
    return assemble(chunks, empty_chunk(gate, features), layout)


def _tower_gate(tower: GatedTower, gate: Gate | None, size: int | tuple[int, int]) -> Gate:
    """A fresh gate that fits the tower."""
    if not isinstance(tower, GatedTower):
        raise TypeError(
            f"tower: expected one made by patchgate.gated(...), got {type(tower).__name__}"
        )
    own = tower.gate_settings
    settings = own if gate is None else gate.settings
    for name in ("patch", "merge", "temporal_patch", "fit"):
        if getattr(settings, name) != getattr(own, name):
            raise ValueError(
                f"gate: the tower needs {name}={getattr(own, name)}, got {getattr(settings, name)}"
            )
    if settings.size not in (None, own.size):
        raise ValueError(f"gate: the tower needs size={own.size}, got {settings.size}")
    if not _is_default(size) and checked_size("size", size, own.cell) != own.size:
        raise ValueError(f"size: the tower takes {own.size}, got {size}")
    return Gate.of(replace(settings, size=own.size))


@contextlib.contextmanager
def opened(
    video: Any,
    fps: float | None,
    start: float | None,
    end: float | None,
    device: str,
    options: dict[str, Any],
) -> Iterator[Video]:
    """The video, opened; closed afterwards if it was opened here."""
    if isinstance(video, Video):
        if options or any(value is not None for value in (fps, start, end)):
            raise ValueError("an open Video has its fps, start, end and options already")
        yield video
        return
    with open_video(video, fps=fps, start=start, end=end, device=device, **options) as opened:
        yield opened


def sized_gate(gate: Gate | None, size: int | tuple[int, int]) -> Gate:
    """A gate of the same settings with no state, and with a size."""
    if gate is None:
        return Gate(size=size)
    if not isinstance(gate, Gate):
        raise TypeError(f"gate: expected a patchgate.Gate, got {type(gate).__name__}")
    own = gate.size
    if own is None:
        return gate.fresh(size=size)
    if not _is_default(size) and checked_size("size", size, gate.settings.cell) != own:
        raise ValueError(f"size: the gate has size={own}, got size={size} beside it")
    return gate.fresh()


def _is_default(size: Any) -> bool:
    return isinstance(size, tuple) and size == DEFAULT_SIZE  # arrays have no one answer


def assemble(
    chunks: list[TokenChunk], empty: TokenChunk, layout: TokenLayout | None
) -> VideoTokens:
    """One container of consecutive chunks from the video's start."""
    joined = TokenChunk(*map(torch.cat, zip(empty, *chunks, strict=True)))
    return VideoTokens(
        **joined._asdict(),
        span=spans(joined.frame, joined.source),
        cu_seqlens=cu_seqlens(joined.kind),
        layout=layout,
    )


def empty_chunk(gate: Gate, features: Features | None = None) -> TokenChunk:
    """No frames and no tokens, in the right shapes."""
    assert gate.size is not None
    h, w = (side // gate.settings.cell for side in gate.size)
    return TokenChunk(
        features=(features or PixelFeatures(gate.settings, gate.size)).empty(),
        frame=torch.empty(0, dtype=torch.int64, device="cpu"),
        cell=torch.empty((0, 2), dtype=torch.int64, device="cpu"),
        pts_seconds=torch.empty(0, dtype=torch.float64, device="cpu"),
        duration_seconds=torch.empty(0, dtype=torch.float64, device="cpu"),
        source=torch.empty((0, h, w), dtype=torch.int64, device="cpu"),
        kind=torch.empty((0, h, w), dtype=torch.uint8, device="cpu"),
        motion=torch.empty((0, h, w, 2), dtype=torch.int8, device="cpu"),
    )
