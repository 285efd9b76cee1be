"""Makes the tokens of a batch of frames: grid -> gate -> compact -> gather.

Letters: T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells, K tokens,
D features, G cells that have rows.
"""

import torch
from torch import Tensor

from patchgate import _ops
from patchgate._tensors import whole
from patchgate.decode import FrameBatch
from patchgate.encoders.run.session import later_ids, turns_of
from patchgate.encoders.run.together import Steps, alone
from patchgate.gate import Gate, GateResult
from patchgate.gate.calls import Undo
from patchgate.gate.step import GateStep
from patchgate.pipeline.features import Features, GatedCells, PixelFeatures
from patchgate.pipeline.stages import StageSeconds, spare_threads
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import HostResult, chunk_of

_NO_CELLS = whole(())  # [0] int64


class Chunker:
    """Takes the frames of one video, batch after batch, and makes a chunk of tokens of each.

    Attributes:
        gate, features: the stages that keep a state from batch to batch.
        frames: the number of frames (tubelets) so far.
    """

    def __init__(
        self,
        gate: Gate,
        features: Features,
        stages: StageSeconds | None = None,
        decoding: int = 0,
        frames: int = 0,
    ) -> None:
        """Begins a video.

        Args:
            gate: a gate with a size. Nobody else may use it.
            features: makes features of the kept cells.
            stages: counts the seconds of each stage, if given.
            decoding: the number of threads that decode meanwhile, and are left their cores if no
                tower computes.
            frames: the number of frames that the gate and the features have seen.
        """
        self.gate, self.features, self.frames = gate, features, frames
        self._stages = stages or StageSeconds()
        # A tower's work is many times the decoder's: it takes all cores.
        self._decoding = decoding if isinstance(features, PixelFeatures) else 0
        self._first = 0  # the gate's number of the video's first token, whose own is 0

    def push(self, batch: FrameBatch) -> TokenChunk:
        """Makes the tokens of the next frames. The last frame of a short tubelet is repeated.

        A call that fails leaves a gate and features that ``mark`` brings back.
        """
        with torch.no_grad(), spare_threads(self._decoding):
            return alone(self.steps(batch))

    def push_planes(self, batch: FrameBatch, planes: Tensor) -> TokenChunk:
        """Does what ``push`` does with frames that are on the grid already; see ``plane_steps``."""
        with torch.no_grad(), spare_threads(self._decoding):
            return alone(self.plane_steps(batch, planes))

    def steps(self, batch: FrameBatch) -> Steps[TokenChunk]:
        """Does what ``push`` does, in steps that ``together`` computes for several videos."""
        with self._stages.time("grid"):
            planes = self._on_grid(batch)
        return (yield from self.plane_steps(batch, planes))

    def plane_steps(self, batch: FrameBatch, planes: Tensor) -> Steps[TokenChunk]:
        """Does what ``steps`` does with frames that are on the grid already.

        Args:
            batch: the frames.
            planes: ``[T * f, C, H, W]``, the same frames in whole tubelets.
        """
        stages = self._stages
        with stages.time("gate"):
            result = yield GateStep(self.gate, planes)  # ``mark`` undoes it
            if self._stands_still(result):
                return self._chunk(self.features.empty(), _NO_CELLS, result, batch)
            index, _, count = _ops.compact(result.kind, result.kind.numel())
            index = index[: int(count)]  # [K]
            if not self.frames and len(result.kind):
                self._first = int(result.source[0, 0, 0])
            later = later_ids(self.gate)
            if self._first:
                later = later - self._first
                result = result._replace(source=result.source - self._first)
            needed = self.features.needed(result.kind)
            gated = GatedCells(result.kind, result.source, needed, later, turns_of(self.gate))
        with stages.time("gather"):
            cells = needed.flatten().nonzero().flatten()  # [G]
            rows = self.features.rows(planes, batch, cells)
        tokens = yield from self.features.encoding(rows, gated, stages.time)
        return self._chunk(tokens, index, result, batch)

    def _stands_still(self, result: GateResult) -> bool:
        """Whether no cell is kept or has moved, and the features need nothing of these frames.

        As of most frames of a still camera, which then take no further step. On a GPU looking would
        cost as much as it saves.
        """
        if not self.frames or self._first or not result.kind.is_cpu:
            return False
        return not result.kind.any() and self.features.still(result.source)

    def _chunk(
        self, tokens: Tensor, index: Tensor, result: GateResult, batch: FrameBatch
    ) -> TokenChunk:
        """Makes a chunk of features ``[K, D]`` and the cells ``[K]`` that they are of."""
        on_device = (index, result.source, result.kind, result.motion, result.weights, result.lit)
        host = HostResult(*(tensor.cpu() for tensor in on_device))
        f = self.gate.settings.temporal_patch
        times = batch.pts_seconds, batch.duration_seconds  # [T * f] each
        if f > 1:
            duration = torch.nn.functional.pad(times[1], (0, -len(batch) % f))
            times = times[0][::f], duration.view(-1, f).sum(1)  # [T] each
        chunk = chunk_of(tokens, host, *times, self.frames)
        self.frames += len(result.kind)
        return chunk

    def _on_grid(self, batch: FrameBatch) -> Tensor:
        planes = self.features.to_grid(batch)
        missing = -len(batch) % self.gate.settings.temporal_patch
        if missing:  # the last frame is repeated, as in transformers
            planes = torch.cat([planes, planes[-1:].expand(missing, -1, -1, -1)])
        return planes

    def follow(self, device: torch.device) -> None:
        """Moves the gate's state to the device of the frames that come."""
        ids = self.gate.picture_ids
        if ids is not None and ids.device != device:
            own = self.gate.state_dict()
            self.gate.load_state_dict({name: part.to(device) for name, part in own.items()})

    def mark(self) -> Undo:
        """Notes the state. Calling what this returns brings it back."""
        frames, first = self.frames, self._first
        gate, features = self.gate._mark(), self.features.mark()

        def back() -> None:
            gate()
            features()
            self.frames, self._first = frames, first

        return back
