"""Uniform sampling: every frame's patches a fixed number of times a second, nothing between.

What video language models do (1 or 2 frames a second by default); the last sampled frame is what
is known until the next one.
"""

import torch

from peers.choice import Choice


def sampled_frames(frames: int, fps: int, rate: int, phase: int, phases: int) -> list[int]:
    """The first frame at or after each of the times ``(k + phase / phases) / rate`` seconds.

    Frame 0 stands in for the sample before the clip began, so that every phase knows something
    from the start; it is counted like any other.
    """
    if not 1 <= rate <= fps:
        raise ValueError(f"rate: expected 1..{fps} frames a second, got {rate}")
    step = rate * phases
    times = range(phase * fps, frames * step, fps * phases)  # in 1 / (fps * step) seconds
    return sorted({0, *(-(-time // step) for time in times if -(-time // step) < frames)})


def choose(
    shape: tuple[int, int, int], fps: int, rate: int, phase: int = 0, phases: int = 1
) -> Choice:
    """Those frames of a clip ``(T, h, w)`` whole, nothing of the others."""
    keep = torch.zeros(shape, dtype=torch.bool)
    keep[sampled_frames(shape[0], fps, rate, phase, phases)] = True
    return Choice.of(keep)
