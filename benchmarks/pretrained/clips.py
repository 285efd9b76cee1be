"""Frames of real clips as the tower takes them.

Letters: T frames, H W pixels.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import harness
import torch
from torch import Tensor

import patchgate
from patchgate.colour import yuv_to_rgb
from patchgate.grid import to_grid
from pretrained.weights import MEAN, STD

LEAST = 40  # frames: changes are looked at over five of them, and a clip must show some


class Film(NamedTuple):
    """The beginning of a clip."""

    name: str
    rgb: Tensor  # [T, 3, H, W] uint8

    @property
    def pixel_values(self) -> Tensor:
        """``[T, 3, H, W]`` float32, normalised."""
        return normalised(self.rgb)


def normalised(rgb: Tensor) -> Tensor:
    """uint8 RGB as DINOv2's processor leaves it."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    return (rgb.float() / 255 - mean) / std


def film(path: Path, side: int, frames: int) -> Film:
    """The first frames of a clip, stretched to a square of ``side`` pixels.

    Raises:
        ValueError: the clip has fewer than ``LEAST`` frames.
    """
    found: list[Tensor] = []
    with patchgate.open_video(path) as video:
        for batch in video:
            found.append(yuv_to_rgb(to_grid(batch, (side, side)), batch.colour.matrix))
            if sum(map(len, found)) >= frames:
                break
    rgb = torch.cat(found)[:frames]
    if len(rgb) < min(LEAST, frames):
        raise ValueError(f"{path.name}: expected at least {LEAST} frames, got {len(rgb)}")
    return Film(path.name, rgb)


def films(side: int, frames: int) -> Iterator[Film]:
    """The clips of ``harness.clips()`` that are long enough, by name."""
    for path in harness.clips():
        with patchgate.open_video(path, errors="ignore") as video:
            enough = sum(map(len, _first(video))) >= LEAST
        if enough:
            yield film(path, side, frames)


def _first(video: patchgate.Video) -> Iterator[patchgate.FrameBatch]:
    seen = 0
    for batch in video:
        yield batch
        seen += len(batch)
        if seen >= LEAST:
            return
