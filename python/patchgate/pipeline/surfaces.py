"""Runs the pipeline on surfaces borrowed from NVDEC: grid -> gate -> compact -> gather.

A surface is only borrowed: the decoder overwrites it with its next packet. So every kernel that
reads it is launched on the decoder's own stream before that, and the device keeps the order. The
kept cells of each picture go into a buffer of fixed capacity, behind the cells kept before. Only
the device knows this place; the host reads it once a chunk.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, N = h * w,
K tokens, G cells that have rows, E numbers of a row.
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
from patchgate.decode.nvdec.surface import BorrowedPicture, Coded, CudaStream, Shown
from patchgate.decode.nvdec.surface_packer import copy_planes, empty_planes
from patchgate.decode.orientation import oriented
from patchgate.encoders.run.session import later_ids, turns_of
from patchgate.encoders.run.together import alone
from patchgate.gate import CHANGED, Gate, GateResult
from patchgate.gate.longterm.turns import Turn
from patchgate.pipeline.features import Features, GatedCells
from patchgate.pipeline.stages import StageSeconds, timed
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import HostResult, chunk_of


def surface_chunks(
    video: Video, gate: Gate, stages: StageSeconds, features: Features, together: int = 1
) -> Generator[TokenChunk, None, None]:
    """Does what ``token_chunks`` does for a video that NVDEC decodes.

    The host waits once a chunk, for the number of its tokens; a gate that remembers pictures waits
    in every push, too: raise ``together`` for fewer of them. Beside the memory of the decoder and
    the tower, the device needs room for every cell of a chunk (``T * N * E`` numbers), for the
    gate's state and, if pictures wait for others or are turned, for ``together * f`` pictures.

    Args:
        together: the number of tubelets that go through the stages at once. A single picture is
            read where it is. Several are copied first: this makes fewer and larger launches, and
            takes memory for that many pictures.
    """
    f = gate.settings.temporal_patch
    packed = PackedCells(max(1, video.chunk // f // together) * together)
    stream: CudaStream | None = None
    frames_before = 0
    chunk: _Chunk | None = None
    with closing(video._borrowed()) as pictures:
        for borrowed in timed(pictures, stages, "decode"):
            if chunk is not None and chunk.ends_before(borrowed.picture):
                yield chunk.finish()
                frames_before += chunk.tubelets
                chunk = None
            if chunk is None:
                current = borrowed.picture.surface.cuda_stream
                if stream is not current:  # memory is used on its own stream only
                    stream, packed = current, PackedCells(packed.tubelets)
                chunk = _Chunk(
                    borrowed.picture, gate, features, packed, stages, together, frames_before
                )
            chunk.add(borrowed)
    if chunk is not None:
        yield chunk.finish()


class PackedCells:
    """Packs the cells that are needed of consecutive tubelets, while the host does not know their
    number.

    Each tubelet's rows are written where the needed rows before them end. Needed rows come first,
    and the next tubelet writes over the rest.
    """

    def __init__(self, tubelets: int) -> None:
        """``tubelets``: there is room for every cell of that many, so that nothing overflows."""
        self.tubelets = tubelets
        self._rows: Tensor | None = None  # [T * N, E]

    def add(self, rows: Tensor, count: Tensor) -> None:
        """Adds the rows of t tubelets.

        Args:
            rows: ``[t, N, E]``, the needed ones first.
            count: ``[1]`` int64, the number of needed rows.
        """
        _, cells, numbers = rows.shape
        if self._rows is None:
            self._rows = rows.new_empty((self.tubelets * cells, numbers))
            self._end = count.new_zeros(1)  # needed rows so far
            self._places = arange(len(self._rows), device=rows.device)  # [T * N]
        rows = rows.flatten(0, 1)  # [t * N, E]
        self._rows.index_copy_(0, self._end + self._places[: len(rows)], rows)
        self._end += count

    def take(self, count: int) -> Tensor:
        """Returns a copy of the needed rows so far, ``[G, E]``, and empties the buffer."""
        assert self._rows is not None
        self._end.zero_()
        return self._rows[:count].clone()


@dataclass
class Borrowed:
    """Pictures for the ops, valid until the decoder goes on.

    Samples of more than 8 bits are read as 16 bits: they lie in the high bits, and are rounded to 8
    in the same way.
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
    """Collects the pictures that go through the stages at once.

    A single picture is read where it is. (On the CPU its chroma is copied: ops need adjacent
    samples there, and in a surface Cb and Cr take turns.)
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
        """Adds a picture. Returns all of them once the group is complete."""
        planes = shown.surface.planes()  # [H, W], [Hc, Wc] x 2
        copy_planes(planes[self._lent :], [plane[self.held] for plane in self._copies])
        self.held += 1
        if self.held < self._frames:
            return None
        return self._lend([*(plane[None] for plane in planes[: self._lent]), *self._copies])

    def rest(self, f: int) -> Borrowed:
        """Returns an incomplete group; its last picture is repeated until the tubelet is full.

        transformers does the same.
        """
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
                 stages: StageSeconds, together: int, before: int) -> None:  # fmt: skip
        self._cuda_stream: CudaStream = first.surface.cuda_stream
        self._coded: Coded = first.coded
        self._gate, self._features, self._packed, self._stages = gate, features, packed, stages
        self._f, self._before = gate.settings.temporal_patch, before
        self._cuda_stream.follow()  # the caller may still be reading what is written over now
        with self._cuda_stream.running():
            self._group = _Group(first, together * self._f)
        self.tubelets = 0  # the number that have gone through the gate
        self._results: list[GateResult] = []
        self._needed: list[Tensor] = []  # [t, h, w] bool each
        self._turns: list[Turn] = []
        self._times: list[tuple[float, float]] = []  # of pictures

    def ends_before(self, shown: Shown) -> bool:
        """Whether the chunk is full, or this picture has another decoder or another format."""
        full = self.tubelets == self._packed.tubelets
        return (
            full or shown.surface.cuda_stream is not self._cuda_stream or shown.coded != self._coded
        )

    def add(self, borrowed: BorrowedPicture) -> None:
        """Launches all kernels that read the picture on the decoder's stream."""
        self._times.append((borrowed.pts_seconds, borrowed.duration_seconds))
        with self._cuda_stream.running():
            frames = self._group.add(borrowed.picture)
            if frames is not None:
                self._run(frames)

    def _run(self, frames: Borrowed) -> None:
        with self._stages.time("grid"):
            planes = self._features.to_grid(frames)  # [t * f, C, H, W]
        with self._stages.time("gate"):
            result = self._gate._pushed(planes, None)  # ours alone: nobody undoes it
            needed = self._features.needed(result.kind)
            listed = needed.to(torch.uint8) * CHANGED
            cells, _, count = _ops.compact(listed, listed.numel())  # [t * N], [1]
        with self._stages.time("gather"):
            rows = self._features.rows(planes, frames, cells)  # [t * N, E]
            self._packed.add(rows.unflatten(0, (len(result.kind), -1)), count)
        self._turns += [
            turn._replace(frame=turn.frame + self.tubelets) for turn in turns_of(self._gate)
        ]
        self._results.append(result)
        self._needed.append(needed)
        self.tubelets += len(result.kind)

    def finish(self) -> TokenChunk:
        """Waits for the device, once, and makes the chunk."""
        with self._cuda_stream.running():
            if self._group.held:
                self._run(self._group.rest(self._f))
            kind, motion, source, weights, lit = (
                torch.cat([getattr(result, name) for result in self._results])
                for name in ("kind", "motion", "source", "weights", "lit")
            )  # [T, h, w], [T, h, w, 2], [T, h, w], [T, f, C, 2], [T, h, w]
            index, _, kept = _ops.compact(kind, kind.numel())
            needed = torch.cat(self._needed)  # [T, h, w]
            counts = torch.cat([kept, needed.sum()[None]])
            later = later_ids(self._gate).clone()  # the next frames change the gate's own
            with self._stages.time("wait"):
                asked = (counts, index, source, kind, motion, weights, lit)
                host = [tensor.to("cpu", non_blocking=True) for tensor in asked]
                self._cuda_stream.synchronize()
            count, given = host[0].tolist()
            rows = self._packed.take(given)  # [G, E]
        self._cuda_stream.lead(rows, kind, source, needed, later)
        gated = GatedCells(kind, source, needed, later, tuple(self._turns))
        with torch.no_grad():
            tokens = alone(self._features.encoding(rows, gated, self._stages.time))
        # Copies: page-locked memory is scarce, and most of the capacity is empty.
        copies = HostResult(*(tensor.clone() for tensor in (host[1][:count], *host[2:])))
        return chunk_of(tokens, copies, *self._seconds(), self._before)

    def _seconds(self) -> tuple[Tensor, Tensor]:
        """Returns the time of each tubelet's first picture, and how long its pictures are shown."""
        pts, duration = torch.tensor(self._times, dtype=torch.float64, device="cpu").unbind(1)
        missing = -len(pts) % self._f
        duration = torch.nn.functional.pad(duration, (0, missing))
        return pts[:: self._f], duration.view(-1, self._f).sum(1)
