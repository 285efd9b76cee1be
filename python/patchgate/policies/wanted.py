"""Decodes some frames of a video and as few others as can be. Letters: n wanted frames."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from patchgate.decode import FrameBatch, open_video
from patchgate.decode.source import VideoSource, default_threads
from patchgate.policies.frames import Frames


class WantedFrames:
    """Some frames, in order of time, as the pipeline takes them.

    Decoding goes on from one wanted frame to the next, or begins anew at the last key frame before
    it, whichever decodes less.

    Args:
        video: what ``open_video`` takes and can be opened again.
        frames: the video's, as ``container_frames`` gives them.
        numbers: ``[n]`` int64, rising: which are wanted.
        options: of ``open_video``.

    ``decoded`` counts the frames that were taken from the decoder since this was made: of each run
    all from its first wanted one to its last. What a decoder needs before, from the last key frame
    on, does not come out of it.
    """

    def __init__(self, video: VideoSource, frames: Frames, numbers: Tensor, **options: Any) -> None:
        at = torch.searchsorted(frames.number, numbers).clamp(max=max(len(frames) - 1, 0))
        if not frames.number[at].equal(numbers):
            raise ValueError(f"expected numbers of the video's frames, got {numbers.tolist()}")
        keys = frames.need("key").cumsum(0)[at]  # [n] key frames up to each
        anew = (keys.diff() > 0) & (at.diff() > 1)  # [n - 1]
        begins = [0, *((anew.nonzero().flatten() + 1).tolist()), len(at)]
        self._runs = [frames.pts[at[a:b]] for a, b in pairwise(begins)]
        self._video, self._options = video, options
        self.threads: int = options.get("threads") or default_threads()
        self.decoded = 0

    def __iter__(self) -> Iterator[FrameBatch]:
        for run in self._runs:
            if len(run):
                yield from self._run(run)

    def _run(self, pts: Tensor) -> Iterator[FrameBatch]:
        found = 0
        begin, end = float(pts[0]), math.nextafter(float(pts[-1]), math.inf)
        with open_video(self._video, start=begin, end=end, **self._options) as video:
            for batch in video:
                self.decoded += len(batch)
                wanted = torch.isin(batch.pts_seconds, pts)
                if bool(wanted.any()):
                    found += int(wanted.sum())
                    yield _some(batch, wanted)
                if found == len(pts):
                    return
        raise ValueError(f"{len(pts) - found} of the wanted frames did not come out of the decoder")


def _some(batch: FrameBatch, wanted: Tensor) -> FrameBatch:
    y, cb, cr = (plane[wanted] for plane in batch.planes)
    key = None if batch.key_frame is None else batch.key_frame[wanted]
    times = batch.pts_seconds[wanted], batch.duration_seconds[wanted]
    return FrameBatch((y, cb, cr), *times, batch.colour, key)
