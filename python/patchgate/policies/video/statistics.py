"""Collects the gate's statistics of every frame for policies, in the pass that tokenizes.

Letters: T frames (or tubelets), h w cells, H W pixels.
"""

from array import array
from collections.abc import Callable
from typing import Any, Unpack, cast

import torch
from torch import Tensor

from patchgate._signature import spelled
from patchgate._tensors import doubles
from patchgate.decode import FrameBatch, Video, open_video
from patchgate.decode.frames import Pictures
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import CHANGED, MOVED, Gate, GateResult, GateSettings
from patchgate.gate.calls import Undo
from patchgate.gate.settings import GEOMETRY
from patchgate.pipeline import token_chunks
from patchgate.pipeline.collect import collected
from patchgate.pipeline.features import PixelFeatures
from patchgate.pipeline.fitting import fitting_gate, prepared, sized_gate
from patchgate.pipeline.options import TokenizeKwargs, parted
from patchgate.pipeline.video import opened
from patchgate.policies.frames import Frames
from patchgate.policies.video.container import container_frames, of_access, positions_of
from patchgate.tokens import TokenChunk, VideoTokens, layout_of


class WatchedGate(Gate):
    """A gate of one stream that notes five numbers of every frame that it gets."""

    def __init__(self, *settings: Any, **more: Any) -> None:
        super().__init__(*settings, **more)
        self._seen = {name: array("d") for name in ("delta", "keep", "motion", "sharp", "cut")}

    def push(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None = None) -> GateResult:
        """Does what ``Gate.push`` does, for whole tubelets."""
        return super().push(planes, threshold_map)

    def _mark(self) -> Undo:
        undo, frames = super()._mark(), {name: len(seen) for name, seen in self._seen.items()}

        def back() -> None:
            undo()
            for name, seen in self._seen.items():
                del seen[frames[name] :]

        return back

    def _pushed(self, planes: Tensor | FrameBatch, threshold_map: Tensor | None) -> GateResult:
        result = super()._pushed(planes, threshold_map)
        for name, values in of_frames(result, self.settings).items():
            self._seen[name].extend(values.tolist())
        if isinstance(planes, Tensor):
            luma = planes[:: self.settings.temporal_patch, 0]  # [T, H, W]
            self._seen["sharp"].extend(sharpness(luma).tolist())
        return result

    def frames(self, pts: Tensor, **more: Any) -> Frames:
        """Returns the statistics of all frames so far; ``pts`` are their times in seconds."""
        known = {n: v for n, v in self._seen.items() if v or not len(pts)}
        statistics: dict[str, Any] = {n: doubles(v) for n, v in known.items()}
        return Frames(pts=pts, **{**statistics, **more})


def of_frames(result: GateResult, settings: GateSettings) -> dict[str, Tensor]:
    """Computes statistics of every frame of a gate's result, ``[T]`` each.

    Returns:
        ``delta``: the mean cost of the cells, as a share of 255 grey levels. The cost is the
        difference from the reference picture; it is 0 for the first frame, which has none.
        ``keep``: the share of the cells that become tokens.
        ``motion``: the mean length of the cells' motion vectors, in cells.
        ``cut``: whether every cell is encoded.
    """
    full = 255 * settings.sub_block**2  # the largest cost
    cost = result.cost.clamp(min=0).flatten(1).double()  # [T, h * w]
    vector = result.motion.double().norm(dim=-1) * (result.kind == MOVED)  # [T, h, w]
    return {
        "delta": (cost.mean(1) / full).clamp(max=1.0),
        "keep": (result.kind == CHANGED).flatten(1).double().mean(1),
        "motion": vector.flatten(1).mean(1) / (settings.cell * settings.motion_precision),
        "cut": result.is_key,
    }


def sharpness(luma: Tensor) -> Tensor:
    """Computes the variance of the Laplacian of each picture.

    Args:
        luma: ``[T, H, W]`` uint8.

    Returns:
        ``[T]`` float64.

    Source: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy (ICPR 2000).
    """
    y = luma.to(torch.int32)
    around = y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:]
    laplacian = (around - 4 * y[:, 1:-1, 1:-1]).flatten(1).double()
    return laplacian.var(1, unbiased=False)


class NoFeatures(PixelFeatures):
    """Takes nothing of a cell: only the gate's results are wanted."""

    def empty(self) -> Tensor:
        return torch.empty((0, 0), dtype=torch.uint8, device="cpu")

    def rows(self, planes: Tensor, batch: Pictures, cells: Tensor) -> Tensor:
        return planes.new_empty((len(cells), 0))


@spelled(GateSettings, open_video, leave_out=(*GEOMETRY, "device"))
def frame_statistics(
    video: Any,
    gate: Gate | None = None,
    size: int | tuple[int, int] | None = None,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    on_chunk: Callable[[TokenChunk], None] | None = None,
    **options: Unpack[TokenizeKwargs],
) -> Frames:
    """Computes the gate's statistics of every frame, without tokens.

    It needs about 100 bytes of memory a frame. It decodes on the CPU.

    Args:
        video, gate, size, fps, start, end, on_chunk, options: as in ``patchgate.tokenize``; the
            features of chunks are empty, ``[K, 0]``.

    Returns:
        The ``Frames`` that ``tokenize_with_statistics`` returns.

    Raises:
        OSError, TypeError, ValueError: in the cases in which ``patchgate.tokenize`` raises them.
    """
    rules, open_options = parted("frame_statistics", options, gate)
    plain = sized_gate(gate, size, rules)
    times = array("d")
    with opened(video, fps, start, end, "cpu", open_options) as source:
        watched = WatchedGate.of(plain.settings)
        own = cast("tuple[int, int]", watched.size)
        features = NoFeatures(watched.settings, own, source.device)
        for chunk in token_chunks(source, watched, features=features):
            times.extend(chunk.pts_seconds.tolist())
            if on_chunk is not None:
                on_chunk(chunk)
    pts = doubles(times)
    return watched.frames(pts, **_in_container(video, pts, open_options))


@spelled(GateSettings, open_video, leave_out=(*GEOMETRY, "device"))
def tokenize_with_statistics(
    video: Any,
    tower: GatedTower | None = None,
    gate: Gate | None = None,
    size: int | tuple[int, int] | None = None,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    on_chunk: Callable[[TokenChunk], None] | None = None,
    **options: Unpack[TokenizeKwargs],
) -> tuple[VideoTokens, Frames]:
    """Does what ``patchgate.tokenize`` does, and returns the gate's statistics of every frame, too.

    It decodes on the CPU.

    Args:
        video, tower, gate, size, fps, start, end, on_chunk, options: as in ``patchgate.tokenize``.

    Returns:
        The tokens, and ``Frames`` with ``delta``, ``keep``, ``motion``, ``cut`` and ``sharp``
        (which is that of a tubelet's first frame). If the video is a path or bytes, ``Frames`` has
        ``index`` and ``key``, too.

    Raises:
        OSError, TypeError, ValueError: in the cases in which ``patchgate.tokenize`` raises them.
    """
    rules, open_options = parted("tokenize_with_statistics", options, gate)
    plain = fitting_gate(tower, gate, size, rules)
    with opened(video, fps, start, end, "cpu", open_options) as source:
        sized, features = prepared(source, tower, plain)
        watched = WatchedGate.of(sized.settings)
        layout = layout_of(watched, source.colour.matrix) if tower is None else None
        tokens = collected(source, watched, features, layout, on_chunk)
    more = _in_container(video, tokens.pts_seconds, open_options)
    return tokens, watched.frames(tokens.pts_seconds, **more)


def _in_container(video: Any, pts: Tensor, options: dict[str, Any]) -> dict[str, Tensor]:
    """Returns ``index`` and ``key`` of decoded frames, if the container can be read again."""
    if isinstance(video, Video) or hasattr(video, "read"):
        return {}
    known = container_frames(video, **of_access(options))
    at = positions_of(known, pts)
    return {"index": known.number[at], "key": known.need("key")[at]}
