"""Made-up videos that ask more of a gate: a fade, a window that returns, a pan by fractions.

All are uint8 ``[T, 3, H, W]``, Y Cb Cr, from a seed.
"""

import torch
from gate_videos import drift, texture
from torch import Tensor

H, W, T = 64, 96, 20
CELL = 16


def dimming(planes: Tensor) -> Tensor:
    """The lights go down to half over the video: luma and chroma, as a lens cap would."""
    light = torch.linspace(1, 0.5, len(planes)).view(-1, 1, 1, 1)
    centre = torch.tensor([0, 128, 128]).view(1, 3, 1, 1)
    return ((planes - centre) * light + centre).round().to(torch.uint8)


def returning(planes: Tensor) -> Tensor:
    """A window of two by three cells that opens, closes and opens again."""
    planes = planes.clone()
    window = texture((2 * CELL, 3 * CELL), 5, 3)
    for t in (*range(4, 8), *range(12, 16)):
        planes[t, :, CELL : 3 * CELL, CELL : 4 * CELL] = window
    return planes


def panning(quarters: tuple[int, int] = (2, 1)) -> Tensor:
    """A camera over a smooth page, by some quarters of a pixel a frame."""
    return drift((H, W), T, quarters, 3, c=3)
