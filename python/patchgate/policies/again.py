"""For who looks again: windows of time, and what lies around frames that were picked."""

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
    """At most n of the frames stamped in ``[a, b]`` seconds, evenly; None: all of them.

    Args:
        scale: linear, at least 1: by which frames are made smaller.
        open_ends: without the first and the last frame of the window, which were seen already.
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
    """At most n new frames between some (numbers in the stream) and their neighbours.

    Args:
        seen: what was looked at; its frames are the neighbours. None: those of ``indices``.

    Raises:
        ValueError: a number that is none of the candidates'.
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
