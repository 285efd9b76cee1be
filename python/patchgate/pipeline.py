"""The stages in a row, a batch of frames at a time: decode -> grid -> gate -> compact -> gather.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
D features, p cell side.
"""

import contextlib
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate import _ops, grid
from patchgate.decode import FrameBatch, Video
from patchgate.decode.source import usable_cpus
from patchgate.gate import Gate
from patchgate.prefetch import prefetch


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


def token_chunks(
    video: Video, gate: Gate, stages: StageSeconds | None = None
) -> Generator[TokenChunk, None, None]:
    """The pipeline, a batch of frames at a time. ``gate`` is fresh and has a size."""
    stages = stages or StageSeconds()
    frames_seen = 0
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


def _timed(
    batches: Iterator[FrameBatch], stages: StageSeconds, stage: str
) -> Generator[FrameBatch, None, None]:
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
