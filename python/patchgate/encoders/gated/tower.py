"""GatedTower, which ``gated`` returns, and TowerStream, which keeps its state between calls.

Letters: T frames, h w cells, K kept cells, D features.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any, overload

from torch import Tensor

from patchgate._check import checked_count
from patchgate.encoders.gated import inputs, stream_file, stream_state
from patchgate.encoders.gated.base import BaseTower
from patchgate.encoders.gated.outside import outside_graphs
from patchgate.encoders.gated.singles import counted_singles
from patchgate.encoders.gated.streams import TowerStreams
from patchgate.encoders.run.clip import ClipOutput
from patchgate.encoders.run.session import Session
from patchgate.encoders.run.together import Steps, alone
from patchgate.encoders.run.work import Work, work
from patchgate.encoders.tower import Tower
from patchgate.gate import Gate, GateResult
from patchgate.gate.calls import Calls, Undo
from patchgate.gather.resize import SizeRule
from patchgate.tokens import VideoTokens


class GatedTower(BaseTower):
    """A vision tower that computes only the cells that changed: what ``gated`` returns.

    It can take the place of its model in a larger one: it has the same parameters under the same
    names, and attributes that it lacks itself (``config``, ``dtype``, ...) are the model's.

    It serves inference, and training without dropout: gradients flow to the weights and the kept
    pixels. Packed tokens pass through the leaves of the model's layers (projections, norms, MLPs,
    the patch embedding), so that adapters and hooks on these have their effect. Adapters and hooks
    on the model itself, its layers or their attention would have none; a call refuses them.
    """

    _singles = 0  # the last calls of one frame each

    @overload
    def stream(self) -> "TowerStream": ...

    @overload
    def stream(self, streams: int) -> "TowerStreams": ...

    def stream(self, streams: int | None = None) -> "TowerStream | TowerStreams":
        """Returns a ``TowerStream``; each of its calls goes on where the last one ended.

        Calls with the parts of a clip return together what one call with the whole clip returns.

        Args:
            streams: return ``TowerStreams`` of so many cameras, whose frames share the passes
                through the tower. None: one stream.
        """
        own = self.gate_settings, self.fidelity, self.output
        if streams is None:
            return TowerStream(self.tower, self._tower, self.pixel_spec, *own)
        count = checked_count("streams", streams, 1)
        return TowerStreams([self.stream() for _ in range(count)])

    def resized(self, size: SizeRule) -> "GatedTower":
        """Returns a gated tower of the same model whose frames are resized by another rule.

        Only ``tokenize`` and what is like it resize frames; a call takes pixel values as they are.
        """
        spec = replace(self.pixel_spec, size=size)
        own = self.gate_settings, self.fidelity, self.output
        return GatedTower(self.tower, self._tower, spec, *own)

    def _call(
        self, tower: Tower, frames: Tensor, clips: list[int], hidden: list[int]
    ) -> list[tuple[ClipOutput, GateResult]]:
        """Encodes each clip in a session of its own."""
        self._singles = counted_singles(self._singles, clips)
        parts = []
        for clip in frames.split([n * tower.temporal_patch for n in clips]):
            session = self._session()
            parts.append(session.push(tower, clip, self._planes(clip), hidden, last=True))
        self.last_work = Work.total(work(tower, output.runs) for output, _ in parts)
        return parts

    def _session(self) -> Session:
        """Opens a session for a new clip."""
        return Session(self.fidelity, Gate.of(self.gate_settings))

    def _frames_before(self) -> int:
        return 0


class TowerStream(GatedTower):
    """A gated tower that keeps its state from call to call.

    The state is that of the gate, and the tokens that cells of later frames can still refer to.
    Gradients do not flow into earlier calls.

    A call that fails in any way, out of memory and interrupts included, leaves the stream as it
    was: the same frames may be pushed again. Only one thread may use it at a time: a call from a
    second one raises a ``RuntimeError``.
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._calls = Calls("stream")
        self._now = self._session()

    @outside_graphs
    def forward(
        self,
        pixel_values: Tensor,
        interpolate_pos_encoding: bool = False,
        *,
        clip_lengths: Sequence[int] | None = None,
        output_hidden_states: bool | int | Sequence[int] | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> Any:
        """Does what ``GatedTower.forward`` does, with frames that follow those of the last call."""
        call = partial(
            super().forward,
            pixel_values,
            interpolate_pos_encoding,
            clip_lengths=clip_lengths,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            **options,
        )
        # ``tokens`` runs its own call.
        return call() if self.output == "tokens" else self._calls.run(self._mark, call)

    @outside_graphs
    def tokens(
        self,
        pixel_values: Tensor,
        *,
        pts_seconds: Tensor,
        duration_seconds: Tensor | None = None,
        **options: Any,
    ) -> VideoTokens:
        """Does what ``GatedTower.tokens`` does, with frames that follow those of the last call."""
        times: dict[str, Any] = {"pts_seconds": pts_seconds, "duration_seconds": duration_seconds}
        call = partial(super().tokens, pixel_values, **times, **options)
        return self._calls.run(self._mark, call)

    def reset(self) -> None:
        """Forgets all frames."""
        self._calls.run(self._mark, lambda: self._become(self._session()))

    def stream_state_dict(self) -> dict[str, Tensor]:
        """Returns the stream's state as tensors by name, so that another stream can go on with it.

        It is not called ``state_dict``, because that has the tower's weights: as a module, the
        stream takes the place of its tower.

        Returns:
            Copies of the gate's state (``gate.*``) and of the tower's tables, on its device;
            ``counts`` of tokens and frames, int64 on the CPU; what the state belongs to, as text in
            uint8 (``belongs_to``); and a checksum (``digest``). ``torch.save`` and
            ``safetensors.torch.save_file`` can write it. The call synchronises.

        Raises:
            RuntimeError: another thread is in a call of this stream.
        """
        return self._calls.run(self._mark, lambda: stream_state.state_of(self._now, self._owner()))

    def load_stream_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copies the state of another stream, and goes on with it. Synchronises.

        Args:
            state: the result of ``stream_state_dict``, on any device.

        Raises:
            ValueError: it is no such state, or its parts contradict each other (see
                ``stream_check``) or have changed since, or it belongs to another tower (weights or
                dtype), other gate settings or another fidelity. The stream is left as it was.
            RuntimeError: another thread is in a call of this stream.
        """
        self._calls.run(self._mark, lambda: self._load(partial(stream_state.load, state)))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the state of ``stream_state_dict`` to a safetensors file. Synchronises.

        The file is written beside its place and moved there when it is complete. An older file
        stays until then; it may be the one that this stream was restored from.

        Raises:
            OSError: it cannot be written there.
            ValueError: the path exists and is not a file.
        """
        write = partial(stream_file.write, path)
        self._calls.run(self._mark, lambda: write(self._now, self._owner()))

    def restore(self, path: str | PathLike[str]) -> None:
        """Reads a state that ``save`` wrote, and goes on with it. Synchronises.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it has no state, or one whose parts contradict each other (see
                ``stream_check``), or one of another tower (weights or dtype), of other gate
                settings or another fidelity. The stream is left as it was.
        """
        self._calls.run(self._mark, lambda: self._load(partial(stream_file.restore, path)))

    def _load(self, load: Callable[[dict[str, str], Session, Tower], None]) -> None:
        session = self._session()
        load(self._owner(), session, self._tower)
        self._become(session)

    def _become(self, session: Session) -> None:
        self._now = session

    def _mark(self) -> Undo:
        session, work_before = self._now, self.last_work
        undo = session.mark()

        def back() -> None:
            undo()
            self._now, self.last_work = session, work_before

        return back

    def _owner(self) -> dict[str, str]:
        return stream_file.describe(
            self.tower, self._tower, self.pixel_spec, self.gate_settings, self.fidelity
        )

    @outside_graphs
    def encode(
        self,
        rows: Tensor,
        cell: Tensor,
        cu_seqlens: Tensor,
        source: Tensor | None = None,
        names: Tensor | None = None,
    ) -> Tensor:
        """Does what ``GatedTower.encode`` does, with frames that follow those of the last call.

        Args:
            rows, cell, cu_seqlens: as in ``GatedTower.encode``.
            source: ``[T, h, w]`` integers: token ids, counted since the last ``reset``.
            names: integers: ids of tokens that later frames may name and the last frame does not
                show. These are in ``Gate.picture_ids``: motion can move parts of cells together
                again.

        Raises:
            TypeError, ValueError: as in ``GatedTower.encode``; a token is not remembered any more.
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
        session = self._now
        if session.gated:
            raise ValueError("stream: so far it had frames; reset() it before encode()")
        tower, kept, order = self._given(rows, cell, cu_seqlens, source, session.emitted)
        names = inputs.checked_names(names, session.emitted + int(kept.mask.sum()), tower)
        if session.memory is not None:
            session.memory.check_same(tower, [])
            session.memory.check_known("source", kept.source)
            session.memory.check_known("names", names)
        if not len(kept.mask) or (session.memory is None and not len(kept.patches)):
            return tower.weight.new_empty((0, tower.width))
        session.fidelity = session.fidelity.without_frames()
        output = session.encode(tower, kept, [], names, dense=False)
        self.last_work = work(tower, output.runs)
        return output.kept[order]

    def _call(
        self, tower: Tower, frames: Tensor, clips: list[int], hidden: list[int]
    ) -> list[tuple[ClipOutput, GateResult]]:
        if len(clips) > 1:
            raise ValueError("clip_lengths: a stream is one clip; reset() it between clips")
        return [alone(self._calling(tower, frames, hidden))]

    def _calling(
        self, tower: Tower, frames: Tensor, hidden: list[int]
    ) -> Steps[tuple[ClipOutput, GateResult]]:
        """Does the work of a call, in steps."""
        session = self._now
        if session.memory is not None:
            session.memory.check_same(tower, hidden)
            if not session.gated:
                raise ValueError("stream: so far it had encode(); reset() it before frames")
        output, result = yield from session.pushing(tower, frames, self._planes(frames), hidden)
        self.last_work = work(tower, output.runs)
        return output, result

    def _frames_before(self) -> int:
        return self._now.frames
