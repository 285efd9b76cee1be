"""Merging a video that is still coming: a window of frames at a time."""

from typing import Any

from torch import Tensor

from patchgate.merge.budget import seconds
from patchgate.merge.merger import Merger
from patchgate.merge.scenes import Head
from patchgate.merge.settings import MergeSettings
from patchgate.merge.window import concatenated
from patchgate.pipeline import TokenChunk

_OF_TOKENS = ("features", "frame", "cell")  # of a chunk; the rest is of frames


class MergeStream:
    """``merge`` for a video that is still coming: ``window`` frames at a time.

    A window's tokens join each other or, unchanged, tokens that were handed out before: what the
    last frame showed, and what the last ``memory`` scenes showed last. What comes out does not
    depend on how the frames were cut into chunks. With a budget ``per="second"`` a window holds as
    many whole seconds as it has room for, and the frame after it must have come. Memory: a window's
    frames and tokens, ``memory + 2`` pictures' worth of tokens, and 8 bytes for every token that
    ever came in.

    A call that fails leaves the stream as it was before it: what its chunk should have been may be
    pushed, or the stream flushed.

    Args:
        head: as for ``scenes``.
        settings: those of ``merge``; ``window`` is needed.

    Raises:
        ValueError, TypeError: as ``merge``.
    """

    def __init__(self, head: Head | None = None, **settings: Any) -> None:
        wanted = MergeSettings(**settings)
        if wanted.window is None:
            raise ValueError("window: expected a number of frames, got None")
        self._settings, self._merger = wanted, Merger(wanted, head)
        self._waiting: TokenChunk | None = None
        self._origin: float | None = None  # seconds: the first frame's time

    def push(self, chunk: TokenChunk) -> list[TokenChunk]:
        """The next frames. Returns the windows that are done, with new token numbers.

        Raises:
            TypeError: no TokenChunk.
            ValueError: frames that do not follow those before; features that are not finite; a
                budget below what the links allow.
        """
        self._check(chunk)
        waiting = chunk if self._waiting is None else joined([self._waiting, chunk])
        if not len(waiting.kind):
            return []
        origin = float(waiting.pts_seconds[0]) if self._origin is None else self._origin
        merger, done = self._merger.copy(), []
        while frames := ready(waiting.pts_seconds, origin, self._settings):
            first, waiting = split(waiting, frames, merger.frames)
            done.append(merger.merge(first))
        self._merger, self._waiting, self._origin = merger, waiting, origin
        return done

    def _check(self, chunk: TokenChunk) -> None:
        if not isinstance(chunk, TokenChunk):
            raise TypeError(f"chunk: expected a TokenChunk, got {type(chunk).__name__}")
        begin = self._merger.frames + (0 if self._waiting is None else len(self._waiting.kind))
        end = begin + len(chunk.kind)
        stray = chunk.frame[(chunk.frame < begin) | (chunk.frame >= end)]
        if len(stray):
            raise ValueError(
                f"chunk: expected tokens of frames {begin}..{end - 1}, counted from the video's "
                f"start, got one of frame {int(stray[0])}"
            )

    def flush(self) -> list[TokenChunk]:
        """The frames that still wait: the video ends here.

        Raises:
            ValueError: as ``push``, of these frames.
        """
        if self._waiting is None or not len(self._waiting.kind):
            return []
        merger = self._merger.copy()
        done = [merger.merge(self._waiting)]
        self._merger, self._waiting = merger, None
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


def joined(chunks: list[TokenChunk]) -> TokenChunk:
    """Consecutive chunks as one."""
    return TokenChunk(*map(concatenated, zip(*chunks, strict=True)))


def split(chunk: TokenChunk, frames: int, before: int = 0) -> tuple[TokenChunk, TokenChunk]:
    """The first so many frames, and the others. Nothing is copied.

    Args:
        before: frames of the video before the chunk.
    """
    # Not all tokens are of kept cells: a tower with a tolerance computes others anew.
    tokens = int((chunk.frame < before + frames).sum())
    ends = [tokens if name in _OF_TOKENS else frames for name in TokenChunk._fields]
    first = (part[:end] for part, end in zip(chunk, ends, strict=True))
    others = (part[end:] for part, end in zip(chunk, ends, strict=True))
    return TokenChunk(*first), TokenChunk(*others)
