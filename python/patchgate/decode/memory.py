"""Tells a lack of memory from damage, which FFmpeg's errors do not."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

from .ffmpeg import av

_LARGE = 1 << 30  # bytes: more than FFmpeg allocates at once for any picture that it decodes
_SMALL = 32 << 20  # bytes: if less is free, a lack of memory may be the cause of any error


def check_memory(error: av.FFmpegError, name: str) -> None:
    """Raises a ``MemoryError`` if FFmpeg failed for a lack of memory.

    Damaged sizes can make it ask for more memory than any machine has. If there is memory left, the
    error counts as damage.
    """
    if _is_free(_LARGE if isinstance(error, MemoryError) else _SMALL):
        return
    raise MemoryError(
        f"{name}: not enough memory to decode it; free some, or take a smaller chunk= or threads=1"
    ) from error


@contextmanager
def room_for(frames: int, size: int) -> Iterator[None]:
    """Raises a ``MemoryError`` that says what to do if there is no memory for so many frames.

    A frame has ``size`` bytes. torch itself raises a ``RuntimeError`` for a lack of memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise MemoryError(
            f"not enough memory for {frames:,} frame(s) of {size:,} bytes; free some, or take a "
            "smaller chunk="
        ) from error


def _is_free(size: int) -> bool:
    """Whether this process could allocate so many bytes now. It does not use them."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
