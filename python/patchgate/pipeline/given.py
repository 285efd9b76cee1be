"""Frames that a program has in memory already, as batches with times. Letters: T frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from math import inf, isfinite, isnan
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from patchgate._check import checked_number
from patchgate._tensors import doubles
from patchgate.decode import Colour, FrameBatch, Video
from patchgate.decode.pictures import is_pil
from patchgate.pipeline.tubelets import derived, part

TOGETHER = 16  # frames that go through the stages at once, however many are given
_PICTURES = (
    "pictures (uint8 RGB; OpenCV's by FrameBatch.from_bgr), a FrameBatch, or several of them"
)


def in_memory(video: Any) -> bool:
    """Whether these are frames, and no file, path or open video."""
    if isinstance(video, str | bytes | bytearray | memoryview | os.PathLike | Video):
        return False
    return not hasattr(video, "read") and (_is_one(video) or _items(video) is not None)


def batches_of(frames: Any) -> Iterator[FrameBatch]:
    """Yields frames as batches of at most 16, which ``Clock.timed`` gives times.

    Args:
        frames: RGB pictures ``[T, H, W, 3]`` or ``[T, 3, H, W]`` uint8 of numpy or torch, or one
            picture; a ``FrameBatch``; frames of PyAV, torchcodec or PIL; or an iterable of these,
            which is read as it goes.

    Raises:
        TypeError, ValueError: they are none of these.
    """
    if isinstance(frames, FrameBatch) and len(frames) <= TOGETHER:
        yield frames
    elif isinstance(frames, FrameBatch):
        yield from (part(frames, at, at + TOGETHER) for at in _starts(len(frames)))
    elif isinstance(frames, Tensor | np.ndarray) and frames.ndim == 4:
        for at in _starts(len(frames)):
            yield FrameBatch.from_rgb(frames[at : at + TOGETHER])
    elif _is_av(frames):
        yield FrameBatch.from_av(frames)
    elif _is_torchcodec(frames):
        yield from batches_of(FrameBatch.from_torchcodec(frames))
    elif isinstance(frames, Tensor | np.ndarray) or is_pil(frames):
        yield FrameBatch.from_rgb(frames)
    else:
        yield from _grouped(frames)


def _grouped(frames: Any) -> Iterator[FrameBatch]:
    """Joins single pictures of an iterable, of which neighbours are alike."""
    items = None if isinstance(frames, str | bytes | os.PathLike) else _items(frames)
    if items is None:
        one = "; a call takes one video" if isinstance(frames, str | bytes | os.PathLike) else ""
        raise TypeError(f"frames: expected {_PICTURES}, got {type(frames).__name__}{one}")
    group: list[Any] = []
    for item in items:
        alike = _form(item)
        if group and (alike is None or alike != _form(group[0]) or len(group) == TOGETHER):
            yield _batch(group)
            group = []
        if alike is None:
            yield from batches_of(item)
        else:
            group.append(item)
    if group:
        yield _batch(group)


def _batch(group: list[Any]) -> FrameBatch:
    return FrameBatch.from_av(group) if _is_av(group[0]) else FrameBatch.from_rgb(group)


def _form(picture: Any) -> tuple[Any, ...] | None:
    """What pictures of one batch have in common; None: it is no single picture."""
    if isinstance(picture, Tensor):
        return None if picture.dim() != 3 else (Tensor, picture.shape, picture.device)
    if isinstance(picture, np.ndarray):
        return None if picture.ndim != 3 else (np.ndarray, picture.shape)
    if is_pil(picture):
        return "PIL", picture.size
    if _is_av(picture):
        known = picture.time is not None
        return "PyAV", picture.width, picture.height, picture.format.name, picture.rotation, known
    return None


def _starts(frames: int) -> range:
    return range(0, max(frames, 1), TOGETHER)  # no frames are one batch of none


def _is_one(frames: Any) -> bool:
    known = isinstance(frames, FrameBatch | Tensor | np.ndarray)
    return known or is_pil(frames) or _is_av(frames) or _is_torchcodec(frames)


def _is_av(frame: Any) -> bool:
    return any(base.__module__ == "av.video.frame" for base in type(frame).__mro__)


def _is_torchcodec(frames: Any) -> bool:
    return hasattr(frames, "data") and hasattr(frames, "pts_seconds")


def _items(frames: Any) -> Iterator[Any] | None:
    """Returns an iterator over an iterable or a sequence; None: it is neither."""
    try:
        return iter(frames)
    except TypeError:
        return None


class Clock(NamedTuple):
    """The time of the next frame of a video. ``timed`` makes the clock after it."""

    counted: int = 0  # frames that came without a time
    last: float = -inf  # the time of the last frame

    def timed(self, batch: FrameBatch, fps: float | None) -> tuple[FrameBatch, Clock]:
        """Returns the batch with times, and the clock after it.

        Args:
            fps: the rate of frames without times, which begin at 0 s.

        Raises:
            ValueError: there are neither times nor a rate, or both; times do not go on from those
                of the frames before.
        """
        t = len(batch)
        if not t:
            return batch, self
        # As numbers of Python: for the few frames of a batch, torch's calls take longer.
        pts: list[float] = batch.pts_seconds.tolist()
        duration: list[float] = batch.duration_seconds.tolist()
        if all(map(isnan, pts)):
            if fps is None:
                raise ValueError(
                    "frames: expected times, got none: give the rate of the frames, as fps=30, or "
                    "their times, as FrameBatch.from_rgb(frames, pts_seconds)"
                )
            pts = [(self.counted + i) / fps for i in range(t)]
            duration = [1 / fps] * t
            clock = self._replace(counted=self.counted + t)
        elif fps is not None:
            raise ValueError(
                f"fps: these frames have times of their own, got fps={fps:g} beside them; it is "
                "the rate of frames without times: leave it out (to look at fewer frames, give "
                "every nth one)"
            )
        else:
            clock = self
            # Unknown durations are like the time since the frame before.
            since = [b - a for a, b in pairwise([self.last, *pts])]
            since = [each if isfinite(each) else 0.0 for each in since]
            duration = [s if isnan(d) else d for d, s in zip(duration, since, strict=True)]
        if not all(map(isfinite, (*pts, *duration))) or min(duration) < 0:
            raise ValueError(
                "frames: expected finite times and durations of 0 or more, got "
                f"pts_seconds {pts[:8]}, duration_seconds {duration[:8]}"
            )
        if pts[0] < self.last or any(b < a for a, b in pairwise(pts)):
            raise ValueError(
                f"frames: expected times that go on from {max(self.last, pts[0]):g} s, got "
                f"{pts[0]:g}..{pts[-1]:g} s; frames come in their order (reset() begins another "
                "video)"
            )
        times = {"pts_seconds": doubles(pts), "duration_seconds": doubles(duration)}
        return derived(FrameBatch, batch, **times), Clock(clock.counted, pts[-1])


class Given:
    """Frames in memory as the pipeline reads a video: with a size, a colour, and times.

    Args:
        frames: what ``batches_of`` takes.
        fps: the rate of frames without times; None: frames have times.

    Raises:
        TypeError, ValueError: the first frames are no pictures, or there are none.
    """

    threads = 1  # that bring them into planes

    def __init__(self, frames: Any, fps: float | None) -> None:
        self._fps = checked_rate(fps)
        batches = batches_of(frames)
        first = next(batches, None)
        if first is None:
            raise ValueError(f"frames: expected {_PICTURES}, got none")
        self._batches: Iterable[FrameBatch] = chain([first], batches)
        self.height, self.width, self.device = first.height, first.width, first.device
        self.colour: Colour = first.colour
        self.frames = _counted(frames)  # None: they come as they are read

    def __iter__(self) -> Iterator[FrameBatch]:
        clock = Clock()
        for batch in self._batches:
            timed, clock = clock.timed(batch, self._fps)
            yield timed


def _counted(frames: Any) -> int | None:
    """Returns the number of frames, if it is known before they are read."""
    if isinstance(frames, FrameBatch):
        return len(frames)
    if isinstance(frames, Tensor | np.ndarray):
        return len(frames) if frames.ndim == 4 else 1
    if _is_torchcodec(frames):
        return len(frames.data) if frames.data.ndim == 4 else 1
    if isinstance(frames, list | tuple) and all(_form(each) is not None for each in frames):
        return len(frames)
    return 1 if is_pil(frames) or _is_av(frames) else None


def checked_rate(fps: float | None) -> float | None:
    """Checks a rate of frames without times."""
    return None if fps is None else checked_number("fps", fps, 1e-9, 1e9, "frames a second")
