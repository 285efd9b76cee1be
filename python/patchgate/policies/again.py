"""Chooses frames for a second look: in a window of time, or around frames that were picked."""

from collections.abc import Sequence

import torch
from torch import Tensor

from patchgate._tensors import as_given
from patchgate.policies import pool
from patchgate.policies.frames import Frames
from patchgate.policies.plan import Plan


def window(
    frames: Frames,
    a: float,
    b: float,
    n: int | None = None,
    scale: float = 1.0,
    *,
    open_ends: bool = False,
) -> Plan:
    """Chooses at most n frames, evenly, of those with times in ``[a, b]`` seconds; None: all.

    Args:
        scale: the factor by which both sides of frames are made smaller, at least 1.
        open_ends: leave out the first and the last frame of the window, which were seen already.
    """
    return Plan.of(frames, pool.window(frames, a, b, n, open_ends=open_ends), scale)


def around(
    frames: Frames,
    indices: Tensor | Sequence[int],
    n: int,
    scale: float = 1.0,
    *,
    seen: Plan | None = None,
) -> Plan:
    """Chooses at most n new frames between picked frames and their neighbours.

    Args:
        indices: the picked frames, as numbers in the stream.
        scale: the factor by which both sides of frames are made smaller, at least 1.
        seen: the plan that was looked at; its frames are the neighbours. None: the frames of
            ``indices``.

    Raises:
        ValueError: a number is none of the candidates'.
    """
    index = as_given(indices)
    picked = _positions(frames, index if len(index) else index.long())
    known = picked if seen is None else _positions(frames, seen.index)
    return Plan.of(frames, pool.around(frames, picked, known, n), scale)


def _positions(frames: Frames, index: Tensor) -> Tensor:
    if index.is_floating_point():
        raise TypeError(f"expected whole numbers of frames, got {index.dtype}")
    at = torch.searchsorted(frames.number, index).clamp(max=max(len(frames) - 1, 0))
    if len(index) and (not len(frames) or not frames.number[at].equal(index)):
        raise ValueError(f"expected numbers of candidates, got {index.tolist()}")
    return at
