"""What the gate knows of every frame anyway, as statistics for policies: one decoding for both.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from patchgate.decode import FrameBatch, Video
from patchgate.encoders.gated_tower import GatedTower
from patchgate.gate import CHANGED, MOVED, Gate, GateResult
from patchgate.gate_settings import GateSettings
from patchgate.pipeline import TokenChunk
from patchgate.policies.container import container_frames, of_access, positions_of
from patchgate.policies.frames import Frames
from patchgate.tokenize import DEFAULT_SIZE, collected, fitting_gate, layout_of, opened, prepared
from patchgate.tokens import VideoTokens


class WatchedGate(Gate):
    """A gate that keeps four numbers of every frame that it sees. One stream."""

    def __init__(self, *settings: Any, **more: Any) -> None:
        super().__init__(*settings, **more)
        self._seen: dict[str, list[float]] = {
            name: [] for name in ("delta", "keep", "motion", "sharp", "cut")
        }

    def push(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None = None) -> GateResult:
        """As ``Gate.push``; whole tubelets."""
        result = super().push(planes, threshold_map)
        for name, values in of_frames(result, self.settings).items():
            self._seen[name] += values.tolist()
        if isinstance(planes, Tensor):
            luma = planes[:: self.settings.temporal_patch, 0]  # [T, H, W]
            self._seen["sharp"] += sharpness(luma).tolist()
        return result

    def frames(self, pts: Tensor, **more: Any) -> Frames:
        """The statistics of all frames so far, whose times are ``pts``."""
        statistics: dict[str, Any] = {n: v for n, v in self._seen.items() if v or not len(pts)}
        return Frames(pts=pts, **{**statistics, **more})


def of_frames(result: GateResult, settings: GateSettings) -> dict[str, Tensor]:
    """Statistics of every frame of a gate's result, ``[T]`` each.

    delta: mean cost of the cells, against what the tokens so far say, as a share of 255 grey
    levels; 0 of the first frame, which is compared with nothing. keep: share of the cells that
    become tokens. motion: mean length of the cells' vectors, in cells. cut: every cell is encoded.
    """
    full = 255 * settings.sub_block**2  # the largest cost
    cost = result.cost.clamp(min=0).flatten(1).double()  # [T, N]
    vector = result.motion.double().norm(dim=-1) * (result.kind == MOVED)  # [T, h, w]
    return {
        "delta": (cost.mean(1) / full).clamp(max=1.0),
        "keep": (result.kind == CHANGED).flatten(1).double().mean(1),
        "motion": vector.flatten(1).mean(1) / (settings.cell * settings.motion_precision),
        "cut": result.is_key,
    }


def sharpness(luma: Tensor) -> Tensor:
    """Variance of the Laplacian of each picture ``[T, H, W]`` uint8, ``[T]`` float64.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (ICPR 2000).
    """
    y = luma.to(torch.int32)
    around = y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:]
    laplacian = (around - 4 * y[:, 1:-1, 1:-1]).flatten(1).double()
    return laplacian.var(1, unbiased=False)


def tokenize_with_statistics(
    video: Any,
    tower: GatedTower | None = None,
    gate: Gate | None = None,
    size: int | tuple[int, int] = DEFAULT_SIZE,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    on_chunk: Callable[[TokenChunk], None] | None = None,
    **open_options: Any,
) -> tuple[VideoTokens, Frames]:
    """``patchgate.tokenize``, and what the gate knows of every frame by the way.

    Args:
        video, tower, gate, size, fps, start, end, on_chunk, open_options: as there.

    Returns:
        The tokens, and ``Frames`` with ``delta``, ``keep``, ``motion``, ``cut``, ``sharp`` (with
        tubelets, of their first frame) and, of a path or bytes, ``index`` and ``key`` too.
    """
    plain = fitting_gate(tower, gate, size)
    with opened(video, fps, start, end, "cpu", open_options) as source:
        sized, features = prepared(source, tower, plain)
        watched = WatchedGate(**asdict(sized.settings))
        layout = layout_of(watched, source.colour.matrix) if tower is None else None
        tokens = collected(source, watched, features, layout, on_chunk)
    more: dict[str, Tensor | None] = {}
    if not isinstance(video, Video) and not hasattr(video, "read"):
        known = container_frames(video, **of_access(open_options))
        at = positions_of(known, tokens.pts_seconds)
        more = {"index": known.number[at], "key": known.need("key")[at]}
    return tokens, watched.frames(tokens.pts_seconds, **more)
