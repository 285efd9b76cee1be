"""Which cells a tower computes from their own pixels. It may pass whole frames over.

Letters: T frames, N cells.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.gate import CHANGED, MOVED


class Waiting(NamedTuple):
    """What a stream's next frame inherits from those that the tower passed over."""

    seen: int = 0  # the number of frames so far
    cells: Tensor | None = None  # [N] bool: changed or moved since the last computed frame
    frames: int = 0  # the number that were passed over since then


def computed_cells(fidelity: Fidelity, kind: Tensor, waiting: Waiting) -> tuple[Tensor, Waiting]:
    """Returns which cells enter a tower with their own pixels, ``[T, N]`` bool.

    With ``fidelity.pass_over=(share, most)``, a frame is passed over while at most this share of
    the cells changed or moved since the last frame that was computed, and at most ``most`` frames
    in a row. All of these cells enter with the next frame that is computed. Synchronises then.

    Args:
        fidelity: the settings.
        kind: ``[T, N]`` uint8, what the gate calls each cell.
        waiting: what the frames before these left.

    Returns:
        The cells, and what these frames leave.
    """
    cells = kind == CHANGED
    if fidelity.owns:
        cells = refreshed(cells | (kind == MOVED), fidelity.refresh, waiting.seen)
    seen = waiting.seen + len(kind)
    if fidelity.pass_over is None:
        return cells, Waiting(seen)
    (share, most), enter = fidelity.pass_over, torch.zeros_like(cells)
    since, passed = waiting.cells, waiting.frames
    for t, own in enumerate(cells):
        since = own if since is None else since | own
        count = int(since.sum())
        if waiting.seen + t and count <= share * cells.shape[1] and passed < most:
            passed += count > 0
            continue
        enter[t], since, passed = since, None, 0
    return enter, Waiting(seen, since, passed)


def refreshed(cells: Tensor, refresh: int | None, before: int) -> Tensor:
    """Returns the cells, and all cells of every n-th frame, ``[T, N]`` bool.

    Args:
        cells: ``[T, N]`` bool.
        refresh: n; None: no frame.
        before: the number of frames of the stream so far.
    """
    if refresh is None:
        return cells
    frame = arange(len(cells), device=cells.device) + before
    return cells | (frame % refresh == 0)[:, None]
