"""The stages in a row, a batch of frames at a time: decode -> grid -> gate -> compact -> gather.

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
from patchgate.borrowed import surface_chunks
from patchgate.chunks import StageSeconds as StageSeconds
from patchgate.chunks import TokenChunk as TokenChunk
from patchgate.chunks import Told, chunk_of
from patchgate.decode import FrameBatch, Video
from patchgate.decode.source import usable_cpus
from patchgate.features import Features, KeptCells, PixelFeatures
from patchgate.gate import Gate
from patchgate.gate_memory import TokenIdsUsedUp
from patchgate.prefetch import prefetch
from patchgate.tubelets import whole_tubelets


class FrameSource(Protocol):
    """What the pipeline needs of a ``Video``."""

    threads: int  # that the decoder takes

    def __iter__(self) -> Iterator[FrameBatch]: ...


def token_chunks(
    video: FrameSource,
    gate: Gate,
    stages: StageSeconds | None = None,
    features: Features | None = None,
) -> Generator[TokenChunk, None, None]:
    """The pipeline, a batch of frames at a time.

    Args:
        video: open; read from its beginning.
        gate: fresh, and with a size.
        stages: collects where the time goes.
        features: of the kept cells; None: their pixels.

    Raises:
        TokenIdsUsedUp: the video has more tokens than there are numbers for; see ``until_used_up``.
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
    for look in _looks(video, gate, features, stages):
        with stages.time("gate"), spare_threads(video.threads):
            result = gate.push(look.planes)
            index, cu_seqlens, count = _ops.compact(result.kind, result.kind.numel())
            index = index[: int(count)]  # [K]
            if not frames_seen and len(result.kind):
                first = int(result.source[0, 0, 0])
            source, ids = result.source, gate.picture_ids
            assert ids is not None
            source, names = (x - first if first else x for x in (source, ids.flatten().long()))
            kept = KeptCells(index, cu_seqlens, source, names)
        with stages.time("gather"), spare_threads(video.threads):
            rows = features.rows(look.planes, look.batch, index)
        with spare_threads(video.threads):
            tokens = features.of(rows, kept, stages.time)
        said = (index, source, result.kind, result.motion)
        told = Told(*(tensor.cpu() for tensor in said))
        yield chunk_of(tokens, told, look.pts_seconds, look.duration_seconds, frames_seen)
        frames_seen += len(look.pts_seconds)


def until_used_up(chunks: Iterator[TokenChunk]) -> Generator[TokenChunk, None, None]:
    """The chunks of ``token_chunks``, as long as there are numbers for their tokens; a warning says
    where that ended. What came so far stands.
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


class _Look(NamedTuple):
    """Frames on their way to the gate, in whole tubelets."""

    batch: FrameBatch  # as decoded; the last frame of the last tubelet may be missing
    planes: Tensor  # [T * f, C, H, W]
    pts_seconds: Tensor  # [T]
    duration_seconds: Tensor  # [T]


def _looks(
    video: FrameSource, gate: Gate, features: Features, stages: StageSeconds
) -> Iterator[_Look]:
    f = gate.settings.temporal_patch
    with contextlib.closing(prefetch(_timed(iter(video), stages, "decode"))) as decoded:
        for batch in whole_tubelets(_timed(decoded, stages, "wait"), f):
            with stages.time("grid"), spare_threads(video.threads):
                planes = features.look(batch)
            missing = -len(batch) % f  # repeated, as transformers does
            if missing:
                planes = torch.cat([planes, planes[-1:].expand(missing, -1, -1, -1)])
            duration = torch.nn.functional.pad(batch.duration_seconds, (0, missing))
            yield _Look(batch, planes, batch.pts_seconds[::f], duration.view(-1, f).sum(1))


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
def spare_threads(decoding: int) -> Iterator[None]:
    """Leaves the decoder its cores: OpenMP's threads spin while they wait, and would take them."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, max(1, usable_cpus() - decoding)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
