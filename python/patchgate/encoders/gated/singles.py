"""Calls of one frame each: a stream is what is wanted, perhaps."""

import warnings

import torch

_MOST = 4  # so many single frames are pictures, perhaps


def counted_singles(before: int, clips: list[int]) -> int:
    """Counts a tower's last calls of one frame each, and warns once if they are many.

    Such calls save nothing.

    Args:
        before: the count so far.
        clips: the number of frames of each clip of this call.
    """
    if before > _MOST or torch.compiler.is_compiling():
        return before
    count = before + 1 if clips == [1] else 0
    if count > _MOST:
        warnings.warn(
            f"the last {count} calls of this gated tower had one frame each: a call is a clip of "
            "its own, so that no frame was compared with another and each was computed whole. If "
            "they are frames of one video, give them in one call, or keep a stream: "
            "stream = tower.stream(), and stream(frame) for each",
            stacklevel=2,
        )
    return count
