"""A gated tower that keeps its state between calls. Letters: T frames, K kept cells, D features."""

from functools import partial
from os import PathLike
from typing import Any

import torch
from torch import Tensor

from patchgate.encoders.gated import inputs, stream_file
from patchgate.encoders.gated.tower import GatedTower, packed
from patchgate.encoders.run.clip import Frames, encode_frames
from patchgate.encoders.run.memory import Memory
from patchgate.encoders.run.packed import Kept
from patchgate.encoders.tower import Tower
from patchgate.gate import Gate, GateResult
from patchgate.gate.calls import Calls, Undo
from patchgate.tokens import VideoTokens


class TowerStream(GatedTower):
    """A gated tower that keeps its state between calls: the gate's, and the tokens that cells of
    later frames can still refer to. Gradients do not reach back into earlier calls.

    A call that fails in any way, out of memory and interrupts included, leaves the stream as it
    was: the same frames may be pushed again. One thread at a time: a call from a second one raises
    a ``RuntimeError``.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._calls = Calls("stream")
        self._stream_gate = Gate.of(self.gate_settings)
        self._memory: Memory | None = None

    def forward(self, pixel_values: Tensor, *given: Any, **named: Any) -> Any:
        """As ``GatedTower.forward``, of frames of one clip that follow those of the call before."""
        call = partial(super().forward, pixel_values, *given, **named)
        # What `tokens` does is a call of its own.
        return call() if self.output == "tokens" else self._calls.run(self._mark, call)

    def tokens(self, pixel_values: Tensor, **named: Any) -> VideoTokens:
        """As ``GatedTower.tokens``, of frames that follow those of the call before."""
        return self._calls.run(self._mark, partial(super().tokens, pixel_values, **named))

    def reset(self) -> None:
        """Forgets all frames."""
        self._calls.run(self._mark, lambda: self._become(self._fresh_gate(), None))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the state to a safetensors file.

        It is written beside its place and moved there when it is whole: an older file stays until
        then, and may be the one that this stream was restored from.

        Raises:
            OSError: it cannot be written there.
            ValueError: the path is something else than a file.
        """
        self._calls.run(self._mark, lambda: self._save(path))

    def restore(self, path: str | PathLike[str]) -> None:
        """Goes on where a saved stream stopped.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it holds no state, or one whose parts contradict each other (see
                ``stream_check``), or that of another tower (weights or dtype), of other gate
                settings or another fidelity. The stream is left as it was.
        """
        gate = self._fresh_gate()
        memory = stream_file.restored(path, self._told(), gate, self._family, self.fidelity)
        self._calls.run(self._mark, lambda: self._become(gate, memory))

    def _fresh_gate(self) -> Gate:
        return Gate.of(self.gate_settings)

    def _become(self, gate: Gate, memory: Memory | None) -> None:
        self._stream_gate, self._memory = gate, memory

    def _save(self, path: str | PathLike[str]) -> None:
        stream_file.write(path, self._stream_gate.state_dict(), self._memory, self._told())

    def _mark(self) -> Undo:
        gate, memory, work = self._stream_gate, self._memory, self.last_work
        undo = gate._mark()

        def back() -> None:
            undo()
            self._become(gate, memory)
            self.last_work = work

        return back

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
        given = rows, cell, cu_seqlens, source, names
        return self._calls.run(self._mark, lambda: self._encoded(*given))

    def _encoded(
        self,
        rows: Tensor,
        cell: Tensor,
        cu_seqlens: Tensor,
        source: Tensor | None,
        names: Tensor | None,
    ) -> Tensor:
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
        result = self._stream_gate._pushed(self._planes(frames), None)  # undone by `_calls`
        ids = self._stream_gate.picture_ids
        assert ids is not None
        # Later frames can name single pixels' tokens, too: motion can bring them together.
        names = torch.cat([ids.flatten().long(), result.source[-1].flatten()]).unique()
        return [(self._go_on(family, packed(family, frames, result), hidden, names), result)]

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
