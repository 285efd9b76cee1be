"""Tokens of made-up features, whose cells a gate has seen move, and the ids that it held.

Letters: T frames, C planes, H W pixels, h w cells, D features.
"""

from typing import Any

import pytest
import torch
from gate_videos import drift
from torch import Tensor

from patchgate import Gate, VideoTokens
from patchgate.gate import CHANGED, MOVED
from patchgate.pipeline.collect import assemble
from patchgate.tokens import blend as blending
from patchgate.tokens import grid_of
from patchgate.tokens.chunk import HostResult, chunk_of, no_frames

FPS, WIDTH, P = 10.0, 5, 8
DRIFTS: dict[str, dict[str, Any]] = {
    "whole pixels": {"on_motion": "reuse", "threshold": 12},
    "halves": {"on_motion": "camera", "motion_precision": 2, "threshold": 12},
    "quarters": {"on_motion": "reuse", "motion_precision": 4, "threshold": 12},
    "tubelets": {"on_motion": "reuse", "temporal_patch": 2, "threshold": 30},
}
every_drift = pytest.mark.parametrize("name", DRIFTS)


def gated_tokens(video: Tensor, gate: Gate, width: int = WIDTH) -> tuple[VideoTokens, list[Tensor]]:
    """Tokens of random features, and the ids that the gate holds after each frame (or tubelet).

    Args:
        video: ``[T, C, H, W]``, of whole tubelets.
    """
    f, cell = gate.settings.temporal_patch, gate.settings.cell
    gate = gate.fresh(size=tuple(video.shape[-2:]))
    ids, chunks, random = [], [], torch.Generator().manual_seed(0)
    for t, planes in enumerate(video.split(f)):
        result = gate.push(planes)
        assert gate.picture_ids is not None
        ids.append(gate.picture_ids[0].clone())
        at = (result.kind == CHANGED).flatten().nonzero().flatten()
        host = HostResult(at, result.source, result.kind, result.motion)
        seconds = torch.tensor([t / FPS], dtype=torch.float64)
        every = torch.full_like(seconds, 1 / FPS)
        features = torch.randn(len(at), width, generator=random)
        chunks.append(chunk_of(features, host, seconds, every, t))
    h, w = (side // cell for side in video.shape[-2:])
    empty = no_frames(chunks[0])
    assert empty.kind.shape == (0, h, w)
    return assemble(chunks, empty, None, grid_of(gate)), ids


def drifting(name: str, t: int = 24) -> tuple[VideoTokens, list[Tensor]]:
    """A smooth page that moves by 1.25 pixels down and 0.75 to the left a frame, and stops."""
    chosen = DRIFTS[name]
    moving = drift((5 * P, 6 * P), t, (5, -3), c=3)
    video = torch.cat([moving, moving[-1:].expand(4, -1, -1, -1)])
    tokens, ids = gated_tokens(video, Gate(patch=P, **chosen))
    assert bool((tokens.kind == MOVED).any())
    return tokens, ids


def cells_of(tokens: VideoTokens) -> blending.Cells:
    assert tokens.grid is not None
    return tokens._cells(tokens.grid)


def by_pixels(tokens: VideoTokens, ids: list[Tensor]) -> Tensor:
    """The mean over each cell's pixels of the features of their tokens, ``[T, h, w, D]``."""
    assert tokens.grid is not None
    means = torch.nn.functional.avg_pool2d
    shown = [tokens.features.double()[each.long()].movedim(2, 0) for each in ids]
    return torch.stack([means(each, tokens.grid.cell).movedim(0, 2) for each in shown])


def agrees(tokens: VideoTokens, ids: list[Tensor]) -> None:
    got, expected = tokens.dense(), by_pixels(tokens, ids)
    assert got.dtype == tokens.features.dtype
    torch.testing.assert_close(got.double(), expected, atol=1e-5, rtol=1e-5)


def cut(tokens: VideoTokens, first: int, last: int) -> VideoTokens:
    times = tokens.pts_seconds
    return tokens.slice(float(times[first]) + 0.01, float(times[last - 1]) + 0.02)
