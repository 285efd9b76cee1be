"""Blocks of a picture at places between its pixels: what the gate predicts, and a receiver shows.

Letters: H W pixels, n blocks, p their side.
"""

import torch
from torch import Tensor

from patchgate._tensors import arange

QUARTERS = 4  # of a pixel: the finest precision
BEFORE, AFTER = 2, 3  # samples beside a place that the filter takes in


def blocks_between(planes: Tensor, at: Tensor, side: int, precision: int) -> Tensor:
    """Blocks whose top left pixel lies at fractions of a pixel. Does not synchronise.

    Halves by the six taps (1, -5, 20, 20, -5, 1) / 32 of H.264 (ITU-T H.264, 8.4.2.2.1), quarters
    the rounded mean of the two nearest; rows first, then columns, each rounded to 8 bits (H.264
    rounds diagonal ones otherwise). Beyond its edges the picture repeats its last pixel.

    Args:
        planes: ``[..., H, W]`` uint8.
        at: ``[n, 2]`` int64, (y, x) in 1 / ``precision`` pixels; the blocks lie inside the picture.
        side: of the blocks, in pixels.
        precision: 1, 2 or 4 steps of a pixel.

    Returns:
        ``[n, ..., p, p]`` uint8.
    """
    quarters = at * (QUARTERS // precision)
    whole, part = quarters // QUARTERS, quarters % QUARTERS  # [n, 2] each
    margins = (0, 0) if precision == 1 else (BEFORE, AFTER)
    span = arange(-margins[0], side + margins[1], device=planes.device)
    rows, columns = ((whole[:, i, None] + span).clamp(0, planes.shape[i - 2] - 1) for i in (0, 1))
    wide = planes[..., rows[:, :, None], columns[:, None]].movedim(-3, 0)  # [n, ..., p+5, p+5]
    if precision == 1:
        return wide
    down = _between(wide, part[:, 0], -2)  # [n, ..., p, p+5]
    return _between(down, part[:, 1], -1)


def _between(values: Tensor, part: Tensor, dim: int) -> Tensor:
    """``values`` moved on by ``part [n]`` quarters along a dimension, which loses its ends."""
    wide = values.short()
    side = values.shape[dim] - BEFORE - AFTER
    a, b, here, there, e, f = (wide.narrow(dim, k, side) for k in range(6))
    half = ((20 * (here + there) - 5 * (b + e) + (a + f) + 16) >> 5).clamp(0, 255)
    choices = (here, (here + half + 1) >> 1, half, (half + there + 1) >> 1)
    part = part.view(-1, *[1] * (values.dim() - 1))
    found = choices[0]
    for quarter, choice in enumerate(choices[1:], 1):
        found = torch.where(part == quarter, choice, found)
    return found.to(torch.uint8)
