"""The videos of chat messages as tokens: which frames are looked at, and how they are resized.

Letters: T tubelets, f frames of a tubelet, N frames.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from patchgate._check.text import a_or_an
from patchgate._tensors import doubles
from patchgate.decode import FrameBatch, Video, open_video
from patchgate.decode.packets.times import FrameTimes, at_rate, frame_times
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gather import PixelSpec
from patchgate.gather.resize import VideoPixelRange
from patchgate.language.messages import Shown
from patchgate.language.pictures import picture
from patchgate.language.sizes import size_rule
from patchgate.pipeline import tokenize
from patchgate.pipeline.given import Given, in_memory
from patchgate.tokens import VideoTokens

_OF_FILES = ("num_frames", "min_frames", "max_frames", "video_start", "video_end")


class Clip(NamedTuple):
    """The tokens of a video, and the times that its prompt says."""

    tokens: VideoTokens
    seconds: Tensor  # [T] float64: the middle between the first and the last frame of a tubelet


class Sampling(NamedTuple):
    """Which frames a video processor takes by itself; None and None: every frame."""

    fps: float | None
    num_frames: int | None
    min_frames: int
    max_frames: int | None

    @classmethod
    def of(cls, processor: Any) -> "Sampling":
        """Reads a video processor's."""
        if not getattr(processor, "do_sample_frames", False):
            return cls(None, None, 1, None)
        names = ("fps", "num_frames", "min_frames", "max_frames")
        fps, count, least, most = (getattr(processor, name, None) for name in names)
        return cls(fps if count is None else None, count, least or 1, most)


class Reader(NamedTuple):
    """How the videos of a call are read.

    Attributes:
        tower: the gated tower.
        spec: what the processor does to a frame.
        sampling: which frames it takes.
        fps: the rate for videos whose message says none; None: the processor's.
        rules: of the gate.
        options: of ``open_video``.
    """

    tower: GatedTower
    spec: PixelSpec
    sampling: Sampling
    fps: float | None
    rules: Mapping[str, Any]
    options: Mapping[str, Any]

    def clip(self, shown: Shown) -> Clip:
        """Makes the tokens of a video.

        Raises:
            FileNotFoundError, ValueError, TypeError: what ``open_video`` and ``tokenize`` raise;
                a setting does not fit the video or the model.
        """
        if isinstance(shown.source, VideoTokens | Video):
            raise TypeError(
                f"{shown.where}: expected a path, an address, bytes or frames, got "
                f"{a_or_an(type(shown.source).__name__)}; of a Video, give the path, with start, "
                "end and fps in the message; VideoTokens go to qwen3_vl_inputs, qwen25_vl_inputs "
                "or llava_onevision_inputs"
            )
        source = _opened_pictures(shown)
        if not in_memory(source):
            return self._of_file(shown, source)
        named = [name for name in _OF_FILES if name in shown.settings]
        if named:
            raise ValueError(
                f"{shown.where}: {', '.join(named)}: these choose frames of a file, got frames "
                "that are in memory; take a part of them by slicing"
            )
        given = Given(source, shown.settings.get("fps"))
        if isinstance(self.spec.size, VideoPixelRange) and given.frames is None:
            raise ValueError(
                f"{shown.where}: expected frames that can be counted, because the processor "
                f"resizes them by how many there are, got {type(source).__name__}; pass a list"
            )
        return self._tokens(shown, given, given.frames or 1)

    def _of_file(self, shown: Shown, source: Any) -> Clip:
        start, end = (shown.settings.get(f"video_{name}") for name in ("start", "end"))
        span: dict[str, Any] = {"start": start, "end": end}
        with open_video(source, **span, **self.options) as video:
            times = frame_times(video)
        if not len(times.pts_seconds):
            raise ValueError(f"{shown.where}: no frame lies between {start} and {end} seconds")
        fps = self._rate(shown.settings, times)
        frames = _count(times, fps, start)
        with open_video(source, fps=fps, **span, **self.options) as video:
            return self._tokens(shown, video, frames)

    def _rate(self, settings: Mapping[str, Any], times: FrameTimes) -> float | None:
        """Returns the rate that gives the wanted frames; None: every frame."""
        own = "fps" in settings or "num_frames" in settings
        if not own and self.fps is None:
            fps, count, least, most = self.sampling
        else:
            count, least, most = settings.get("num_frames"), 1, None
            fps = None if count is not None else settings.get("fps", self.fps)
        least = settings.get("min_frames", least)
        most = settings.get("max_frames", most)
        if count is None:
            count = _count(times, fps, settings.get("video_start"))
            within = max(count, least) if most is None else min(max(count, least), most)
            if within == count:
                return fps
            count = within
        if count >= len(times.pts_seconds):
            return None
        begin = max(float(times.pts_seconds[0]), settings.get("video_start", -math.inf))
        return count / (float(times.pts_seconds[-1] + times.duration_seconds[-1]) - begin)

    def _tokens(self, shown: Shown, batches: Iterable[FrameBatch], frames: int) -> Clip:
        tower = self.tower.resized(size_rule(shown.where, shown.settings, self.spec, frames))
        pts: list[float] = []
        tokens = tokenize(_noted(batches, pts), tower, **self.rules)
        f = self.spec.temporal_patch
        pts += pts[-1:] * (-len(pts) % f)  # the last frame is repeated
        every = doubles(pts).view(-1, f)  # [T, f]
        return Clip(tokens, (every[:, 0] + every[:, -1]) / 2)


def _count(times: FrameTimes, fps: float | None, start: float | None) -> int:
    """Counts the frames that are looked at; ``fps`` None: every frame."""
    return len((times if fps is None else at_rate(times, fps, start)).pts_seconds)


def _noted(batches: Iterable[FrameBatch], pts: list[float]) -> Iterator[FrameBatch]:
    """Yields the same batches, and notes the times of their frames."""
    for batch in batches:
        pts += batch.pts_seconds.tolist()
        yield batch


def _opened_pictures(shown: Shown) -> Any:
    """Opens the pictures of a list of names; anything else is returned as it is."""
    source = shown.source
    if (
        isinstance(source, list | tuple)
        and source
        and all(isinstance(each, str) for each in source)
    ):
        return [picture(shown.where, each) for each in source]
    return source
