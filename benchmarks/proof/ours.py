"""Our ways from decoded frames in memory to features: a stream, so many frames at a time.

Letters: T frames, h w cells, K kept cells, D features.
"""

from typing import Any

import torch

from patchgate import FrameBatch, Gate, _ops
from patchgate.encoders.run.session import later_ids
from patchgate.encoders.run.together import alone
from patchgate.encoders.run.work import Work, work
from patchgate.merging import MergeStream
from patchgate.pipeline.features import GatedCells, TowerFeatures
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
        gated = tower.gated(**settings)
        self._gate, self._seen = Gate.of(gated.gate_settings), 0
        assert self._gate.size is not None
        self._features = TowerFeatures(gated, self._gate.size)
        self.work: Work | None = None  # of the last push

    def push(self, batch: FrameBatch, stage: Timer) -> TokenChunk:
        """The kept cells' features ``[K, D]``, and what else is known of the frames."""
        with stage("grid"):
            planes = self._features.to_grid(batch)
        with stage("gate"):
            result = self._gate.push(planes)
        with stage("compact"):
            index, _, count = _ops.compact(result.kind, result.kind.numel())
            index = index[: int(count)]
            needed = self._features.needed(result.kind)
        with stage("gather"):
            rows = self._features.rows(planes, batch, needed.flatten().nonzero().flatten())
        with stage("encode"), torch.no_grad():
            cells = GatedCells(result.kind, result.source, needed, later_ids(self._gate))
            output = alone(self._features.outputs(rows, cells, dense=False))
        self.work = work(self._features.tower, output.runs)
        told = HostResult(index, result.source, result.kind, result.motion)
        self._seen += len(batch)
        return chunk_of(
            output.kept, told, batch.pts_seconds, batch.duration_seconds, self._seen - len(batch)
        )


def ours(tower: Sized, share: float | None = None, **settings: Any) -> Way:
    """Ours.

    Args:
        share: what is kept of each chunk is merged to so much of it, as of a video still coming.
    """

    def way(batch: FrameBatch, stage: Timer) -> Done:
        live, merge = Live(tower, **settings), MergeStream(ratio=share or 1.0, window=CHUNK)
        found: list[TokenChunk] = []
        done = []
        for some in parts(batch, CHUNK):
            kept = live.push(some, stage)
            done.append(live.work)
            if share is None:
                found.append(kept)
                continue
            with stage("merge"):
                found += merge.push(kept)
        if share is not None:
            with stage("merge"):
                found += merge.flush()
        features = torch.cat([chunk.features for chunk in found])
        return Done(len(features), Work.total(done).gated_flops, features)

    return way
