"""The frame grid: every plane resized to one size by a separable filter, in integers."""

import torch
from torch import Tensor

from patchgate._tensors import arange

ONE = 16384  # the sum of the weights of one output: 14 bits


def frame_grid(
    y: Tensor,  # [T, H', W'] u8 or u16
    cb: Tensor,  # [T, H'', W'']
    cr: Tensor,  # [T, H'', W'']
    luma_x: Tensor,  # [W, 1 + taps] int32: first sample or -1, weights
    luma_y: Tensor,  # [H, 1 + taps]
    chroma_x: Tensor,  # [W, 1 + taps]
    chroma_y: Tensor,  # [H, 1 + taps]
    full_range: bool,
    bit_depth: int,
) -> Tensor:  # [T, 3, H, W] u8
    """Resizes Y, Cb and Cr of T frames to one grid, with full range.

    Each sample of the result is a weighted sum of samples of its column and row, in integers: first
    across, then down (a table's first column is the first sample, or -1 for one that lies outside
    of the picture, which is black).

    Args:
        y, cb, cr: uint8, or uint16 of ``bit_depth`` bits.
        luma_x, luma_y, chroma_x, chroma_y: int32 tables; the weights of a row add up to ``ONE``.
        full_range: whether the samples use all levels. Else they are stretched to full range.
        bit_depth: bits of a sample.

    Returns:
        uint8 ``[T, 3, H, W]``.
    """
    luma = _plane(y, luma_x, luma_y, bit_depth)
    chroma = [_plane(plane, chroma_x, chroma_y, bit_depth) for plane in (cb, cr)]
    if not full_range:
        luma = expand_luma(luma)
        chroma = [expand_chroma(plane) for plane in chroma]
    grid = torch.stack([luma, *chroma], dim=1)  # [T, 3, H, W]
    outside = (luma_y[:, 0] < 0)[:, None] | (luma_x[:, 0] < 0)  # [H, W]
    black = grid.new_tensor([0, 128, 128])[:, None, None]
    return torch.where(outside, black, grid).to(torch.uint8)


def to_8bit(values: Tensor, bit_depth: int) -> Tensor:
    """Rounding half up; u16 values in the low bits."""
    if bit_depth == 8:
        return values
    return ((values + (1 << (bit_depth - 9))) >> (bit_depth - 8)).clamp(max=255)


def expand_luma(values: Tensor) -> Tensor:
    """16..235 to 0..255: 255 / 219 in 16 bits, exact rounding half up for all 256 values."""
    return (((values - 16) * 76309 + 32768) >> 16).clamp(0, 255)


def expand_chroma(values: Tensor) -> Tensor:
    """16..240 around 128 to 0..255: 255 / 224 in 16 bits, exact for all 256 values."""
    return ((((values - 128) * 74605 + 32768) >> 16) + 128).clamp(0, 255)


def _plane(plane: Tensor, taps_x: Tensor, taps_y: Tensor, bit_depth: int) -> Tensor:
    values = to_8bit(plane.to(torch.int64), bit_depth)  # [T, H', W']
    rows = _weigh(values, taps_x)  # [T, H', W]
    return _weigh(rows.mT, taps_y).mT  # [T, H, W]


def _weigh(values: Tensor, taps: Tensor) -> Tensor:
    """Along the last axis: ``[.., in]`` to ``[.., out]``, rounding half up."""
    reach = arange(taps.shape[1] - 1, device=taps.device)
    samples = taps[:, :1].clamp(min=0) + reach  # [out, taps]
    return ((values[..., samples] * taps[:, 1:]).sum(-1) + ONE // 2) // ONE
