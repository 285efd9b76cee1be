"""Frames of real clips as the tower takes them.

Letters: T frames, H W pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import harness
import torch
from torch import Tensor

import patchgate
from patchgate.colour import yuv_to_rgb
from patchgate.grid import to_grid
from pretrained.weights import MEAN, STD

# Where a clip is measured from, in seconds, if nothing happens at its beginning.
BEGINS = {"intel_one-by-one-person-detection.mp4": 6.0}
LEAST = 40  # frames: changes are looked at over five of them, and a clip must show some


class TooShort(ValueError):
    """A clip has too few frames to be measured."""


class Film(NamedTuple):
    """Some frames of a clip, from its beginning or from where something happens."""

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


def paths(wanted: Sequence[str] = ()) -> list[Path]:
    """The clips that ship and those of PATCHGATE_CLIPS, by name.

    Args:
        wanted: names, or their beginnings; none: all clips.

    Raises:
        ValueError: no clip's name begins so.
    """
    found = {path.name: path for path in (*harness.clips(), *harness.clips(harness.SHIPPED))}
    for name in wanted:
        if not any(each.startswith(name) for each in found):
            raise ValueError(f"clips: expected some of {', '.join(sorted(found))}, got {name}")
    return [found[name] for name in sorted(found) if not wanted or name.startswith(tuple(wanted))]


def film(path: Path, side: int, frames: int) -> Film:
    """Frames of a clip from where it is measured on, stretched to a square of ``side`` pixels.

    Raises:
        TooShort: the clip has fewer than ``LEAST`` frames.
    """
    rgb, seen, begin = [], 0, BEGINS.get(path.name)
    with patchgate.open_video(path, start=begin) as video:
        for batch in video:
            if seen < frames:
                rgb.append(yuv_to_rgb(to_grid(batch, (side, side)), batch.colour.matrix))
            seen += len(batch)
            if seen >= max(LEAST, frames):
                break
    if seen < LEAST:
        raise TooShort(f"{path.name}: expected at least {LEAST} frames, got {seen}")
    name = path.name if begin is None else f"{path.name} from {begin:g} s"
    return Film(name, torch.cat(rgb)[:frames])
