"""Encodes the kept cells of a video that the gate has seen, on any tower of Qwen's families.

Letters: T tubelets, N cells of a frame, m merge side, G cells whose pixels the tower takes,
K kept cells, C channels, f frames of a tubelet, P patch side, E features of a token.
"""

from typing import Any

from torch import Tensor

from patchgate.encoders.run.session import Session
from patchgate.serving.gating import Cells
from patchgate.serving.settings import ServingSettings


def encode_video(
    family: Any,
    rows: Tensor,
    cells: Tensor,
    source: Tensor,
    grid_thw: tuple[int, int, int],
    settings: ServingSettings,
    turns: Tensor | None = None,
) -> Tensor:
    """Encodes a video as a clip of its own. It synchronises.

    Args:
        family: the tower, not yet of a size.
        rows: ``[G * m * m, C * f * P * P]``, the tower's input, on its device.
        cells: ``[T * N]`` uint8, ``GatedVideo.cells``.
        source: ``[T * N]`` int32, ``GatedVideo.source``.
        grid_thw: tubelets, and patches down and across.
        settings: the server's.
        turns: ``[T]`` int32, ``GatedVideo.turns``.

    Returns:
        ``[K, E]`` in order of frame and cell: the tower's output and, of Qwen3-VL, that of each
        tapped layer behind it.
    """
    tubelets, height, width = grid_thw
    side, device = settings.geometry.patch, rows.device
    tower = family.sized(height * side, width * side)
    found = Cells.of(cells.to(device), source.to(device), tubelets, turns)
    kept = found.with_rows(rows, settings.fidelity.context)
    features: Tensor = Session(settings.fidelity).encode(tower, kept, [], None, False).kept
    return features
