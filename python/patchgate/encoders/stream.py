"""A gated tower that keeps its state between calls. Letters: T frames, K kept cells, D features."""

from dataclasses import asdict
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from patchgate.encoders import inputs, stream_file
from patchgate.encoders.frames import Frames, encode_frames
from patchgate.encoders.gated_tower import GatedTower, packed
from patchgate.encoders.memory import Memory
from patchgate.encoders.packed import Kept
from patchgate.encoders.tower import Tower
from patchgate.gate import Gate, GateResult


class TowerStream(GatedTower):
    """A gated tower that keeps its state between calls: the gate's, and the tokens that cells of
    later frames can still refer to. Gradients do not reach back into earlier calls.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.reset()

    def reset(self) -> None:
        """Forgets all frames."""
        self._stream_gate = Gate(**asdict(self.gate_settings))
        self._memory: Memory | None = None

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the state to a safetensors file.

        Raises:
            OSError: it cannot be written there.
        """
        told = self._told()
        saved = stream_file.Saved(self._stream_gate.state_dict(), self._memory)
        stream_file.write(path, saved, told)

    def restore(self, path: str | PathLike[str]) -> None:
        """Goes on where a saved stream stopped.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it holds no state, or that of another tower (weights or dtype), of other
                gate settings or another fidelity. The stream is left as it was.
        """
        told = self._told()
        saved = stream_file.read(path, told, self._family.weight.device)
        self._stream_gate.load_state_dict(saved.gate)
        self._memory = saved.memory

    def _told(self) -> dict[str, str]:
        return stream_file.describe(
            self.tower, self._family, self.pixel_spec, self.gate_settings, self.fidelity
        )

    def encode(
        self,
        rows: Tensor,
        cell: Tensor,
        cu_seqlens: Tensor,
        source: Tensor | None = None,
        names: Tensor | None = None,
    ) -> Tensor:
        """As ``GatedTower.encode``, of frames that follow those of the call before.

        Args:
            source: token ids since the last ``reset``.
            names: ids that later frames may name, beside those that the last frame shows
                (``Gate.picture_ids``: parts of cells that motion can bring together again).

        Raises:
            TypeError, ValueError: as there; ids of tokens that are not remembered.
        """
        memory = self._memory
        emitted = 0 if memory is None else memory.emitted
        if self._stream_gate.picture_ids is not None:
            raise ValueError("stream: so far it had frames; reset() it before encode()")
        family, kept, order = self._given(rows, cell, cu_seqlens, source, emitted)
        names = inputs.checked_names(names, emitted + int(kept.mask.sum()), family)
        if memory is not None:
            memory.check_same(family, [])
            memory.check_known("source", kept.source)
            memory.check_known("names", names)
        if not len(kept.mask) or (memory is None and not len(kept.patches)):
            return family.weight.new_empty((0, family.width))
        return self._go_on(family, kept, [], names, dense=False).kept[order]

    def _call(
        self, family: Tower, frames: Tensor, clips: list[int], hidden: list[int]
    ) -> list[tuple[Frames, GateResult]]:
        if len(clips) > 1:
            raise ValueError("clip_lengths: a stream is one clip; reset() it between clips")
        if self._memory is not None:
            self._memory.check_same(family, hidden)
            if self._stream_gate.picture_ids is None:
                raise ValueError("stream: so far it had encode(); reset() it before frames")
        before = {name: tensor.clone() for name, tensor in self._stream_gate.state_dict().items()}
        result = self._stream_gate.push(self._planes(frames))
        ids = self._stream_gate.picture_ids
        assert ids is not None
        # Later frames can name single pixels' tokens, too: motion can bring them together.
        names = torch.cat([ids.flatten().long(), result.source[-1].flatten()]).unique()
        try:
            return [(self._go_on(family, packed(family, frames, result), hidden, names), result)]
        except BaseException:  # out of memory, interrupted: as if it had not been pushed
            self._stream_gate.load_state_dict(before)
            raise

    def _frames_before(self) -> int:
        return 0 if self._memory is None else self._memory.frames

    def _go_on(
        self, family: Tower, kept: Kept, hidden: list[int], names: Tensor, dense: bool = True
    ) -> Frames:
        memory = self._memory
        if memory is None:
            memory = Memory.empty(kept.mask.device, family.depth)
        frames = encode_frames(family, self.fidelity, memory, kept, hidden, names, dense)
        self._memory = frames.memory.detached()
        self.last_work = frames.work
        return frames
