"""Tokenizer: frames in, as they come, and their tokens out.

Letters: T frames (or tubelets), h w cells, K tokens, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple, Unpack

import torch
from torch import Tensor

from patchgate._signature import spelled
from patchgate.colour import Matrix
from patchgate.decode import FrameBatch
from patchgate.encoders.gated.tower import GatedTower
from patchgate.encoders.run.together import Steps, alone
from patchgate.gate import Gate, GateSettings, saved
from patchgate.gate.calls import Calls, Undo
from patchgate.gate.settings import GEOMETRY, GateRules
from patchgate.pipeline import saved_tokenizer
from patchgate.pipeline.chunker import Chunker
from patchgate.pipeline.collect import checked_whole, empty_chunk
from patchgate.pipeline.fitting import fitting_gate, prepared
from patchgate.pipeline.given import Clock, batches_of, checked_rate
from patchgate.pipeline.options import parted
from patchgate.pipeline.tubelets import Tubelets
from patchgate.tokens import TokenChunk, VideoTokens, grid_of, layout_of
from patchgate.tokens.chunk import joined


class _Now(NamedTuple):
    """The state of a tokenizer. The chunker and the tubelets change with every push."""

    clock: Clock
    chunker: Chunker | None = None  # None: the size of the frames is not known yet
    tubelets: Tubelets | None = None
    matrix: Matrix = "bt601"  # of the first frame


class Tokenizer:
    """Turns frames into tokens as they come: ``push`` after ``push``, of any number of frames.

    It is ``tokenize`` for a camera, a server or a decoder of one's own. However the frames are cut,
    the pushes return together what one call of ``tokenize`` with all of them returns (features of
    a tower are equal up to the rounding of other batches). The memory does not grow with the video:
    a gate's state, what the tower remembers of the picture, and 16 frames.

    A call that fails in any way, out of memory and interrupts included, leaves the tokenizer as it
    was: the same frames may be pushed again. Only one thread may use it at a time: a call from a
    second one raises a ``RuntimeError``.

    Args:
        tower: a tower made by ``gated``: the features are its last hidden states, ``[K, D]``. None:
            the features are the cells' own samples.
        gate: its settings are used, with a new state. None: those of the tower or of
            ``Gate(size=size)``, with the rules that are given here.
        size: ``(H, W)`` of the grid in pixels; None: that of the tower or the gate, or 378 x 378.
        fps: the rate of frames that have no times, which then begin at 0 s. None: all frames have
            times.
        rules: the gate's rules, such as ``threshold`` (see ``Gate``), if no gate is given.

    Raises:
        TypeError, ValueError: the tower is not gated; the gate does not fit it; there are rules and
            a gate; a rule or the rate is out of its range.
    """

    @spelled(GateSettings, leave_out=GEOMETRY)
    def __init__(
        self,
        tower: GatedTower | None = None,
        gate: Gate | None = None,
        size: int | tuple[int, int] | None = None,
        fps: float | None = None,
        **rules: Unpack[GateRules],
    ) -> None:
        own, _ = parted("Tokenizer", rules, gate, GateRules)
        if gate is not None and isinstance(gate, Gate) and type(gate) is not Gate:
            raise TypeError(
                f"gate: expected a patchgate.Gate itself, got {type(gate).__name__}, which has "
                "more state than its settings; give such a gate to tokenize"
            )
        self._tower, self._gate = tower, fitting_gate(tower, gate, size, own)
        self._fps = checked_rate(fps)
        self._calls = Calls("Tokenizer")
        self._now = _Now(Clock())

    @property
    def frames(self) -> int:
        """The number of frames (or tubelets) of which tokens were returned."""
        self._calls.settle()
        return 0 if self._now.chunker is None else self._now.chunker.frames

    @property
    def gate(self) -> Gate | None:
        """The gate at work, whose threshold may be set; None before the first frames."""
        return None if self._now.chunker is None else self._now.chunker.gate

    def __repr__(self) -> str:
        tower = "" if self._tower is None else f"{type(self._tower.tower).__name__}, "
        rate = "" if self._fps is None else f"fps={self._fps:g}, "
        return f"Tokenizer({tower}{rate}{self._gate}, {self.frames} frames so far)"

    def push(self, frames: Any) -> TokenChunk:
        """Makes the tokens of the next frames. Synchronises.

        Args:
            frames: RGB pictures ``[T, H, W, 3]`` or ``[T, 3, H, W]`` uint8 of numpy or torch, or
                one picture; a ``FrameBatch`` (OpenCV's pictures become one by
                ``FrameBatch.from_bgr``); frames of PyAV, torchcodec or PIL; or an iterable of
                these. A frame whose duration is not known lasts as long as the time since the one
                before it.

        Returns:
            A ``TokenChunk``: the tokens that these frames emitted, and for each cell of each frame
            the token that explains it. Tokens and frames are numbered from the first push. The
            features are on the device of the tower or, without one, of the frames; all else is on
            the CPU. With ``temporal_patch=2`` an odd frame waits for its partner, so that a chunk
            may have T = 0. It is no ``VideoTokens``, which hold every token that they name: a push
            names tokens of earlier pushes without having them. ``joined`` makes ``VideoTokens``.

        Raises:
            TypeError, ValueError: these are no pictures; they have neither times nor a rate; times
                fall; the size is another one than before, and the tower does not resize.
            TokenIdsUsedUp: a ``ValueError``: there may be more tokens than int32 has numbers.
                ``reset`` it; the next frame is then whole, and its tokens count from 0.
            RuntimeError: another thread is in a call.
        """
        return self._calls.run(self._mark, lambda: self._pushed(frames))

    def flush(self) -> TokenChunk:
        """Makes the tokens of a frame that waits for its partner, as if it came twice.

        If no frame waits, the chunk has T = 0. Later pushes go on.

        Raises:
            ValueError: nothing was pushed since the last reset.
        """
        return self._calls.run(self._mark, self._flushed)

    def reset(self) -> None:
        """Forgets all frames: the next one is the first of another video."""
        self._calls.run(self._mark, lambda: self._become(_Now(Clock())))

    def joined(self, chunks: Sequence[TokenChunk]) -> VideoTokens:
        """Joins the chunks of all pushes since the first one, as ``tokenize`` does.

        It needs memory for all tokens and 11 bytes per cell and frame.

        Raises:
            TypeError: they are no chunks.
            ValueError: a chunk is missing, or they are not in their order.
        """
        return self._calls.run(lambda: lambda: None, lambda: self._joined(chunks))

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the state as tensors by name, so that another tokenizer can go on with it.

        Returns:
            Copies of the gate's state (``gate.*``), of what the tower remembers, of a frame that
            waits (``held.*``), of the clock, and of what the state belongs to; and a checksum
            (``digest``). ``torch.save`` and ``safetensors.torch.save_file`` can write it. The call
            synchronises.

        Raises:
            RuntimeError: another thread is in a call.
        """
        return self._calls.run(lambda: lambda: None, self._state)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copies the state of another tokenizer, and goes on with it. Synchronises.

        Args:
            state: the result of ``state_dict``, on any device.

        Raises:
            ValueError: it is no such state, or its parts contradict each other or have changed
                since, or it belongs to another tower (weights or dtype), other rules or another
                rate. The tokenizer is left as it was.
            RuntimeError: another thread is in a call.
        """
        self._calls.run(self._mark, lambda: self._load(state))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the state of ``state_dict`` to a safetensors file. Synchronises.

        It is written beside its place and moved there when it is complete.

        Raises:
            OSError: it cannot be written there; an older file is unchanged.
            ValueError: the path exists and is not a file.
        """
        saved.write(path, self.state_dict(), {"format": saved_tokenizer.FORMAT})

    def restore(self, path: str | PathLike[str]) -> None:
        """Reads a state that ``save`` wrote, and goes on with it. Synchronises.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it has no state, or one that ``load_state_dict`` refuses. The tokenizer is
                left as it was.
        """
        state, _ = saved.read(path)
        try:
            self.load_state_dict(state)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    # The work of calls. ``_calls`` undoes it if a call fails.

    def _mark(self) -> Undo:
        now = self._now
        undo = None if now.chunker is None else now.chunker.mark()
        held = None if now.tubelets is None else now.tubelets.held

        def back() -> None:
            if undo is not None:
                undo()
            if now.tubelets is not None:
                now.tubelets.held = held
            self._now = now

        return back

    def _become(self, now: _Now) -> None:
        self._now = now

    @torch.no_grad()
    def _pushed(self, frames: Any) -> TokenChunk:
        return alone(self._pushing(frames))

    def _pushing(self, frames: Any) -> Steps[TokenChunk]:
        done = []
        for batch in batches_of(frames):
            timed, clock = self._now.clock.timed(batch, self._fps)
            chunker, tubelets = self._opened(timed)
            for whole in tubelets.push(timed):
                done.append((yield from chunker.steps(whole)))
            self._become(self._now._replace(clock=clock))
        return self._whole("push", done)

    def _opened(self, batch: FrameBatch) -> tuple[Chunker, Tubelets]:
        """Returns the stages, which are made for the first frames and follow their device."""
        now = self._now
        if now.chunker is None or now.tubelets is None:
            chunker = self._stages(batch)
            tubelets = Tubelets(self._gate.settings.temporal_patch)
            self._become(_Now(now.clock, chunker, tubelets, batch.colour.matrix))
            return chunker, tubelets
        now.chunker.follow(batch.device)  # a state that was loaded may be on another
        if now.tubelets.held is not None:
            now.tubelets.held = now.tubelets.held.to(batch.device)
        return now.chunker, now.tubelets

    def _stages(self, batch: FrameBatch) -> Chunker:
        """Makes the stages for frames like these."""
        return Chunker(*prepared(batch, self._tower, self._gate.fresh()))

    def _flushed(self) -> TokenChunk:
        chunker, tubelets = self._now.chunker, self._now.tubelets
        if chunker is None or tubelets is None:
            raise ValueError("flush: nothing was pushed since the tokenizer was made or reset")
        return self._whole("flush", [chunker.push(whole) for whole in tubelets.flush()])

    def _whole(self, caller: str, chunks: list[TokenChunk]) -> TokenChunk:
        """Joins the chunks of a call."""
        return chunks[0] if len(chunks) == 1 else joined([self._empty(caller), *chunks])

    def _empty(self, caller: str) -> TokenChunk:
        chunker = self._now.chunker
        if chunker is not None:
            return empty_chunk(chunker.gate, chunker.features)
        if self._tower is None:
            return empty_chunk(self._gate)
        raise ValueError(f"{caller}: expected frames, got none")

    def _joined(self, chunks: Sequence[TokenChunk]) -> VideoTokens:
        own = self._tower is None
        layout = layout_of(self._gate, self._now.matrix) if own else None
        grid = None if own else grid_of(self._gate)
        return checked_whole(chunks, self._empty("joined"), layout, grid)

    def _state(self) -> dict[str, Tensor]:
        now = self._now
        held = None if now.tubelets is None else now.tubelets.held
        part = saved_tokenizer.Part(now.clock, now.chunker, held, now.matrix)
        return saved_tokenizer.state_of(part, self._tower, self._gate, self._fps)

    def _load(self, state: Mapping[str, Tensor]) -> None:
        part = saved_tokenizer.loaded(state, self._tower, self._gate, self._fps)
        chunker = part.chunker
        if chunker is None and part.held is not None:  # half of the first tubelet
            chunker = self._stages(part.held)
        if chunker is None:
            self._become(_Now(part.clock))
            return
        tubelets = Tubelets(self._gate.settings.temporal_patch, part.held)
        self._become(_Now(part.clock, chunker, tubelets, part.matrix))
