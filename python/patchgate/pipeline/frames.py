"""Runs the stages, a batch of frames at a time: decode -> grid -> gate -> compact -> gather.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
D features, p cell side.
"""

import contextlib
import warnings
from collections.abc import Generator, Iterator
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from patchgate import _ops
from patchgate.decode import FrameBatch, Video
from patchgate.encoders.run.session import later_ids
from patchgate.gate import Gate
from patchgate.gate.memory import TokenIdsUsedUp
from patchgate.pipeline.features import Features, GatedCells, PixelFeatures
from patchgate.pipeline.prefetch import prefetch
from patchgate.pipeline.stages import StageSeconds, spare_threads, timed
from patchgate.pipeline.surfaces import surface_chunks
from patchgate.pipeline.tubelets import whole_tubelets
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import HostResult, chunk_of


class FrameSource(Protocol):
    """The part of a ``Video`` that the pipeline needs."""

    threads: int  # that the decoder takes

    def __iter__(self) -> Iterator[FrameBatch]: ...


def token_chunks(
    video: FrameSource,
    gate: Gate,
    stages: StageSeconds | None = None,
    features: Features | None = None,
) -> Generator[TokenChunk, None, None]:
    """Runs the pipeline over a video and yields the tokens of each batch of frames.

    Args:
        video: an open video, which is read from its beginning.
        gate: a gate with a size and without state.
        stages: counts the seconds of each stage, if given.
        features: makes features of the kept cells; None: their pixels.

    Raises:
        TokenIdsUsedUp: the video has more tokens than int32 has numbers; see ``until_used_up``.
    """
    stages = stages or StageSeconds()
    if features is None:
        assert gate.size is not None
        features = PixelFeatures(gate.settings, gate.size)
    if isinstance(video, Video) and video.decoder == "nvdec":
        yield from surface_chunks(video, gate, stages, features)
        return
    frames_seen = 0
    first = 0  # the gate's number of the video's first token, whose own is 0
    for frames in _gridded(video, gate, features, stages):
        with stages.time("gate"), spare_threads(video.threads):
            result = gate._pushed(frames.planes, None)  # nobody else has this gate: no undo
            index, _, count = _ops.compact(result.kind, result.kind.numel())
            index = index[: int(count)]  # [K]
            if not frames_seen and len(result.kind):
                first = int(result.source[0, 0, 0])
            source, later = result.source, later_ids(gate)
            if first:
                source, later = source - first, later - first
            needed = features.needed(result.kind)
            gated = GatedCells(result.kind, source, needed, later)
        with stages.time("gather"), spare_threads(video.threads):
            cells = needed.flatten().nonzero().flatten()  # [G]
            rows = features.rows(frames.planes, frames.batch, cells)
        with spare_threads(video.threads):
            tokens = features.encode(rows, gated, stages.time)
        on_device = (index, source, result.kind, result.motion)
        host = HostResult(*(tensor.cpu() for tensor in on_device))
        yield chunk_of(tokens, host, frames.pts_seconds, frames.duration_seconds, frames_seen)
        frames_seen += len(frames.pts_seconds)


def until_used_up(chunks: Iterator[TokenChunk]) -> Generator[TokenChunk, None, None]:
    """Yields the chunks of ``token_chunks`` until token ids are used up.

    A warning then says where to go on. The chunks before that stay valid.
    """
    until = None
    try:
        for chunk in chunks:
            yield chunk
            if len(chunk.kind):
                until = float(chunk.pts_seconds[-1] + chunk.duration_seconds[-1])
    except TokenIdsUsedUp:
        if until is None:
            raise
        warnings.warn(
            f"the video has more tokens than there are numbers for: these end at {until:g} s; "
            f"tokenize the rest on its own, with start={until}",
            stacklevel=2,
        )


class _GriddedFrames(NamedTuple):
    """Frames on the gate's grid, in whole tubelets."""

    batch: FrameBatch  # as decoded; the last frame of the last tubelet may be missing
    planes: Tensor  # [T * f, C, H, W]
    pts_seconds: Tensor  # [T]
    duration_seconds: Tensor  # [T]


def _gridded(
    video: FrameSource, gate: Gate, features: Features, stages: StageSeconds
) -> Iterator[_GriddedFrames]:
    f = gate.settings.temporal_patch
    with contextlib.closing(prefetch(timed(iter(video), stages, "decode"))) as decoded:
        for batch in whole_tubelets(timed(decoded, stages, "wait"), f):
            with stages.time("grid"), spare_threads(video.threads):
                planes = features.to_grid(batch)
            missing = -len(batch) % f  # the last frame is repeated, as in transformers
            if missing:
                planes = torch.cat([planes, planes[-1:].expand(missing, -1, -1, -1)])
            duration = torch.nn.functional.pad(batch.duration_seconds, (0, missing))
            yield _GriddedFrames(batch, planes, batch.pts_seconds[::f], duration.view(-1, f).sum(1))
