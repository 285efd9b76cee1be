"""Whether there is memory left: FFmpeg's errors do not tell a lack of it from damage."""

from __future__ import annotations

import mmap

import av

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


def _is_free(size: int) -> bool:
    """Whether this process may have so many more bytes now. Touches none."""
    try:
        mmap.mmap(-1, size).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True
