"""Video tokens made by hand, of any features.

Letters: T frames, h w cells, K tokens, D features.
"""

import functools
from dataclasses import fields
from pathlib import Path
from typing import Any

import clips
import pytest
import torch
from gate_videos import busy_video
from torch import Tensor

import patchgate
from patchgate import Gate, grid
from patchgate.tokens import VideoTokens, cu_seqlens, spans


def kept_mask(t: int, grid: tuple[int, int], seed: int = 0) -> Tensor:
    """``[T, h, w]`` bool: the first frame whole, then a third of the cells, of one frame none."""
    random = torch.Generator().manual_seed(seed)
    mask = torch.rand(t, *grid, generator=random) < 1 / 3
    mask[0] = True
    mask[t // 2 : t // 2 + 1] = t < 2
    return mask


def video_tokens(kept: Tensor, features: Tensor, fps: float, start: float = 0.0) -> VideoTokens:
    """Still cells show the token that was kept there last.

    Args:
        kept: ``[T, h, w]`` bool, the first frame whole. features: ``[K, D]``.
        fps: frames (or tubelets) a second. start: seconds.
    """
    frame, row, column = kept.nonzero().unbind(1)
    token = torch.full(kept.shape, -1)
    token[kept] = torch.arange(len(frame))
    source = token.cummax(0).values
    kind = kept.byte() * 2
    t = len(kept)
    return VideoTokens(
        features=features,
        frame=frame,
        cell=torch.stack([row, column], 1),
        span=spans(frame, source),
        pts_seconds=start + torch.arange(t, dtype=torch.float64) / fps,
        duration_seconds=torch.full((t,), 1 / fps, dtype=torch.float64),
        cu_seqlens=cu_seqlens(kind),
        source=source,
        kind=kind,
        motion=torch.zeros((*kept.shape, 2), dtype=torch.int8),
        layout=None,
    )


FRAMES, SIZE = 21, (24, 32)  # 3 x 4 cells of 8 pixels


SECOND = 1 / clips.RATE


KINDS: dict[str, dict[str, Any]] = {
    "camera": {},
    "reuse": {"on_motion": "reuse", "max_age": 6},
    "tubelets": {"temporal_patch": 2, "hysteresis": 0.5},  # 21 frames: the last is repeated
    "quarters": {"on_motion": "reuse", "motion_precision": 4, "threshold": 12},
    "light": {"illumination": "global", "threshold": 6},
}


@functools.cache
def path() -> Path:
    """A lossless clip of a pan with an object, then a cut."""
    return clips.lossless("busy.mkv", busy_video(0, FRAMES))


@functools.cache
def tokens_of(name: str) -> VideoTokens:
    return patchgate.tokenize(path(), gate=Gate(patch=8, **KINDS[name]), size=SIZE)


@functools.cache
def planes_for(name: str) -> Tensor:
    """What the gate saw, ``[T * f, 3, H, W]``."""
    with patchgate.open_video(path()) as video:
        planes = torch.cat([grid.to_grid(batch, SIZE) for batch in video])
    return planes if name != "tubelets" else torch.cat([planes, planes[-1:]])


def assert_same(got: VideoTokens, expected: VideoTokens) -> None:
    for field in fields(expected):
        a, b = getattr(got, field.name), getattr(expected, field.name)
        if isinstance(b, Tensor):
            assert a.dtype == b.dtype, field.name
            assert torch.equal(a, b), field.name
        else:
            assert a == b, field.name


every_kind = pytest.mark.parametrize("name", KINDS)
