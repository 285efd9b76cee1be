"""The main job: a video in, the tokens of what changed out, in one pass and a chunk at a time.

decode -> grid -> gate -> compact -> gather -> (encode -> merge) -> VideoTokens
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchgate import _ops, grid
from patchgate._check import checked_size
from patchgate.colour import Matrix
from patchgate.decode import FrameBatch, Video, open_video
from patchgate.decode.source import usable_cpus
from patchgate.gate import Gate
from patchgate.prefetch import prefetch
from patchgate.tokens import TokenLayout, VideoTokens, cu_seqlens, spans

DEFAULT_SIZE = (378, 378)


class TokenChunk(NamedTuple):
    """The tokens of a few consecutive frames. Token ids and frames count from the video's start."""

    features: Tensor  # [K, D]
    frame: Tensor  # [K] int64
    cell: Tensor  # [K, 2] int64
    pts_seconds: Tensor  # [T] float64
    duration_seconds: Tensor  # [T] float64
    source: Tensor  # [T, h, w] int64
    kind: Tensor  # [T, h, w] uint8
    motion: Tensor  # [T, h, w, 2] int8


@dataclass
class StageSeconds:
    """Wall-clock seconds of each stage. Decoding runs beside the others; "wait" is for it."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def time(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent


def tokenize(
    video: Any,
    tower: None = None,
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
        tower: must be None: the features are the cells' own samples on the grid.
        gate: its settings are used, with a fresh state; None: ``Gate(size=size)``.
        size: ``(H, W)`` of the grid in pixels, where the gate does not say.
        fps: frames per second to look at; None: every frame.
        start, end: seconds on the video's clock.
        device: "cpu".
        on_chunk: called with every ``TokenChunk`` as it is made.
        open_options: further options of ``open_video``, as ``chunk`` and ``threads``.

    Returns:
        ``VideoTokens`` on the CPU. Memory: the tokens, 11 bytes per cell and frame, and a few
        chunks of frames, whatever the video's length.

    Raises:
        FileNotFoundError, ValueError, TypeError: from ``open_video`` and ``Gate``.
    """
    if tower is not None:
        raise TypeError(f"tower: expected None (features are pixels), got {type(tower).__name__}")
    gate = sized_gate(gate, size)
    with _opened(video, fps, start, end, device, open_options) as source:
        chunks, matrix = [], source.colour.matrix
        for chunk in token_chunks(source, gate):
            chunks.append(chunk)
            if on_chunk is not None:
                on_chunk(chunk)
    return assemble(chunks, gate, matrix)


@contextlib.contextmanager
def _opened(
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
    if size != DEFAULT_SIZE and checked_size("size", size, gate.settings.cell) != own:
        raise ValueError(f"size: the gate has size={own}, got size={size} beside it")
    return gate.fresh()


def token_chunks(
    video: Video, gate: Gate, stages: StageSeconds | None = None
) -> Generator[TokenChunk, None, None]:
    """The pipeline, a batch of frames at a time. ``gate`` is fresh and has a size."""
    stages = stages or StageSeconds()
    emitted = frames_seen = 0
    for planes, pts, duration in _tubelets(video, gate, stages):
        with stages.time("gate"), _spare_threads(video.threads):
            result = gate.push(planes)
        with stages.time("gather"), _spare_threads(video.threads):
            features, frame, cell = _changed_cells(planes, result.kind, gate)
        yield TokenChunk(
            features,
            frame + frames_seen,
            cell,
            pts,
            duration,
            result.source,
            result.kind,
            result.motion,
        )
        emitted += len(features)
        frames_seen += len(pts)


def _tubelets(
    video: Video, gate: Gate, stages: StageSeconds
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Grid planes ``[T * f, C, H, W]`` in whole tubelets, with pts and duration ``[T]``."""
    f = gate.settings.temporal_patch
    held: list[Tensor] = []  # planes, pts, duration of a frame that waits for its partner
    for planes, pts, duration in _grids(video, gate, stages):
        parts = [planes, pts, duration]
        if held:
            parts = [torch.cat(pair) for pair in zip(held, parts, strict=True)]
        whole = len(parts[1]) // f * f
        held = [part[whole:].clone() for part in parts] if whole < len(parts[1]) else []
        planes, pts, duration = (part[:whole] for part in parts)
        if whole:
            yield planes, pts[::f], duration.view(-1, f).sum(1)
    if held:  # repeated, as transformers does
        planes, pts, duration = held
        yield torch.cat([planes, planes]), pts, duration


def _grids(
    video: Video, gate: Gate, stages: StageSeconds
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    assert gate.size is not None
    with contextlib.closing(prefetch(_timed(iter(video), stages, "decode"))) as decoded:
        for batch in _timed(decoded, stages, "wait"):
            with stages.time("grid"), _spare_threads(video.threads):
                planes = grid.to_grid(batch, gate.size, gate.settings.fit)
            yield planes, batch.pts_seconds, batch.duration_seconds


def _timed(batches: Iterator[FrameBatch], stages: StageSeconds, stage: str) -> Generator[FrameBatch, None, None]:
    while True:
        with stages.time(stage):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


@contextlib.contextmanager
def _spare_threads(decoding: int) -> Iterator[None]:
    """Leaves the decoder its cores: OpenMP's threads spin while they wait, and would take them."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(1, usable_cpus() - decoding)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _changed_cells(planes: Tensor, kind: Tensor, gate: Gate) -> tuple[Tensor, Tensor, Tensor]:
    """The samples ``[K, D]``, frames ``[K]`` and cells ``[K, 2]`` of the changed cells."""
    h, w = kind.shape[1:]
    index, _, count = _ops.compact(kind, kind.numel())
    index = index[: int(count)]
    frame, row, column = index // (h * w), index // w % h, index % w
    samples = _samples(planes, frame, row, column, gate)
    return samples, frame, torch.stack([row, column], 1)


def _samples(planes: Tensor, frame: Tensor, row: Tensor, column: Tensor, gate: Gate) -> Tensor:
    """The cells' own pixels ``[K, f * C * p * p]``: Y, then Cb and Cr, frame after frame.

    Copied in runs of p samples: seen so, ``planes`` is a table of rows, and this an expansion.
    """
    p, (_, c, height, width) = gate.settings.cell, planes.shape
    per_row, per_plane = width // p, height * width // p  # runs
    per_cell = gate.settings.temporal_patch * c  # planes
    within = torch.arange(per_cell)[:, None] * per_plane + torch.arange(p) * per_row  # [f * C, p]
    start = frame * (per_cell * per_plane) + row * (p * per_row) + column  # [K]
    return _ops.expand(planes.view(-1, p), start[:, None, None] + within).flatten(1)


def layout_of(gate: Gate, matrix: Matrix) -> TokenLayout:
    """Pixel tokens of this gate: always Y, Cb and Cr, as the grid has them."""
    return TokenLayout(gate.settings.cell, 3, gate.settings.temporal_patch, matrix)


def assemble(chunks: list[TokenChunk], gate: Gate, matrix: Matrix) -> VideoTokens:
    """One container of consecutive chunks from the video's start."""
    layout = layout_of(gate, matrix)
    joined = TokenChunk(*map(torch.cat, zip(empty_chunk(gate), *chunks, strict=True)))
    return VideoTokens(
        **joined._asdict(),
        span=spans(joined.frame, joined.source),
        cu_seqlens=cu_seqlens(joined.kind),
        layout=layout,
    )


def empty_chunk(gate: Gate) -> TokenChunk:
    """No frames and no tokens, in the right shapes."""
    assert gate.size is not None
    h, w = (side // gate.settings.cell for side in gate.size)
    width = gate.settings.temporal_patch * 3 * gate.settings.cell**2
    return TokenChunk(
        features=torch.empty((0, width), dtype=torch.uint8),
        frame=torch.empty(0, dtype=torch.int64),
        cell=torch.empty((0, 2), dtype=torch.int64),
        pts_seconds=torch.empty(0, dtype=torch.float64),
        duration_seconds=torch.empty(0, dtype=torch.float64),
        source=torch.empty((0, h, w), dtype=torch.int64),
        kind=torch.empty((0, h, w), dtype=torch.uint8),
        motion=torch.empty((0, h, w, 2), dtype=torch.int8),
    )
