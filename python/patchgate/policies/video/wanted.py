"""Decodes chosen frames of a video, and as few others as it can. Letters: n wanted frames."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from patchgate.decode import FrameBatch, open_video
from patchgate.decode.source.source import VideoSource, default_threads
from patchgate.policies.frames import Frames

_MOST_RUNS = {"seek": 1 << 62, "read": 16, "decode": 1}  # the dearer a start, the fewer runs


class WantedFrames:
    """Chosen frames of a video, in order of time: a source of batches for the pipeline.

    From one wanted frame, the decoder goes on to the next one or starts again at the last key frame
    before that, whichever decodes less. If the container must be read from its beginning for each
    start, the decoder starts again only for the longest gaps.

    Args:
        video: a source of ``open_video`` that can be opened again.
        frames: all frames of the video, from ``container_frames``.
        numbers: ``[n]`` int64, rising: the numbers of the wanted frames.
        options: of ``open_video``.

    Attributes:
        decoded: the number of frames that came out of the decoder so far: those from the first
            wanted one of each run to its last. Frames before, which the decoder needs from the last
            key frame on, do not come out of it.
        missing: numbers of wanted frames that did not come out so far, because frames that they
            depend on are damaged.

    Raises:
        ValueError: the video has no frame of such a number.
    """

    def __init__(self, video: VideoSource, frames: Frames, numbers: Tensor, **options: Any) -> None:
        at = torch.searchsorted(frames.number, numbers).clamp(max=max(len(frames) - 1, 0))
        if not frames.number[at].equal(numbers):
            raise ValueError(f"expected numbers of the video's frames, got {numbers.tolist()}")
        self._video, self._options = video, options
        self._pts, self._numbers = frames.pts[at], numbers  # [n]
        keys = frames.need("key").cumsum(0)[at]  # [n] key frames up to each
        self._restart = (keys.diff() > 0) & (at.diff() > 1)  # [n - 1]
        self.threads: int = options.get("threads") or default_threads()
        self.decoded = 0
        self.missing: list[int] = []

    def __iter__(self) -> Iterator[FrameBatch]:
        if len(self._pts):
            for begin, end in self._runs():
                yield from self._run(self._pts[begin:end], self._numbers[begin:end])

    def _runs(self) -> list[tuple[int, int]]:
        """Divides the n frames in runs, each decoded on its own: pairs of its begin and end."""
        with open_video(self._video, **self._options) as video:
            most = _MOST_RUNS[video.reach]
        gaps = torch.where(self._restart, self._pts.diff(), -1.0)  # [n - 1] seconds
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
