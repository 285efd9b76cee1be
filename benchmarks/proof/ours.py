"""Our ways from decoded frames in memory to features: a stream, so many frames at a time.

Letters: T frames, h w cells, K kept cells, D features.
"""

from typing import Any

import torch

from patchgate import FrameBatch, Gate, _ops, grid
from patchgate.encoders.run.work import Work
from patchgate.gather import gather
from patchgate.merging import MergeStream
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import HostResult, chunk_of
from proof.frames import parts
from proof.towers import Sized
from proof.way import Done, Timer, Way

CHUNK = 32  # frames at a time
SHARE = 0.2  # of what the gate keeps, after merging


class Live:
    """Our stages with their state: what ``patchgate.tokenize`` does with a batch of frames."""

    def __init__(self, tower: Sized, **settings: Any) -> None:
        self._stream = tower.gated(**settings).stream()
        self._spec = self._stream.pixel_spec
        self._gate, self._seen = Gate.of(self._stream.gate_settings), 0

    def push(self, batch: FrameBatch, stage: Timer) -> TokenChunk:
        """The kept cells' features ``[K, D]``, and what else is known of the frames."""
        with stage("grid"):
            planes = grid.placed_grid(batch, self._spec.place(batch.height, batch.width))
        with stage("gate"):
            result = self._gate.push(planes)
        with stage("compact"):
            index, cu_seqlens, count = _ops.compact(result.kind, result.kind.numel())
            index = index[: int(count)]
        with stage("gather"):
            rows = gather(batch, index, self._spec)
        with stage("encode"):
            assert self._gate.picture_ids is not None
            names = self._gate.picture_ids.flatten().long()
            cell = index % result.kind[0].numel()
            features = self._stream.encode(rows, cell, cu_seqlens, result.source, names)
        told = HostResult(index, result.source, result.kind, result.motion)
        self._seen += len(batch)
        return chunk_of(
            features, told, batch.pts_seconds, batch.duration_seconds, self._seen - len(batch)
        )

    @property
    def work(self) -> Work:
        """The work of the last push."""
        return self._stream.last_work


def ours(tower: Sized, share: float | None = None, **settings: Any) -> Way:
    """Ours.

    Args:
        share: what is kept of each chunk is merged to so much of it, as of a video still coming.
    """

    def way(batch: FrameBatch, stage: Timer) -> Done:
        live, merge = Live(tower, **settings), MergeStream(ratio=share or 1.0, window=CHUNK)
        found: list[TokenChunk] = []
        work = []
        for some in parts(batch, CHUNK):
            kept = live.push(some, stage)
            work.append(live.work)
            if share is None:
                found.append(kept)
                continue
            with stage("merge"):
                found += merge.push(kept)
        if share is not None:
            with stage("merge"):
                found += merge.flush()
        features = torch.cat([chunk.features for chunk in found])
        return Done(len(features), Work.total(work).gated_flops, features)

    return way
