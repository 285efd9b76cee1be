"""Counts what a video costs a model in tokens: dense and after the gate, at several frame rates.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, n frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from patchgate import grid
from patchgate.decode import FrameBatch
from patchgate.gate import CHANGED, Gate
from patchgate.tokens import TokenChunk

RATES = (1.0, 2.0, 5.0)  # frames a second
DENSE, GATED = "dense", "gate"
_SLACK_SECONDS = 1e-3  # containers round time stamps: a frame is there from so much before its own

ToGrid = Callable[[FrameBatch], Tensor]


class Reader(NamedTuple):
    """The model that reads the tokens."""

    name: str = "own"
    context: int | None = None  # tokens that it takes; None: unknown, or it has no language model
    stride: int = 1  # by which cells are pooled to tokens

    def dense(self, h: int, w: int) -> int:
        """Returns the tokens of a whole frame (or tubelet) of ``h x w`` cells."""
        return -(-h // self.stride) * -(-w // self.stride)

    def kept(self, kind: Tensor) -> int:
        """Counts the tokens of frames of these kinds, ``[T, h, w]`` uint8, after the gate.

        A pooled token is given to the language model if a cell that it is made of was kept (see
        ``language.llava_onevision_inputs``).
        """
        changed = kind == CHANGED
        if self.stride > 1 and len(kind):
            size = [-(-side // self.stride) for side in kind.shape[1:]]
            changed = functional.interpolate(changed[None].double(), size, mode="bilinear")[0] > 0
        return int(changed.sum())


class Row(NamedTuple):
    """One way to show the video to the model."""

    way: str  # DENSE or GATED
    fps: float | None  # None: every frame
    frames: int
    tokens: int


@dataclass(frozen=True)
class Costs:
    """What the video costs the model."""

    reader: Reader
    rows: tuple[Row, ...]  # dense and gate, at each rate

    def facts(self) -> dict[str, Any]:
        """Returns them as JSON can hold them."""
        context = self.reader.context
        return {
            "grid": self.reader.name,
            "context_tokens": context,
            "rows": [
                row._asdict() | {"context_share": None if not context else row.tokens / context}
                for row in self.rows
            ],
        }


def lines_of(facts: dict[str, Any]) -> dict[str, str]:
    """Puts the facts of ``Costs`` in lines for people: one for each rate."""
    rows = {(row["fps"], row["way"]): row for row in facts["rows"]}
    found = {}
    for fps in dict.fromkeys(row["fps"] for row in facts["rows"]):
        kept, dense = rows[fps, GATED], rows[fps, DENSE]
        name = "tokens, every frame" if fps is None else f"tokens, {fps:g} fps"
        found[name] = f"{kept['tokens']:,} after the gate, {dense['tokens']:,} dense"
        if facts["context_tokens"] is not None:
            shares = f"{kept['context_share']:.1%} and {dense['context_share']:.1%}"
            found[name] += f" ({shares} of the context)"
    if facts["context_tokens"] is not None:
        found["context"] = f"{facts['context_tokens']:,} tokens ({facts['grid']})"
    return found


class _Rate:
    """The gate at one frame rate, and what it kept so far."""

    def __init__(self, fps: float | None, gate: Gate, reader: Reader) -> None:
        self.fps, self._gate, self._reader = fps, gate.fresh(), reader
        self.frames = self.tokens = 0
        self._rest: Tensor | None = None  # [n, C, H, W]: frames of an incomplete tubelet

    def chosen(self, since: Tensor) -> Tensor:
        """Returns ``[n]`` bool: which frames are shown at some moment of this rate.

        Args:
            since: ``[n + 1]`` float64, the seconds from the first frame to each of n frames, and to
                what follows them.
        """
        if self.fps is None:
            return torch.ones_like(since[1:], dtype=torch.bool)
        # The number of the first moment k / fps at which each frame is there.
        first = ((since - _SLACK_SECONDS) * self.fps).ceil().clamp(min=0)
        return first[1:] > first[:-1]

    def push(self, planes: Tensor) -> None:
        """Takes the next chosen frames, ``[n, C, H, W]`` uint8."""
        self.frames += len(planes)
        f = self._gate.settings.temporal_patch
        if self._rest is not None:
            planes = torch.cat([self._rest, planes])
        whole = len(planes) // f * f
        if whole:
            self.tokens += self._reader.kept(self._gate.push(planes[:whole]).kind)
        self._rest = planes[whole:].clone() if whole < len(planes) else None

    def flush(self) -> None:
        """Fills up the last tubelet with its last frame."""
        if self._rest is not None:
            missing = self._gate.settings.temporal_patch - len(self._rest)
            rest, self._rest = self._rest, None
            self.push(torch.cat([rest, rest[-1:].expand(missing, -1, -1, -1)]))
            self.frames -= len(rest) + missing


class CostMeter:
    """Plays a video through gates at several frame rates, beside the one that sees every frame.

    ``push`` takes every frame. The frame that is shown at each moment of a rate goes through the
    gate of that rate. The frames are converted to the grid only if a rate takes them.
    """

    def __init__(
        self,
        gate: Gate,
        to_grid: ToGrid,
        reader: Reader,
        rates: Sequence[float | None] = RATES,
        until_fps: float | None = None,
    ) -> None:
        """Begins a video.

        Args:
            gate: a gate with a size, whose settings are used.
            to_grid: brings frames to the grid.
            reader: the model that reads the tokens.
            rates: frames a second; None: every frame. Leave None out where ``saw`` counts it.
            until_fps: the rate at which frames come, if some were left out: higher rates are
                left out, too. None: every frame comes.
        """
        assert gate.size is not None
        self._gate, self._to_grid, self._reader = gate, to_grid, reader
        h, w = (side // gate.settings.cell for side in gate.size)
        self._dense = reader.dense(h, w)
        wanted = [fps for fps in rates if fps is None or fps <= (until_fps or math.inf)]
        self._rates = [_Rate(fps, gate, reader) for fps in wanted]
        self._begin: float | None = None
        self._end = 0.0  # seconds
        self._held: tuple[Tensor, Tensor] | None = None  # [1] seconds, [1, C, H, W]: the last frame
        self._seen: tuple[int, int] | None = None  # frames (tubelets), tokens

    @classmethod
    def of(
        cls,
        gate: Gate,
        reader: Reader,
        rates: Sequence[float | None] = RATES,
        until_fps: float | None = None,
    ) -> CostMeter:
        """Begins a video whose frames come to the grid as the gate's ``size`` and ``fit`` say."""
        size, fit = gate.size, gate.settings.fit
        assert size is not None
        return cls(gate, lambda batch: grid.to_grid(batch, size, fit), reader, rates, until_fps)

    def add(self, chunk: TokenChunk, batches: Sequence[FrameBatch]) -> None:
        """Takes the next frames, and what the gate that sees every frame made of them."""
        self.saw(chunk)
        for batch in batches:
            self.push(batch)

    def push(self, batch: FrameBatch) -> None:
        """Takes the next frames of the video."""
        if not len(batch):
            return
        if self._begin is None:
            self._begin = float(batch.pts_seconds[0])
        self._end = float(batch.pts_seconds[-1] + batch.duration_seconds[-1])
        since = batch.pts_seconds - self._begin  # [n]
        if self._held is not None:
            self._take(torch.cat([self._held[0], since[:1]]), lambda at: self._held_planes())
        if len(batch) > 1:
            self._take(since, lambda at: self._to_grid(_at(batch, at)))
        last = torch.tensor([len(batch) - 1], dtype=torch.int64, device=since.device)
        self._held = since[-1:].clone(), self._to_grid(_at(batch, last))

    def saw(self, chunk: TokenChunk) -> None:
        """Counts a chunk of the gate that sees every frame."""
        frames, tokens = self._seen or (0, 0)
        self._seen = frames + len(chunk.kind), tokens + self._reader.kept(chunk.kind)

    def costs(self) -> Costs:
        """Ends the video, and returns what it costs."""
        if self._held is not None and self._begin is not None:
            # The moments before the end, and not the one that is the end.
            length = max(self._end - self._begin, 2e-9)
            end = self._held[0].new_tensor([length + _SLACK_SECONDS - 1e-9])
            self._take(torch.cat([self._held[0], end]), lambda at: self._held_planes())
            self._held = None
        f, rows = self._gate.settings.temporal_patch, []
        for rate in self._rates:
            rate.flush()
            dense = -(-rate.frames // f) * self._dense
            rows += [Row(DENSE, rate.fps, rate.frames, dense),
                     Row(GATED, rate.fps, rate.frames, rate.tokens)]  # fmt: skip
        if self._seen is not None:
            tubelets, tokens = self._seen
            rows += [Row(DENSE, None, tubelets * f, tubelets * self._dense),
                     Row(GATED, None, tubelets * f, tokens)]  # fmt: skip
        return Costs(self._reader, tuple(rows))

    def _held_planes(self) -> Tensor:
        assert self._held is not None
        return self._held[1]

    def _take(self, since: Tensor, planes_of: Callable[[Tensor], Tensor]) -> None:
        """Gives each rate those frames that it takes; ``planes_of`` makes their planes."""
        if not self._rates:
            return
        chosen = [rate.chosen(since) for rate in self._rates]
        wanted = torch.stack(chosen).any(0)
        at = wanted.nonzero().flatten()
        if not len(at):
            return
        planes = planes_of(at)
        for rate, own in zip(self._rates, chosen, strict=True):
            if bool(own.any()):
                rate.push(planes[own[at]])


def _at(batch: FrameBatch, at: Tensor) -> FrameBatch:
    """Returns the frames at these positions; neighbours of a whole batch are not copied."""
    if len(at) == int(at[-1] - at[0]) + 1:
        first, last = int(at[0]), int(at[-1]) + 1
        y, cb, cr = (plane[first:last] for plane in batch.planes)
    else:
        y, cb, cr = (plane[at] for plane in batch.planes)
    return FrameBatch((y, cb, cr), batch.pts_seconds[at], batch.duration_seconds[at], batch.colour)
