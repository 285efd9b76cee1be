"""The pipeline on a decoder's surfaces: grid -> gate -> compact -> gather, a picture at a time.

A surface is only lent: the decoder writes over it with its next packet. So all that reads it is put
on the decoder's own stream first, and the device keeps the order. What is kept of the pictures goes
into a buffer of fixed capacity, behind what was kept before; where that is, only the device knows.
The host asks once a chunk.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w,
K tokens, E numbers of a kept cell.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from patchgate import _ops, grid
from patchgate._tensors import arange
from patchgate.decode import Colour, Video
from patchgate.decode.nvdec.surface import Coded, Lane, Loan, Shown
from patchgate.decode.nvdec.surface_packer import copy_planes, empty_planes
from patchgate.decode.orientation import oriented
from patchgate.encoders.run.session import later_ids
from patchgate.gate import Gate, GateResult
from patchgate.pipeline.features import Features, GatedCells
from patchgate.pipeline.stages import StageSeconds, timed
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import HostResult, chunk_of


def surface_chunks(
    video: Video, gate: Gate, stages: StageSeconds, features: Features, together: int = 1
) -> Generator[TokenChunk, None, None]:
    """``token_chunks`` of a video that NVDEC decodes.

    The host waits once a chunk, for the number of its tokens. Device memory beside the decoder's
    and the tower's: room for every cell of a chunk (``T * N * E`` numbers), the gate's state and,
    where pictures wait for others or are turned, ``together * f`` of them.

    Args:
        together: tubelets that go through the stages at once. One picture is read where it is. More
            are copied first: fewer and larger launches, for as many pictures of memory.
    """
    f = gate.settings.temporal_patch
    packed = PackedCells(max(1, video.chunk // f // together) * together)
    lane: Lane | None = None
    frames_before = 0
    chunk: _Chunk | None = None
    with closing(video._loans()) as loans:
        for loan in timed(loans, stages, "decode"):
            if chunk is not None and chunk.ends_before(loan.picture):
                yield chunk.finish(frames_before)
                frames_before += chunk.tubelets
                chunk = None
            if chunk is None:
                if lane is not loan.picture.surface.lane:  # memory is used on its own stream only
                    lane, packed = loan.picture.surface.lane, PackedCells(packed.tubelets)
                chunk = _Chunk(loan.picture, gate, features, packed, stages, together)
            chunk.add(loan)
    if chunk is not None:
        yield chunk.finish(frames_before)


class PackedCells:
    """Kept cells of consecutive tubelets, one behind another, packed without the host's knowledge.

    All rows are written where those before them end: the kept ones come first, and the rest is
    written over by the next.
    """

    def __init__(self, tubelets: int) -> None:
        """Room for every cell of so many tubelets: it cannot overflow."""
        self.tubelets = tubelets
        self._rows: Tensor | None = None  # [T * N, E]

    def add(self, rows: Tensor, count: Tensor) -> None:
        """``rows`` ``[t, N, E]`` of t tubelets, of which the first ``count`` ``[1]`` int64 are
        kept.
        """
        _, cells, numbers = rows.shape
        if self._rows is None:
            self._rows = rows.new_empty((self.tubelets * cells, numbers))
            self._end = count.new_zeros(1)  # rows kept so far
            self._places = arange(len(self._rows), device=rows.device)  # [T * N]
        rows = rows.flatten(0, 1)  # [t * N, E]
        self._rows.index_copy_(0, self._end + self._places[: len(rows)], rows)
        self._end += count

    def take(self, count: int) -> Tensor:
        """The rows kept so far, ``[K, E]``, in memory of their own; it is empty again."""
        assert self._rows is not None
        self._end.zero_()
        return self._rows[:count].clone()


@dataclass
class Borrowed:
    """Pictures for the ops, valid until the decoder goes on; of deep ones the samples are taken as
    16 bits: they lie in the high bits, and are rounded to 8 alike.
    """

    planes: tuple[Tensor, Tensor, Tensor]  # Y [t * f, H, W], Cb and Cr [t * f, Hc, Wc]
    colour: Colour

    @property
    def height(self) -> int:
        return self.planes[0].shape[1]

    @property
    def width(self) -> int:
        return self.planes[0].shape[2]


class _Group:
    """Collects the pictures that go through the stages at once. One alone is read where it is; on
    the CPU but for its chroma: ops take adjacent samples there, and in a surface Cb and Cr take
    turns.
    """

    def __init__(self, first: Shown, frames: int) -> None:
        colour, self._orientation = first.coded.colour, first.coded.orientation
        taken_as = 8 if colour.bit_depth == 8 else 16
        self._colour = Colour(colour.matrix, colour.full_range, taken_as)
        self._frames, self.held = frames, 0
        planes = first.surface.planes()
        self._lent = 0  # of Y, Cb and Cr so many are read where they are
        if frames == 1 and not any(self._orientation):
            self._lent = 3 if grid.takes_strides(planes[0]) else 1
        self._copies = empty_planes(planes[self._lent :], frames)  # the others, [t * f, H, W]

    def add(self, shown: Shown) -> Borrowed | None:
        """All of them, once they are there."""
        planes = shown.surface.planes()  # [H, W], [Hc, Wc] x 2
        copy_planes(planes[self._lent :], [plane[self.held] for plane in self._copies])
        self.held += 1
        if self.held < self._frames:
            return None
        return self._lend([*(plane[None] for plane in planes[: self._lent]), *self._copies])

    def rest(self, f: int) -> Borrowed:
        """Those that are there, the last one repeated to a whole tubelet, as transformers does."""
        whole = -(-self.held // f) * f
        for plane in self._copies:
            plane[self.held : whole] = plane[self.held - 1]
        return self._lend([plane[:whole] for plane in self._copies])

    def _lend(self, planes: list[Tensor]) -> Borrowed:
        self.held = 0
        if not self._lent:
            planes = [oriented(plane, self._orientation) for plane in planes]
        y, cb, cr = planes
        return Borrowed((y, cb, cr), self._colour)


class _Chunk:
    """Tubelets of one format on one decoder's stream, on their way to a TokenChunk."""

    def __init__(self, first: Shown, gate: Gate, features: Features, packed: PackedCells,
                 stages: StageSeconds, together: int) -> None:  # fmt: skip
        self._lane: Lane = first.surface.lane
        self._coded: Coded = first.coded
        self._gate, self._features, self._packed, self._stages = gate, features, packed, stages
        self._f = gate.settings.temporal_patch
        self._lane.follow()  # the caller may still be reading what is written over now
        with self._lane.running():
            self._group = _Group(first, together * self._f)
        self.tubelets = 0  # that have gone through the gate
        self._results: list[GateResult] = []
        self._times: list[tuple[float, float]] = []  # of pictures

    def ends_before(self, shown: Shown) -> bool:
        """It is full, or this picture comes from another decoder, or looks different."""
        full = self.tubelets == self._packed.tubelets
        return full or shown.surface.lane is not self._lane or shown.coded != self._coded

    def add(self, loan: Loan) -> None:
        """All that is to be read of the picture is on its way when this returns."""
        self._times.append((loan.pts_seconds, loan.duration_seconds))
        with self._lane.running():
            frames = self._group.add(loan.picture)
            if frames is not None:
                self._run(frames)

    def _run(self, frames: Borrowed) -> None:
        with self._stages.time("grid"):
            planes = self._features.to_grid(frames)  # [t * f, C, H, W]
        with self._stages.time("gate"):
            result = self._gate.push(planes)
            cells, _, count = _ops.compact(result.kind, result.kind.numel())  # [t * N], [1]
        with self._stages.time("gather"):
            rows = self._features.rows(planes, frames, cells)  # [t * N, E]
            self._packed.add(rows.unflatten(0, (len(result.kind), -1)), count)
        self._results.append(result)
        self.tubelets += len(result.kind)

    def finish(self, frames_before: int) -> TokenChunk:
        """Waits for the device, the one time."""
        with self._lane.running():
            if self._group.held:
                self._run(self._group.rest(self._f))
            kind, motion, source = (
                torch.cat([getattr(result, name) for result in self._results])
                for name in ("kind", "motion", "source")
            )  # [T, h, w], [T, h, w, 2], [T, h, w]
            index, cu_seqlens, _ = _ops.compact(kind, kind.numel())
            later = later_ids(self._gate)
            with self._stages.time("wait"):
                told = [tensor.to("cpu", non_blocking=True)
                        for tensor in (cu_seqlens, index, source, kind, motion)]  # fmt: skip
                self._lane.synchronize()
            count = int(told[0][-1])
            rows = self._packed.take(count)  # [K, E]
        self._lane.lead(rows, kind, source, later)
        gated = GatedCells(kind, source, later)
        tokens = self._features.encode(rows, gated, self._stages.time)
        # Copies: page-locked memory is scarce, and most of the capacity is empty.
        here = HostResult(*(tensor.clone() for tensor in (told[1][:count], *told[2:])))
        return chunk_of(tokens, here, *self._seconds(), frames_before)

    def _seconds(self) -> tuple[Tensor, Tensor]:
        """The pts of each tubelet's first picture, and how long its pictures are shown together."""
        pts, duration = torch.tensor(self._times, dtype=torch.float64, device="cpu").unbind(1)
        missing = -len(pts) % self._f
        duration = torch.nn.functional.pad(duration, (0, missing))
        return pts[:: self._f], duration.view(-1, self._f).sum(1)
