"""Runs the stages over a video: decode -> grid -> gate -> compact -> gather."""

import contextlib
import warnings
from collections.abc import Generator, Iterator
from typing import Protocol

from patchgate.decode import FrameBatch, Video
from patchgate.gate import Gate
from patchgate.gate.memory import TokenIdsUsedUp
from patchgate.pipeline.chunker import Chunker
from patchgate.pipeline.features import Features, PixelFeatures
from patchgate.pipeline.prefetch import prefetch
from patchgate.pipeline.stages import StageSeconds, timed
from patchgate.pipeline.surfaces import surface_chunks
from patchgate.pipeline.tubelets import whole_tubelets
from patchgate.tokens import TokenChunk


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
    chunker = Chunker(gate, features, stages, video.threads)
    with contextlib.closing(prefetch(timed(iter(video), stages, "decode"))) as decoded:
        waited = timed(decoded, stages, "wait")
        for batch in whole_tubelets(waited, gate.settings.temporal_patch):
            yield chunker.push(batch)


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
