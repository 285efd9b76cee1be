"""Pixel values back to what the gate compares, and the patches that it kept.

Letters: T frames, C channels, H W pixels, h w cells, P patch side, K kept cells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from patchgate.gather import PixelSpec
from patchgate.gather.pixel_spec import Triple

if TYPE_CHECKING:
    from patchgate.encoders.tower import Tower

# A float resize overshoots at edges where the u8 one clamps, bicubic by up to a quarter of the
# range. Other normalisations leave it: CLIP's pixel values under SigLIP's mean and std reach 1.57.
_OVERSHOOT = 0.25
# Per plane: factors of R, G, B times 65536, and what rounds half up around 0 or 128.
_BT601 = (
    (19595, 38470, 7471, 32768),
    (-11059, -21709, 32768, 32768 + (128 << 16)),
    (32768, -27439, -5329, 32768 + (128 << 16)),
)


def pixel_spec(tower: Tower, processor: Any, mean: Any, std: Any) -> PixelSpec:
    """What was done to the pixels, by the tower's processor or (if None) by its mean and std.

    Args:
        processor: a transformers processor, or a ``PixelSpec``.

    Raises:
        ValueError: neither or both; a processor that does not fit the tower, or is not known.
    """
    if (processor is None) == (mean is None and std is None):
        came = "neither" if processor is None else "both"
        raise ValueError(
            f"gated: expected a processor or mean= and std=, got {came}: they bring pixel values "
            "back to the 8 bit that the gate compares"
        )
    if processor is None:
        if mean is None or std is None:
            raise ValueError("gated: expected both mean= and std=, got one of them")
        mean, std = (x.tolist() if isinstance(x, Tensor) else x for x in (mean, std))
        sides = (tower.patch, tower.merge, tower.temporal_patch)
        return PixelSpec(tower.size_rule, mean, std, *sides, channels_last=tower.channels_last)
    spec = processor
    if not isinstance(processor, PixelSpec):
        spec = PixelSpec.from_processor(processor, tower.patch, tower.merge, tower.temporal_patch)
    names = ("patch", "merge", "temporal_patch", "channels_last")
    differs = [name for name in names if getattr(spec, name) != getattr(tower, name)]
    if differs:
        own = ", ".join(f"{name}={getattr(tower, name)}" for name in differs)
        raise ValueError(f"processor: expected patches of {own}, got {spec}")
    if abs(255 * spec.rescale - 1) > 1e-3:
        raise ValueError(f"processor: expected one that rescales by 1/255, got {spec.rescale:g}")
    return spec


def gate_planes(pixel_values: Tensor, mean: Triple, std: Triple) -> Tensor:
    """The gate's input: ``round(255 * (x * std + mean))``, clamped, as full-range BT.601.

    Args:
        pixel_values: ``[T, 3, H, W]`` float. With bfloat16 a level may be off by one.
        mean, std: with which RGB of 0..1 was normalised.

    Returns:
        ``[T, 3, H, W]`` uint8 Y, Cb, Cr.

    Raises:
        ValueError: NaN, or values outside of what this mean and std make of 0..1, by more than
            a quarter of that range.
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
    """``colour.rgb_to_ycbcr`` of whole floats ``[3, H, W]`` into uint8 ``[3, H, W]``, bit for bit.

    They are floats already, and integers would take twice the time. All sums are whole numbers of
    at most 2^24, so that float32 is exact.
    """
    r, g, b = rgb
    for plane, (to_r, to_g, to_b, half) in zip(out, _BT601, strict=True):
        total = torch.mul(r, to_r).add_(g, alpha=to_g).add_(b, alpha=to_b).add_(half)
        plane.copy_(total.mul_(2**-16).floor_().clamp_(0, 255))


def _check_range(extremes: Tensor, mean: Triple, std: Triple) -> None:
    """That the least and greatest of each frame ``[T, 2]`` can be those of a picture, not NaN."""
    fits = (extremes >= -_OVERSHOOT) & (extremes <= 1 + _OVERSHOOT)
    if bool(fits.all()):
        return
    t = int((~fits).any(1).nonzero()[0])
    low, high = extremes[t].tolist()
    raise ValueError(
        f"pixel_values: frame {t} is {low:.2f}..{high:.2f} as RGB, expected 0..1: it does not come "
        f"from a processor with mean={mean} and std={std}"
    )


def patch_rows(pixel_values: Tensor, patch: int, index: Tensor) -> Tensor:
    """The patches of some cells, in the order of a convolution's weight.

    Args:
        pixel_values: ``[T, C, H, W]``. index: ``[K]`` int64, flat over ``[T, h, w]``.

    Returns:
        ``[K, C * P * P]`` in the dtype of ``pixel_values``.
    """
    blocks = pixel_values.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))
    blocks = blocks.permute(0, 2, 4, 1, 3, 5)  # [T, h, w, C, P, P], nothing copied
    h, w = blocks.shape[1:3]
    return blocks[index // (h * w), index // w % h, index % w].flatten(1)
