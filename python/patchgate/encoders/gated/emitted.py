"""Packs the features that a gated tower computed in a call as tokens.

Letters: T frames, h w cells, N = h * w, K tokens, E features of a cell.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.encoders.run.clip import ClipOutput
from patchgate.encoders.tower import Tower
from patchgate.gate import GateResult, GateSettings
from patchgate.tokens import TokenGrid, VideoTokens, spans


class Times(NamedTuple):
    """When frames are shown, on the CPU."""

    pts_seconds: Tensor  # [T] float64
    duration_seconds: Tensor  # [T] float64


def emitted_tokens(
    tower: Tower,
    settings: GateSettings,
    frames: ClipOutput,
    result: GateResult,
    times: Times,
    before: int,
) -> VideoTokens:
    """Makes one token of every feature that the frames show.

    Args:
        settings: the gate's.
        result: the gate's result for these frames.
        before: the number of frames of the same clip in earlier calls.
    """
    features = frames.states["features"][:, tower.prefix :].flatten(0, 1)  # [T * N, E]
    # The place where a feature was computed identifies it: no two share one place of one frame.
    place = frames.states["born"][:, tower.prefix :].flatten().cpu()  # [T * N]
    units = tower.prefix + tower.cells
    born, source = place.unique(return_inverse=True)  # [K], [T * N]
    at = arange(len(place))
    first = torch.full_like(born, len(place)).scatter_reduce(0, source, at, "amin")
    frame, cell = born // units - before, born % units - tower.prefix  # [K] each
    source = source.view(result.source.shape)
    t, _, w = source.shape
    return VideoTokens(
        features=features[first.to(features.device)],
        frame=frame,
        cell=torch.stack([cell // w, cell % w], 1),
        span=spans(frame, source),
        **times._asdict(),
        cu_seqlens=torch.searchsorted(frame, arange(t + 1)).int(),
        source=source,
        kind=result.kind.cpu(),
        motion=result.motion.cpu(),
        layout=None,
        # A cell shows what the tower computed there, or what it lent it: never a mean.
        weights=result.weights.cpu() if settings.illumination else None,
        lit=result.lit.cpu() if settings.illumination else None,
        grid=TokenGrid(settings.cell, settings.motion_precision, before, blends=False),
    )


def checked_times(pts_seconds: Any, duration_seconds: Any, frames: int) -> Times:
    """Returns the times as float64 on the CPU; raises if they do not fit that many frames."""
    pts = _checked_seconds("pts_seconds", pts_seconds, frames)
    if bool((pts.diff() <= 0).any()):
        raise ValueError("pts_seconds: expected each frame after the one before it")
    if duration_seconds is not None:
        durations = _checked_seconds("duration_seconds", duration_seconds, frames)
        if bool((durations < 0).any()):
            raise ValueError(f"duration_seconds: expected 0 or more, got {float(durations.min())}")
        return Times(pts, durations)
    until_next = pts.diff()
    last = until_next[-1:] if frames > 1 else pts.new_zeros(frames)
    return Times(pts, torch.cat([until_next, last]))


def _checked_seconds(name: str, seconds: Any, frames: int) -> Tensor:
    if not isinstance(seconds, Tensor) or not seconds.is_floating_point():
        came = seconds.dtype if isinstance(seconds, Tensor) else type(seconds).__name__
        raise TypeError(f"{name}: expected a Tensor of floats, got {came}")
    if seconds.shape != (frames,):
        raise ValueError(
            f"{name}: expected [{frames}], one of each frame or tubelet, got {list(seconds.shape)}"
        )
    if not bool(seconds.isfinite().all()):
        raise ValueError(f"{name}: expected finite seconds")
    return seconds.double().cpu()
