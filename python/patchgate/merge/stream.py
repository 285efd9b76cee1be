"""Merging a video that is still coming: a window of frames at a time."""

from typing import Any

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
    depend on how the frames were cut into chunks. Memory: a window's frames and tokens, ``memory +
    2`` pictures' worth of tokens, and 8 bytes for every token that ever came in.

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
        self._width, self._merger = wanted.window, Merger(wanted, head)
        self._waiting: TokenChunk | None = None

    def push(self, chunk: TokenChunk) -> list[TokenChunk]:
        """The next frames. Returns the windows that are done, with new token numbers.

        Raises:
            TypeError: no TokenChunk.
            ValueError: frames that do not follow those before; features that are not finite; a
                budget below what the links allow. The stream cannot go on after that.
        """
        self._check(chunk)
        waiting = chunk if self._waiting is None else joined([self._waiting, chunk])
        done = []
        while len(waiting.kind) >= self._width:
            first, waiting = split(waiting, self._width, self._merger.frames)
            done.append(self._merger.merge(first))
        self._waiting = waiting
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
        """The frames that still wait: the video ends here."""
        waiting, self._waiting = self._waiting, None
        return [self._merger.merge(waiting)] if waiting is not None and len(waiting.kind) else []


def windows(chunk: TokenChunk, width: int | None) -> list[TokenChunk]:
    """The frames of a video, so many at a time; None: all at once."""
    found: list[TokenChunk] = []
    while width is not None and len(chunk.kind) > width:
        first, chunk = split(chunk, width, len(found) * width)
        found.append(first)
    return [*found, chunk]


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
