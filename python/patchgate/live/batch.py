"""The batches of a live source.

Letters: T frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from patchgate._tensors import doubles, truths
from patchgate.decode import FrameBatch, Limits
from patchgate.decode.pictures import Channels
from patchgate.pipeline.tubelets import derived

from .handover import Picture


@dataclass(eq=False, repr=False)
class LiveBatch(FrameBatch):
    """Frames of a live source: a ``FrameBatch`` that also says when its frames arrived.

    ``pts_seconds`` are on the source's clock, and always rise. ``duration_seconds`` are NaN: how
    long a frame is shown is known only when the next one has come. (``Tokenizer`` takes the time
    since the frame before.)

    Args:
        arrived: ``[T]`` float64, when each frame arrived, in seconds of ``time.monotonic()``.
        gap: whether the source was opened again before the first of these frames. Frames may be
            missing there, and size and codec may have changed.
    """

    arrived: Tensor | None = None
    gap: bool = False

    def to(self, device: str | torch.device) -> LiveBatch:
        """Does what ``FrameBatch.to`` does."""
        moved = super().to(device)
        if moved is self:
            return self
        return LiveBatch(moved.planes, self.pts_seconds, self.duration_seconds, self.colour,
                         self.key_frame, self.arrived, self.gap)  # fmt: skip


def batch_of(
    pictures: Sequence[Picture], channels: Channels, limits: Limits, name: str
) -> LiveBatch:
    """Copies pictures of one form into a batch.

    Raises:
        TypeError, ValueError: they are no pictures, or larger than the limits allow.
    """
    frames = [picture.frame for picture in pictures]
    if isinstance(frames[0], FrameBatch):
        frames, own = frames[:1], frames[0]
    elif hasattr(frames[0], "planes"):
        limits.check_picture(name, frames[0].width, frames[0].height)
        own = FrameBatch.from_av(frames)
    else:
        take = FrameBatch.from_rgb if channels == "rgb" else FrameBatch.from_bgr
        own = take(frames if len(frames) > 1 else frames[0])
    pts = doubles(picture.seconds or 0.0 for picture in pictures)
    return derived(
        LiveBatch,
        own,
        pts_seconds=pts,
        duration_seconds=doubles([math.nan] * len(pictures)),
        key_frame=truths(picture.key for picture in pictures),
        arrived=doubles(picture.arrived for picture in pictures),
        gap=pictures[0].gap,
    )
