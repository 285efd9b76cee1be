"""Turns pixel values back into the planes that the gate compares.

Letters: T frames, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from patchgate.gather.pixel_spec import Triple

# A float resize overshoots at edges where the u8 one clamps, bicubic by up to a quarter of the
# range. Other normalisations leave it: CLIP's pixel values under SigLIP's mean and std reach 1.57.
_OVERSHOOT = 0.25
# Per plane: factors of R, G, B times 65536, and what rounds half up around 0 or 128.
_BT601 = (
    (19595, 38470, 7471, 32768),
    (-11059, -21709, 32768, 32768 + (128 << 16)),
    (32768, -27439, -5329, 32768 + (128 << 16)),
)


def gate_planes(pixel_values: Tensor, mean: Triple, std: Triple) -> Tensor:
    """Makes the gate's input: ``round(255 * (x * std + mean))``, clamped, as full-range BT.601.

    Args:
        pixel_values: ``[T, 3, H, W]`` float. With bfloat16 a level may be off by one.
        mean, std: the numbers with which RGB of 0..1 was normalised.

    Returns:
        ``[T, 3, H, W]`` uint8 Y, Cb, Cr. Synchronises.

    Raises:
        ValueError: a value is NaN, or lies outside of what this mean and std make of 0..1 by more
            than a quarter of that range.
    """
    exact = torch.float64 if pixel_values.dtype == torch.float64 else torch.float32
    out = torch.empty(pixel_values.shape, dtype=torch.uint8, device=pixel_values.device)
    levels = torch.empty(pixel_values.shape[1:], dtype=exact, device=pixel_values.device)
    extremes = []
    for frame, planes in zip(pixel_values.detach(), out, strict=True):  # one stays in cache
        for channel, level, m, s in zip(frame, levels, mean, std, strict=True):
            torch.mul(channel.to(exact), 255 * s, out=level).add_(255 * m)
        extremes.append(torch.stack(levels.aminmax()))
        _ycbcr(levels.round_().clamp_(0, 255), planes)
    _check_range(torch.stack(extremes) / 255, mean, std)
    return out


def _ycbcr(rgb: Tensor, out: Tensor) -> None:
    """Writes ``colour.rgb_to_ycbcr`` of whole floats ``[3, H, W]`` into uint8 ``[3, H, W]``, bit
    for bit.

    The levels are floats already, and integers would take twice the time. All sums are whole
    numbers of at most 2^24, so that float32 is exact.
    """
    r, g, b = rgb
    for plane, (to_r, to_g, to_b, half) in zip(out, _BT601, strict=True):
        total = torch.mul(r, to_r).add_(g, alpha=to_g).add_(b, alpha=to_b).add_(half)
        plane.copy_(total.mul_(2**-16).floor_().clamp_(0, 255))


def _check_range(extremes: Tensor, mean: Triple, std: Triple) -> None:
    """Raises if the least or greatest value of a frame ``[T, 2]`` is NaN or no picture's."""
    fits = (extremes >= -_OVERSHOOT) & (extremes <= 1 + _OVERSHOOT)
    if bool(fits.all()):
        return
    t = int((~fits).any(1).nonzero()[0])
    low, high = extremes[t].tolist()
    raise ValueError(
        f"pixel_values: frame {t} is {low:.2f}..{high:.2f} as RGB, expected 0..1: it does not come "
        f"from a processor with mean={mean} and std={std}"
    )
