"""Decodes some frames of a video and as few others as can be. Letters: n wanted frames."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from patchgate.decode import FrameBatch, open_video
from patchgate.decode.source.source import VideoSource, default_threads
from patchgate.policies.frames import Frames

_MOST_RUNS = {"seek": 1 << 62, "read": 16, "decode": 1}  # by what it costs to begin anew


class WantedFrames:
    """Some frames, in order of time, as the pipeline takes them.

    Decoding goes on from one wanted frame to the next, or begins anew at the last key frame before
    it, whichever decodes less; where the container is read from its beginning for that, only over
    the longest stretches.

    Args:
        video: what ``open_video`` takes and can be opened again.
        frames: the video's, as ``container_frames`` gives them.
        numbers: ``[n]`` int64, rising: which are wanted.
        options: of ``open_video``.

    ``decoded`` counts the frames that were taken from the decoder since this was made: of each run
    all from its first wanted one to its last. What a decoder needs before, from the last key frame
    on, does not come out of it. ``missing`` has the numbers of those that did not come out so far
    though they were wanted: what they lean on is damaged.
    """

    def __init__(self, video: VideoSource, frames: Frames, numbers: Tensor, **options: Any) -> None:
        at = torch.searchsorted(frames.number, numbers).clamp(max=max(len(frames) - 1, 0))
        if not frames.number[at].equal(numbers):
            raise ValueError(f"expected numbers of the video's frames, got {numbers.tolist()}")
        self._video, self._options = video, options
        self._pts, self._numbers = frames.pts[at], numbers  # [n]
        keys = frames.need("key").cumsum(0)[at]  # [n] key frames up to each
        self._anew = (keys.diff() > 0) & (at.diff() > 1)  # [n - 1]
        self.threads: int = options.get("threads") or default_threads()
        self.decoded = 0
        self.missing: list[int] = []

    def __iter__(self) -> Iterator[FrameBatch]:
        if len(self._pts):
            for begin, end in self._runs():
                yield from self._run(self._pts[begin:end], self._numbers[begin:end])

    def _runs(self) -> list[tuple[int, int]]:
        """Stretches of ``[n]`` that are decoded on their own."""
        with open_video(self._video, **self._options) as video:
            most = _MOST_RUNS[video.reach]
        gaps = torch.where(self._anew, self._pts.diff(), -1.0)  # [n - 1] seconds
        longest = gaps.argsort(descending=True, stable=True)[: most - 1]
        begins = (longest[gaps[longest] >= 0] + 1).sort().values.tolist()
        return list(pairwise([0, *begins, len(self._pts)]))

    def _run(self, pts: Tensor, numbers: Tensor) -> Iterator[FrameBatch]:
        came = torch.zeros(len(pts), dtype=torch.bool, device="cpu")
        begin, end = float(pts[0]), math.nextafter(float(pts[-1]), math.inf)
        with open_video(self._video, start=begin, end=end, **self._options) as video:
            for batch in video:
                self.decoded += len(batch)
                wanted = torch.isin(batch.pts_seconds, pts)
                if bool(wanted.any()):
                    came |= torch.isin(pts, batch.pts_seconds)
                    yield _some(batch, wanted)
                if bool(came.all()):
                    return
        self.missing += numbers[~came].tolist()


def _some(batch: FrameBatch, wanted: Tensor) -> FrameBatch:
    y, cb, cr = (plane[wanted] for plane in batch.planes)
    key = None if batch.key_frame is None else batch.key_frame[wanted]
    times = batch.pts_seconds[wanted], batch.duration_seconds[wanted]
    return FrameBatch((y, cb, cr), *times, batch.colour, key)
