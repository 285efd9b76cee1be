"""Merging a video that is still coming: a window of frames at a time."""

from dataclasses import replace
from typing import Unpack

import torch
from torch import Tensor

from patchgate._signature import spelled
from patchgate.merging.budget import seconds
from patchgate.merging.checks import Before
from patchgate.merging.ledger import checked_names
from patchgate.merging.merger import Merger
from patchgate.merging.scenes import Head
from patchgate.merging.settings import MergeKwargs, MergeSettings, RelaxKwargs
from patchgate.tokens import TokenChunk
from patchgate.tokens.chunk import joined, split


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

    A call that fails leaves the stream as it was before it: what its chunk should have been may be
    pushed, or the stream flushed. Every chunk is looked at when it comes, so that none that waits
    is wrong in itself. That a budget is below what the links allow is found only when its window
    is whole, and frames to come do not mend it: ``relax`` does.

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
        self._settings, self._merger = wanted, Merger(wanted, head)
        self._before = Before(wanted, "chunk")
        self._waiting: list[TokenChunk] = []
        self._origin: float | None = None  # seconds: the first frame's time
        self._ended = False

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
        """
        if not isinstance(chunk, TokenChunk):
            raise TypeError(f"chunk: expected a TokenChunk, got {type(chunk).__name__}")
        if self._ended:
            raise ValueError("push: flush() has ended this video; a new MergeStream takes another")
        tokens = self._before.tokens + len(chunk.frame) if isinstance(chunk.frame, Tensor) else 0
        names = checked_names(names, tokens)
        before = self._before.then(chunk, names)
        merger, done = self._merger.copy(), []
        waiting = [*self._waiting, chunk] if len(chunk.kind) else self._waiting
        origin = self._origin
        if origin is None and len(chunk.kind):
            origin = float(chunk.pts_seconds[0])
        assert self._settings.window is not None
        if origin is not None and sum(len(c.kind) for c in waiting) >= self._settings.window:
            rest = joined(waiting)
            while frames := ready(rest.pts_seconds, origin, self._settings):
                first, rest = split(rest, frames, merger.frames)
                done.append(merger.merge(first))
            waiting = [rest] if len(rest.kind) else []
        if names is not None:
            merger.forget_but(torch.cat([names, *(c.source.flatten() for c in waiting)]))
        self._before, self._merger = before, merger
        self._waiting, self._origin = waiting, origin
        return done

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
        self._settings = self._settings.relaxed(settings)
        self._merger.relax(self._settings)
        self._before = replace(self._before, settings=self._settings)

    def flush(self) -> list[TokenChunk]:
        """The frames that still wait: the video ends here, and nothing may be pushed after it.

        Raises:
            ValueError: these frames have a budget below what the links allow. They still wait: see
                ``relax``.
        """
        merger, done = self._merger.copy(), []
        if sum(len(chunk.kind) for chunk in self._waiting):
            done.append(merger.merge(joined(self._waiting)))
        self._merger, self._waiting, self._ended = merger, [], True
        return done


def ready(pts_seconds: Tensor, origin: float, settings: MergeSettings) -> int:
    """How many of the frames that wait are a window, whatever comes after them; 0: more must come.

    Two windows that share a second share its budget. The first cannot know what the second will
    need: it may use all of it up. So none is cut in two that fits into a window.

    Args:
        pts_seconds: ``[T]`` float64. origin: from which seconds are counted.
    """
    width, frames = settings.window, len(pts_seconds)
    if width is None or frames < width:
        return 0
    if settings.per != "second":
        return width
    if frames == width:
        return 0  # the next frame tells whether a second ends here
    ends = seconds(pts_seconds[: width + 1], origin).diff().nonzero().flatten() + 1
    return int(ends[-1]) if len(ends) else width


def windows(chunk: TokenChunk, settings: MergeSettings) -> list[TokenChunk]:
    """The frames of a video, some at a time."""
    found: list[TokenChunk] = []
    origin, before = float(chunk.pts_seconds[0]), 0
    while frames := ready(chunk.pts_seconds, origin, settings):
        first, chunk = split(chunk, frames, before)
        before += frames
        found.append(first)
    return [*found, chunk] if len(chunk.kind) else found
