"""Decoded frames in memory, the same for everybody. Letters: T frames."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

import patchgate
from patchgate import FrameBatch
from patchgate.pipeline.tubelets import joined, part


def decoded(path: Path, frames: int, fps: float | None = None) -> FrameBatch:
    """The first frames of a clip, which is played again and again if it is shorter."""
    with patchgate.open_video(path, fps=fps) as video:
        batches: list[FrameBatch] = []
        for batch in video:
            batches.append(batch)
            if sum(map(len, batches)) >= frames:
                break
    return again(joined(*batches), frames)


def parts(batch: FrameBatch, frames: int) -> Iterator[FrameBatch]:
    """So many frames at a time."""
    for start in range(0, len(batch), frames):
        yield part(batch, start, start + frames)


def picked(batch: FrameBatch, index: torch.Tensor) -> FrameBatch:
    """Frames by number, ``[T]``, each as often as it is named."""
    y, cb, cr = (plane[index] for plane in batch.planes)
    return FrameBatch(
        (y, cb, cr), batch.pts_seconds[index], batch.duration_seconds[index], batch.colour
    )


def again(batch: FrameBatch, frames: int) -> FrameBatch:
    """So many frames of it, from the beginning again where it ends; time goes on."""
    count = torch.arange(frames)
    found = picked(batch, count % len(batch))
    loops = count // len(batch) * float(batch.duration_seconds.sum())
    return replace(found, pts_seconds=found.pts_seconds + loops)
