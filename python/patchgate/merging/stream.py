"""Merging a video that is still coming: a window of frames at a time."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Unpack

import torch
from torch import Tensor

from patchgate._signature import spelled
from patchgate.gate import saved
from patchgate.gate.calls import Calls, Undo
from patchgate.merging import state as merge_state
from patchgate.merging.cutting import ready
from patchgate.merging.ledger import checked_names
from patchgate.merging.now import Now
from patchgate.merging.scenes import Head
from patchgate.merging.settings import MergeKwargs, MergeSettings, RelaxKwargs
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import joined, split

_FORMAT = {"format": "patchgate.MergeStream/1"}


class MergeStream:
    """``merge`` for a video that is still coming: ``window`` frames at a time.

    A window's tokens join each other, or tokens that were handed out before, which then stay
    unchanged: those that the last frame showed, and those that the last ``memory`` scenes showed
    last. The result does not depend on how the frames were cut into chunks. With a budget
    ``per="second"``, a window has as many whole seconds as it has room for, and is merged when the
    frame after it has come.

    If ``push`` gets the ``names`` of older tokens that can still be named, neither its time nor the
    memory grows with the video. The memory holds a window's frames and tokens, the tokens of
    ``memory + 2`` pictures, and 8 bytes for each token that can be named. Without ``names`` it
    holds 8 bytes for every token that ever came in (24 with ``keep_grid``).

    A call that fails, out of memory and interrupts included, leaves the stream as it was: a
    corrected chunk may be pushed, or the stream flushed. Only one thread may use it at a time: a
    call from a second one raises a ``RuntimeError``. Every chunk is checked when it comes. Whether
    a budget can be met is known only when its window is complete; if it cannot, later frames do not
    change that, but ``relax`` does.

    Another stream, perhaps in another process, can go on with ``state_dict``. It hands out bit for
    bit what this one would have.

    Args:
        head: see ``scenes``.
        settings: those of ``merge``; ``window`` is needed.

    Raises:
        ValueError, TypeError: the settings do not fit, see ``merge``.
    """

    @spelled(MergeSettings)
    def __init__(self, head: Head | None = None, **settings: Unpack[MergeKwargs]) -> None:
        wanted = MergeSettings.of(settings)
        if wanted.window is None:
            raise ValueError("window: expected a number of frames, got None")
        self._calls = Calls("MergeStream")
        self._now = Now.fresh(wanted, head)

    def push(self, chunk: TokenChunk, names: Tensor | None = None) -> list[TokenChunk]:
        """Adds the next frames, and returns the windows that are complete, with new token numbers.

        Frames and tokens are counted from the video's start. Waiting chunks are not copied: do not
        write to them. Synchronises with the features' device.

        Args:
            chunk: any number of frames.
            names: int32 or int64, of any shape: the tokens so far that later chunks may name,
                besides those of this chunk's last frame. These are ``gate.picture_ids`` of the
                chunk's gate, right after it. All others are forgotten. None: later chunks may name
                any token.

        Raises:
            TypeError: it is no TokenChunk, a field is no tensor, or its dtype (or the device of the
                features) differs from that of earlier chunks.
            ValueError: ``names`` has tokens that did not come or were forgotten; a source was
                forgotten, or is not of its frame or an earlier one; shapes of fields do not fit
                each other or earlier chunks; frames do not follow those before; tokens are not in
                the order of their frames; cells lie outside the grid; ``merge`` would refuse the
                features, times or kept grid; the links do not allow to meet the budget; the video
                has ended.
            RuntimeError: another thread is in a call of this stream.
        """
        return self._calls.run(self._mark, lambda: self._pushed(chunk, names))

    @spelled(RelaxKwargs)
    def relax(self, **settings: Unpack[RelaxKwargs]) -> None:
        """Changes settings if waiting frames cannot meet a budget.

        Tokens that were handed out do not change. A push that failed may be tried again.

        Args:
            settings: those that the error names (``spatial=True``, ``similar=True``,
                ``keep_grid=False``, ``delta=None``, ``every_frame=False``), or a higher ``budget``
                or ``ratio``.

        Raises:
            TypeError, ValueError: it is another setting, or a lower value.
        """
        self._calls.run(self._mark, lambda: self._relaxed(settings))

    def flush(self) -> list[TokenChunk]:
        """Ends the video, and returns the frames that still wait. Nothing may be pushed after it.

        Raises:
            ValueError: these frames cannot meet their budget. They still wait: see ``relax``.
        """
        return self._calls.run(self._mark, self._flushed)

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the stream's state as tensors by name, so that another stream can go on with it.

        Returns:
            Copies; the features are on their device, all others on the CPU: waiting chunks
            (``waiting.*``), tokens that were handed out and may still be joined (``carried.*``),
            scenes (``scenes.*``), numbers of the tokens that can still be named (``titles.*``,
            ``cells.*``), ``counts``, ``clock``, the ``settings`` as text in uint8, and a checksum
            (``digest``). ``torch.save`` and ``safetensors.torch.save_file`` can write it. It says
            whether there was a ``head``, but does not have it. The call synchronises.

        Raises:
            RuntimeError: another thread is in a call of this stream.
        """
        return self._calls.run(self._mark, lambda: merge_state.state_of(self._now))

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copies the state of another stream, and goes on with it. Synchronises.

        Args:
            state: the result of ``state_dict``. The features stay on their device, and later chunks
                must be on it, too. This stream needs the same ``head`` as the other one.

        Raises:
            ValueError: it is no such state, or its parts contradict each other (see
                ``state_check``) or have changed since, or it belongs to a stream of other settings,
                or only one of both streams has a head. The stream is left as it was.
            RuntimeError: another thread is in a call of this stream.
        """
        self._calls.run(self._mark, lambda: self._load(state))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the state of ``state_dict`` to a safetensors file. Synchronises.

        It is written beside its place and moved there when it is complete.

        Raises:
            OSError: it cannot be written there; an older file is unchanged.
            ValueError: the path exists and is not a file.
        """
        saved.write(path, self.state_dict(), _FORMAT)

    def restore(self, path: str | PathLike[str], device: torch.device | str = "cpu") -> None:
        """Reads a state that ``save`` wrote, and goes on with it. Synchronises.

        Args:
            path: the file.
            device: the device of the features of later chunks.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it has no state, or one that ``load_state_dict`` refuses. The stream is left
                as it was.
        """
        state, found = saved.read(path)
        if found != _FORMAT:
            raise ValueError(f"{path}: expected {_FORMAT['format']}, got {found.get('format')!r}")
        try:
            self.load_state_dict({name: tensor.to(device) for name, tensor in state.items()})
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    # What a call does, which ``_calls`` undoes if it fails.

    def _mark(self) -> Undo:
        return partial(setattr, self, "_now", self._now)  # never written to

    def _load(self, state: Mapping[str, Tensor]) -> None:
        self._now = merge_state.now_of(state, self._now.settings, self._now.head)

    def _pushed(self, chunk: TokenChunk, names: Tensor | None) -> list[TokenChunk]:
        if not isinstance(chunk, TokenChunk):
            raise TypeError(f"chunk: expected a TokenChunk, got {type(chunk).__name__}")
        now = self._now
        if now.ended:
            raise ValueError("push: flush() has ended this video; a new MergeStream takes another")
        tokens = now.before.tokens + len(chunk.frame) if isinstance(chunk.frame, Tensor) else 0
        names = checked_names(names, tokens)
        before = now.before.then(chunk, names)
        merger, done = now.merger.copy(), []
        waiting = [*now.waiting, chunk] if len(chunk.kind) else now.waiting
        origin = now.origin
        if origin is None and len(chunk.kind):
            origin = float(chunk.pts_seconds[0])
        assert now.settings.window is not None
        if origin is not None and sum(len(c.kind) for c in waiting) >= now.settings.window:
            rest = joined(waiting)
            while frames := ready(rest.pts_seconds, origin, now.settings):
                first, rest = split(rest, frames, merger.frames)
                done.append(merger.merge(first))
            waiting = [rest] if len(rest.kind) else []
        if names is not None:
            merger.forget_but(torch.cat([names, *(c.source.flatten() for c in waiting)]))
        self._now = Now(now.settings, now.head, merger, before, waiting, origin)
        return done

    def _relaxed(self, given: RelaxKwargs) -> None:
        now = self._now
        settings, merger = now.settings.relaxed(given), now.merger.copy()
        merger.relax(settings)
        before = replace(now.before, settings=settings)
        self._now = now._replace(settings=settings, merger=merger, before=before)

    def _flushed(self) -> list[TokenChunk]:
        now = self._now
        merger, done = now.merger.copy(), []
        if sum(len(chunk.kind) for chunk in now.waiting):
            done.append(merger.merge(joined(now.waiting)))
        self._now = now._replace(merger=merger, waiting=[], ended=True)
        return done
