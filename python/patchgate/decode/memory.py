"""Whether there is memory left: FFmpeg's errors do not tell a lack of it from damage."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager

from .ffmpeg import av

_LARGE = 1 << 30  # bytes: more than what FFmpeg asks for at once for any picture that it decodes
_SMALL = 32 << 20  # with less than this left, any error may be for want of memory


def check_memory(error: av.FFmpegError, name: str) -> None:
    """MemoryError where FFmpeg failed for want of memory.

    Damaged sizes make it ask for more than there could be: that is damage, if there is memory.
    """
    if _is_free(_LARGE if isinstance(error, MemoryError) else _SMALL):
        return
    raise MemoryError(
        f"{name}: not enough memory to decode it; free some, or take a smaller chunk= or threads=1"
    ) from error


@contextmanager
def room_for(frames: int, size: int) -> Iterator[None]:
    """MemoryError, in words that say what to do, where there is no room for so many frames of so
    many bytes. Torch calls a lack of memory a RuntimeError."""
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
    """Whether this process may have so many more bytes now. Touches none."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
