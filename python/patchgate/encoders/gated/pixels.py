"""Turns pixel values back into the planes that the gate compares.

Letters: T frames, C channels, H W pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from patchgate.gather.pixel_spec import Triple

# A float resize overshoots at edges where a uint8 one clamps; a bicubic one by up to a quarter of
# the range. Pixel values of other normalisations exceed this: CLIP's reach 1.57 under SigLIP's mean
# and std.
_OVERSHOOT = 0.25
# Per plane: the factors of R, G, B times 65536, and an offset that rounds half up around 0 or 128.
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
        ``[T, 3, H, W]`` uint8 Y, Cb, Cr. The call synchronises.

    Raises:
        ValueError: a value is NaN or, as RGB, lies outside of 0..1 by more than 0.25.
    """
    exact = torch.float64 if pixel_values.dtype == torch.float64 else torch.float32
    out = torch.empty(pixel_values.shape, dtype=torch.uint8, device=pixel_values.device)
    levels = torch.empty(pixel_values.shape[1:], dtype=exact, device=pixel_values.device)
    extremes = []
    for frame, planes in zip(pixel_values.detach(), out, strict=True):  # one frame stays in cache
        for channel, level, middle, spread in zip(frame, levels, mean, std, strict=True):
            torch.mul(channel.to(exact), 255 * spread, out=level).add_(255 * middle)
        extremes.append(torch.stack(levels.aminmax()))
        _ycbcr(levels.round_().clamp_(0, 255), planes)
    _check_range(torch.stack(extremes) / 255, mean, std)
    return out


def _ycbcr(rgb: Tensor, out: Tensor) -> None:
    """Writes ``colour.rgb_to_ycbcr`` of whole floats ``[3, H, W]`` into uint8 ``[3, H, W]``.

    The result is the same bit for bit. The levels are floats already, and integers would take twice
    the time. All sums are whole numbers of at most 2^24, so that float32 is exact.
    """
    r, g, b = rgb
    for plane, (to_r, to_g, to_b, half) in zip(out, _BT601, strict=True):
        total = torch.mul(r, to_r).add_(g, alpha=to_g).add_(b, alpha=to_b).add_(half)
        plane.copy_(total.mul_(2**-16).floor_().clamp_(0, 255))


def _check_range(extremes: Tensor, mean: Triple, std: Triple) -> None:
    """Raises a ``ValueError`` if a frame's extremes ``[T, 2]`` are NaN or far outside of 0..1."""
    fits = (extremes >= -_OVERSHOOT) & (extremes <= 1 + _OVERSHOOT)
    if bool(fits.all()):
        return
    t = int((~fits).any(1).nonzero()[0])
    low, high = extremes[t].tolist()
    raise ValueError(
        f"pixel_values: frame {t} is {low:.2f}..{high:.2f} as RGB, expected 0..1: it does not come "
        f"from a processor with mean={mean} and std={std}"
    )
