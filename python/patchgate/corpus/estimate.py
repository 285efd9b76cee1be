"""What a job would do: hours of video, and tokens and bytes by a few samples."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import torch

from patchgate.corpus.journal import Journal, Task
from patchgate.corpus.settings import Settings
from patchgate.corpus.worker import Worker
from patchgate.decode import open_video

_LOOKED_AT = 200  # videos whose length is read
_SAMPLES = 5  # videos of which some seconds are tokenized
_SAMPLE_SECONDS = 10.0


class Estimate(NamedTuple):
    """What is expected. Numbers are None if no video could be read."""

    seconds: float | None  # of video
    tokens: int | None
    bytes: int | None
    looked_at: int  # videos whose length was read
    samples: int  # videos of which the first seconds were tokenized


class _Length(NamedTuple):
    seconds: float
    frames: float
    read_bytes: int


def estimate(journal: Journal, settings: Settings, chosen: int) -> Estimate:
    """Estimates a job from its longest, its shortest and evenly chosen other videos.

    Lengths are those of the containers; of more than 200 videos, those of 200, in proportion to
    the sizes of the files. Tokens are those of the first ten seconds of five videos: more than on
    average, because the first frame is new in all of its cells.

    Args:
        journal: one in which a plan was made.
        settings: what is done with every video.
        chosen: the number of videos that the plan chose.
    """
    step, sampled = max(1, chosen // _LOOKED_AT), max(1, chosen // _SAMPLES)
    every_bytes = sum(size for _, size in journal.sums("todo").values())
    lengths: list[_Length] = []
    rates: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(folder, settings)
        for place, task in enumerate(journal.tasks()):
            if place % step == 0 and (length := _length(task, settings)) is not None:
                lengths.append(length)
            if place % sampled == 0 and len(rates) < _SAMPLES:
                rates += _rates(worker, Path(folder), task)
    seconds = sum(each.seconds for each in lengths)
    frames = sum(each.frames for each in lengths)
    read = sum(each.read_bytes for each in lengths)
    scale = every_bytes / read if read else 1.0
    if not lengths:
        return Estimate(None, None, None, 0, 0)
    if not rates:
        return Estimate(seconds * scale, None, None, len(lengths), 0)
    tokens, size = (sum(rate[name] for rate in rates) / len(rates) for name in ("tokens", "bytes"))
    expected = frames * scale
    return Estimate(seconds * scale, round(expected * tokens), round(expected * size),
                    len(lengths), len(rates))  # fmt: skip


def _length(task: Task, settings: Settings) -> _Length | None:
    """Returns how long a video, or the part of it, is; None: it cannot be read."""
    try:
        with open_video(task.path, errors="ignore", limits=settings.limits) as video:
            lasts, first = video.duration_seconds or 0.0, video.begin_stream_seconds
            rate = settings.fps or video.average_fps or 25.0
    except Exception:  # whatever is wrong with it, the job will say so
        return None
    begin = first if task.start is None else max(first, task.start)
    end = first + lasts if task.end is None else min(first + lasts, task.end)
    seconds = max(0.0, end - begin)
    return _Length(seconds, seconds * rate / settings.gate.temporal_patch, task.size or 0)


def _rates(worker: Worker, folder: Path, task: Task) -> list[dict[str, float]]:
    """Tokenizes the first seconds of a video; returns its tokens and bytes a frame, if it can be.

    A tower's temporal patch is its own: frames of such a video count as tubelets here.
    """
    try:
        with open_video(task.path, errors="ignore") as video:
            begin = video.begin_stream_seconds if task.start is None else task.start
    except Exception:
        return []
    end = begin + _SAMPLE_SECONDS
    end = end if task.end is None else min(end, task.end)
    told = {"path": task.path, "file": "sample.safetensors", "replace": True}
    result = worker.do({**told, "start": task.start, "end": end})
    (folder / "sample.safetensors").unlink(missing_ok=True)
    if result["status"] != "ok":
        return []
    cells, frames = result["cells_high"] * result["cells_wide"], result["frames"]
    item = getattr(torch, result["dtype"]).itemsize
    tokens = cells * result["kept_share"]
    per_token = result["features"] * item + 8 * (1 + 2 + 1)  # frame, cell, span
    per_frame = 8 + 8 + 4 + cells * (8 + 1 + 2)  # times, where tokens begin; source, kind, motion
    return [{"tokens": tokens, "bytes": tokens * per_token + per_frame, "frames": frames}]
