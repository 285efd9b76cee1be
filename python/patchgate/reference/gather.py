"""Gather: whole frames to RGB, resized, cut into cells; then the kept ones."""

import torch
from torch import Tensor

from patchgate._tensors import arange
from patchgate.colour import chroma_step
from patchgate.reference.frame_grid import to_8bit

ONE = 1 << 22  # a weight of 1
CHROMA_MID = 128 * 64


def gather(
    y: Tensor,  # [T, H', W'] u8 or u16
    cb: Tensor,  # [T, H'', W'']
    cr: Tensor,  # [T, H'', W'']
    index: Tensor,  # [capacity] int64
    taps_x: Tensor,  # [W, 1 + taps] int32: first sample or -1, weights
    taps_y: Tensor,  # [H, 1 + taps]
    matrix: Tensor | None,  # [6] int32: luma, offset, Cr to R, Cb and Cr to G, Cb to B
    levels: Tensor,  # [3, 256]
    bit_depth: int,
    patch: int,
    merge: int,
    temporal_patch: int,
    channels_last: bool,
    vertical_first: bool,
) -> Tensor:  # [capacity * merge * merge, C * f * P * P] or f * P * P * C
    """Rows of negative entries are zeros; a last tubelet that lacks frames repeats the last one."""
    rgb = rgb_planes(y, cb, cr, matrix, bit_depth)  # [T, 3, H', W']
    if vertical_first:
        small = _weigh(_weigh(rgb.mT, taps_y).mT, taps_x)  # [T, 3, H, W]
    else:
        small = _weigh(_weigh(rgb, taps_x).mT, taps_y).mT
    if missing := -len(small) % temporal_patch:
        small = torch.cat([small, *[small[-1:]] * missing])
    pixels = levels[arange(3, device=y.device)[:, None, None], small]  # [T, 3, H, W]
    rows = _rows(pixels, patch, merge, temporal_patch, channels_last)  # [N, merge^2, ..]
    kept = rows.new_zeros((len(index), *rows.shape[1:]))
    kept[index >= 0] = rows[index[index >= 0]]
    return kept.flatten(0, 1)


def rgb_planes(y: Tensor, cb: Tensor, cr: Tensor, matrix: Tensor | None, bit_depth: int) -> Tensor:
    """``[T, 3, H', W']`` int64, 0..255, at native size; without a matrix the planes are RGB."""
    y, cb, cr = (to_8bit(plane.to(torch.int64), bit_depth) for plane in (y, cb, cr))
    if matrix is None:
        return torch.stack([y, cb, cr], 1)
    factor_y, offset, cr_to_r, cb_to_g, cr_to_g, cb_to_b = matrix.tolist()
    cb, cr = upsample(cb, y.shape[1:]), upsample(cr, y.shape[1:])  # 64ths
    luma = factor_y * y + offset
    rgb = [luma + cr_to_r * cr, luma + cb_to_g * cb + cr_to_g * cr, luma + cb_to_b * cb]
    return (torch.stack(rgb, 1) >> 19).clamp(0, 255)


def upsample(chroma: Tensor, size: torch.Size) -> Tensor:
    """``[T, H'', W'']`` to ``[T, H', W']``, bilinear, in 64ths around mid-grey.

    Across, a sample sits on the left one of its luma samples; down, in their middle.
    """
    height, width = size
    step_y, step_x = chroma_step(height, chroma.shape[1]), chroma_step(width, chroma.shape[2])
    rows = arange(height, device=chroma.device)
    columns = arange(width, device=chroma.device)
    down = _between(chroma.mT, (16 * rows + 8) // step_y - 8, 16).mT  # [T, H', W'']
    return _between(down, 4 * columns // step_x, 4) - CHROMA_MID


def _between(values: Tensor, position: Tensor, unit: int) -> Tensor:
    """``values [.., in]`` at ``position [out] / unit``, times unit; clamped to the ends."""
    first, part = position // unit, position % unit
    last = values.shape[-1] - 1
    left, right = values[..., first.clamp(0, last)], values[..., (first + 1).clamp(0, last)]
    return left * (unit - part) + right * part


def _weigh(values: Tensor, taps: Tensor) -> Tensor:
    """Along the last axis: ``[.., in]`` to ``[.., out]``, rounding half up, clamped to u8."""
    reach = arange(taps.shape[1] - 1, device=taps.device)
    samples = taps[:, :1].clamp(min=0) + reach  # [out, taps]
    return (((values[..., samples] * taps[:, 1:]).sum(-1) + ONE // 2) // ONE).clamp(0, 255)


def _rows(pixels: Tensor, p: int, m: int, f: int, channels_last: bool) -> Tensor:
    """``[T, 3, H, W]`` to ``[tubelets * h * w, merge^2, C * f * P * P]``."""
    t, c, height, width = pixels.shape
    h, w = height // (p * m), width // (p * m)
    blocks = pixels.view(t // f, f, c, h, m, p, w, m, p)
    order = (1, 5, 8, 2) if channels_last else (2, 1, 5, 8)  # f P P C or C f P P
    blocks = blocks.permute(0, 3, 6, 4, 7, *order)  # [T / f, h, w, m, m, ..]
    return blocks.reshape(t // f * h * w, m * m, f * c * p * p)
