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

    A window's tokens join each other or, unchanged, tokens that were handed out before: what the
    last frame showed, and what the last ``memory`` scenes showed last. What comes out does not
    depend on how the frames were cut into chunks. With a budget ``per="second"`` a window holds as
    many whole seconds as it has room for, and the frame after it must have come. Neither the time
    of a push nor the memory grows with the video, if ``push`` is told which older tokens can still
    be named: a window's frames and tokens, ``memory + 2`` pictures' worth of tokens, and 8 bytes
    for each of those that can be named. If it is not told, any can, and it is 8 bytes for every
    token that ever came in (24 with ``keep_grid``).

    A call that fails, out of memory and interrupts included, leaves the stream as it was before it:
    what its chunk should have been may be pushed, or the stream flushed. One thread at a time: a
    call from a second one raises a ``RuntimeError``. Every chunk is looked at when it comes, so
    that none that waits is wrong in itself. That a budget is below what the links allow is found
    only when its window is whole, and frames to come do not mend it: ``relax`` does.

    ``state_dict`` has all of that, so that another stream, perhaps in another process, goes on with
    it: what it hands out is bit for bit what this one would have.

    Args:
        head: as for ``scenes``.
        settings: those of ``merge``; ``window`` is needed.

    Raises:
        ValueError, TypeError: as ``merge``.
    """

    @spelled(MergeSettings)
    def __init__(self, head: Head | None = None, **settings: Unpack[MergeKwargs]) -> None:
        wanted = MergeSettings.of(settings)
        if wanted.window is None:
            raise ValueError("window: expected a number of frames, got None")
        self._calls = Calls("MergeStream")
        self._now = Now.fresh(wanted, head)

    def push(self, chunk: TokenChunk, names: Tensor | None = None) -> list[TokenChunk]:
        """The next frames. Returns the windows that are done, with new token numbers.

        Frames and tokens are counted from the video's start. What waits is kept as it came, not
        copied: do not write to it. Synchronises with the features' device.

        Args:
            chunk: of any number of frames.
            names: int32 or int64, of any shape: the tokens so far that chunks after this one may
                name, beside those of its last frame. ``gate.picture_ids`` of the gate that the
                chunk comes from, right after it. All others are forgotten. None: any may be named.

        Raises:
            TypeError: no TokenChunk; a field of it that is no tensor, or of a dtype (of features:
                or device) unlike that of those before.
            ValueError: names of tokens that did not come, or that were forgotten; a source that
                was; a field whose shape does not go with the others, or, of features and source,
                with those before; frames that do not follow those before, tokens that are not in
                their order; cells outside the grid; a source that is no token of its frame or an
                earlier one; what ``merge`` refuses of features, times and kept grids; a budget
                below what the links allow; a push after the end.
            RuntimeError: another thread is in a call of this stream.
        """
        return self._calls.run(self._mark, lambda: self._pushed(chunk, names))

    @spelled(RelaxKwargs)
    def relax(self, **settings: Unpack[RelaxKwargs]) -> None:
        """Asks for less from here on: for a budget that the frames that wait cannot meet.

        What was handed out stays; a push that failed may then be tried again.

        Args:
            settings: what that error names (``spatial=True``, ``similar=True``,
                ``keep_grid=False``, ``delta=None``, ``every_frame=False``), or a higher ``budget``
                or ``ratio``.

        Raises:
            TypeError, ValueError: any other, or a lower one.
        """
        self._calls.run(self._mark, lambda: self._relaxed(settings))

    def flush(self) -> list[TokenChunk]:
        """The frames that still wait: the video ends here, and nothing may be pushed after it.

        Raises:
            ValueError: these frames have a budget below what the links allow. They still wait: see
                ``relax``.
        """
        return self._calls.run(self._mark, self._flushed)

    def state_dict(self) -> dict[str, Tensor]:
        """What the stream remembers, as tensors by name; so that another one can go on with it.

        Returns:
            Copies, the features on their device, all else on the CPU: chunks that wait
            (``waiting.*``), tokens that were handed out and may still be joined (``carried.*``),
            scenes (``scenes.*``), what is known of every token that can still be named
            (``titles.*``, ``cells.*``), ``counts``, ``clock``, the ``settings`` as text in uint8,
            and a sum over all numbers (``digest``). ``torch.save`` and
            ``safetensors.torch.save_file`` take it as it is. A ``head`` is not in it, only whether
            there was one. Synchronises.

        Raises:
            RuntimeError: another thread is in a call of this stream.
        """
        return self._calls.run(self._mark, lambda: merge_state.state_of(self._now))

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Goes on with a copy of what another stream remembered. Synchronises.

        Args:
            state: what ``state_dict`` gave. The features stay on the device on which they come:
                chunks to come must be there, too. A ``head`` is this stream's own, and must be the
                one that the other stream had.

        Raises:
            ValueError: it is none, or its parts contradict each other (see ``state_check``), or are
                not those that were saved; that of a stream of other settings, or with a head where
                this one has none. The stream is left as it was.
            RuntimeError: another thread is in a call of this stream.
        """
        self._calls.run(self._mark, lambda: self._load(state))

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the state to a safetensors file: ``state_dict`` as a file.

        It is written beside its place and moved there when it is whole.

        Raises:
            OSError: it cannot be written there; an older file stands as it was.
            ValueError: the path is something else than a file.
        """
        saved.write(path, self.state_dict(), _FORMAT)

    def restore(self, path: str | PathLike[str], device: torch.device | str = "cpu") -> None:
        """Goes on where a saved stream stopped: ``load_state_dict`` from a file.

        Args:
            device: where the features of chunks to come are.

        Raises:
            FileNotFoundError: no such file.
            ValueError: it holds no state, or as ``load_state_dict``. The stream is left as it was.
        """
        state, told = saved.read(path)
        if told != _FORMAT:
            raise ValueError(f"{path}: expected {_FORMAT['format']}, got {told.get('format')!r}")
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
