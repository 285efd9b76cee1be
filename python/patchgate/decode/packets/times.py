"""The times of the frames that an opened video gives, with as little decoding as possible.

Letters: T frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import doubles

from ..pyav import PyAVReader
from ..timeline import Timed, resampled
from ..video import Video
from .listing import Listing, listing


class FrameTimes(NamedTuple):
    """The times of the frames of a video, or of some of them."""

    pts_seconds: Tensor  # [T] float64
    duration_seconds: Tensor  # [T] float64: to the next frame of the video


def frame_times(video: Video) -> FrameTimes:
    """Lists the frames that an iteration of a video gives, with its start, end and fps.

    Packets are read without decoding them, as far as ``listing`` can. A file object is decoded,
    because it has one position only, and another reader would move it.

    Raises:
        ValueError: the video can be read only once.
        OSError: it cannot be read.
    """
    source = video._source
    source.need_repeatable("its frames are counted before they are decoded")
    if source.is_file_object:
        batches = [(batch.pts_seconds, batch.duration_seconds) for batch in video]
        none = doubles([])
        pts, duration = zip((none, none), *batches, strict=True)
        return FrameTimes(torch.cat(pts), torch.cat(duration))
    reader = PyAVReader(source, threads=video.threads, errors="ignore")
    try:
        found = listing(reader)
    finally:
        reader.close()
    return _times(video._selected(iter(_timed(found)), found.clock), found.clock)


def at_rate(times: FrameTimes, fps: float, start: float | None = None) -> FrameTimes:
    """Chooses the frames that ``open_video(fps=)`` does, of those of a video without ``fps``.

    ``start`` is that of the video, in seconds.
    """
    pairs = zip(times.pts_seconds.tolist(), times.duration_seconds.tolist(), strict=True)
    frames: Any = (Timed(None, *pair) for pair in pairs)
    clock: Any = _Seconds()
    return _times(resampled(frames, clock, fps=fps, start=start), clock)


class _Seconds:
    """A clock whose ticks are seconds."""

    def seconds(self, ticks: float) -> float:
        return ticks


def _timed(found: Listing) -> list[Timed[Any]]:
    """Returns the listed frames with the time to the next one."""
    ticks = found.ticks.tolist()
    spans = [*(after - before for before, after in pairwise(ticks)), found.last_span]
    return [Timed(None, *pair) for pair in zip(ticks, spans, strict=True)]


def _times(frames: Iterable[Timed[Any]], clock: Any) -> FrameTimes:
    """Brings ticks to seconds."""
    pairs = [(clock.seconds(frame.ticks), clock.seconds(frame.span)) for frame in frames]
    return FrameTimes(doubles([pts for pts, _ in pairs]), doubles([span for _, span in pairs]))
