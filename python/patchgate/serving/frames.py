"""Reads the frames of a video for a serving engine: any rate or every frame, with true times.

Letters: T frames, H W pixels.
"""

from typing import Any, NamedTuple

import numpy as np

from patchgate._check import checked_count, checked_number
from patchgate.decode import Video, open_video

MAX_BYTES = 8 << 30  # of the frames of one video, as RGB


class Frames(NamedTuple):
    """Frames, and when each is shown."""

    rgb: np.ndarray  # [T, H, W, 3] uint8
    pts_seconds: list[float]  # [T], from the video's begin
    duration_seconds: float  # from the begin of the first frame to the end of the last


def read_frames(
    data: bytes,
    fps: float | None = None,
    num_frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
) -> Frames:
    """Decodes a video.

    Args:
        data: the file.
        fps: the number of frames a second to look at; None or -1: see ``num_frames``.
        num_frames: the number of frames, evenly spaced in time, if there is no ``fps``; a video
            with fewer gives all. None or -1: every frame.
        start, end: seconds from the video's begin.

    Raises:
        TypeError, ValueError: a number makes no sense, or this is no video; it changes its size; or
            the frames take more than 8 GiB.
    """
    rate, count = _rate(fps), _count(num_frames)
    if not data:
        raise ValueError("video: expected a file, got no bytes")
    with open_video(data) as video:
        begin = video.begin_stream_seconds
        if rate is None and count is not None:
            rate = _spread(video, count, start, end)
    with open_video(data, fps=rate, start=_later(start, begin), end=_later(end, begin)) as video:
        return _read(video, begin)


def check_sampling(
    fps: float | None = None,
    num_frames: int | None = None,
    start: float | None = None,
    end: float | None = None,
) -> None:
    """Raises the error that ``read_frames`` would raise because of its numbers."""
    _rate(fps)
    _count(num_frames)
    _later(start, 0.0)
    _later(end, 0.0)


def _read(video: Video, begin: float) -> Frames:
    parts: list[np.ndarray] = []
    pts: list[float] = []
    seconds, size = 0.0, 0
    for batch in video:
        rgb = batch.rgb().permute(0, 2, 3, 1).contiguous()  # [T, H, W, 3]
        if parts and rgb.shape[1:] != parts[0].shape[1:]:
            raise ValueError(
                f"video: at {batch.pts_seconds[0] - begin:.2f} s its pictures change from "
                f"{parts[0].shape[2]} x {parts[0].shape[1]} to {rgb.shape[2]} x {rgb.shape[1]} "
                "pixels; a request's video must keep its size: cut it there (start, end)"
            )
        size += rgb.numel()
        if size > MAX_BYTES:
            raise ValueError(
                f"video: its frames take more than {MAX_BYTES >> 30} GiB as RGB; ask for fewer "
                "(fps, num_frames) or for a part (start, end)"
            )
        parts.append(rgb.numpy())
        pts += [round(float(each) - begin, 6) for each in batch.pts_seconds]
        seconds = pts[-1] + float(batch.duration_seconds[-1]) - pts[0]
    if not parts:
        raise ValueError(
            "video: no frame lies between start and end; leave them out or change them"
        )
    return Frames(np.concatenate(parts), pts, max(seconds, 1e-6))


def _spread(video: Video, count: int, start: float | None, end: float | None) -> float | None:
    """Returns the rate at which a video, or a part of it, gives ``count`` frames."""
    whole = video.duration_seconds
    if whole is None:
        raise ValueError("video: its length is not known, so num_frames cannot be; give fps")
    length = (whole if end is None else min(end, whole)) - (start or 0.0)
    return count / length if length > 0 else None


def _rate(fps: Any) -> float | None:
    if fps is None or fps == -1:
        return None
    return checked_number("fps", fps, 1e-6, 1e6, "frames a second (-1: every frame)")


def _count(num_frames: Any) -> int | None:
    if num_frames is None or num_frames == -1:
        return None
    return checked_count("num_frames", num_frames, 1)


def _later(seconds: float | None, begin: float) -> float | None:
    return None if seconds is None else checked_number("start, end", seconds, 0, 1e9, "s") + begin


def metadata(frames: Frames, name: str) -> dict[str, Any]:
    """Describes frames as vLLM and transformers do, with the true times under ``patchgate``."""
    count = len(frames.pts_seconds)
    return {
        "total_num_frames": count,
        "fps": count / frames.duration_seconds,
        "duration": frames.duration_seconds,
        "video_backend": name,
        "frames_indices": list(range(count)),
        "do_sample_frames": False,
        "patchgate": {"pts_seconds": frames.pts_seconds},
    }
