"""Pixel values back to what the gate compares, and the patches that it kept.

Letters: T frames, C channels, H W pixels, h w cells, P patch side, K kept cells.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from patchgate._check import checked_number
from patchgate.colour import rgb_to_ycbcr

# A float resize overshoots at edges where the u8 one clamps: bicubic by up to a quarter of the
# range. Other normalisations leave it: CLIP's pixel values under SigLIP's mean and std reach 1.57.
_OVERSHOOT = 0.25


class PixelRange:
    """The mean and std per channel with which a processor normalised RGB of 0..1.

    Args:
        mean, std: 3 numbers each, or one for all channels.

    Raises:
        TypeError, ValueError: not 3 finite numbers; a std that is not positive.
    """

    def __init__(self, mean: Any, std: Any) -> None:
        self.mean = _three("mean", mean, -10.0)
        self.std = _three("std", std, 1e-6)

    @classmethod
    def of(cls, processor: Any, mean: Any, std: Any) -> Self:
        """From a transformers processor or image processor, or from ``mean`` and ``std``."""
        if processor is None:
            if mean is None or std is None:
                raise ValueError(
                    "gated: expected a processor, or mean= and std=: they bring pixel values back "
                    "to the 8 bit that the gate compares"
                )
            return cls(mean, std)
        if mean is not None or std is not None:
            raise ValueError("gated: expected a processor or mean= and std=, got both")
        image = getattr(processor, "image_processor", processor)
        if not hasattr(image, "image_mean") or not hasattr(image, "image_std"):
            raise TypeError(
                "processor: expected a transformers processor with image_mean and image_std, got "
                f"{type(processor).__name__}; or give mean= and std="
            )
        factor = getattr(image, "rescale_factor", None) or 1 / 255
        if not getattr(image, "do_rescale", True) or abs(255 * factor - 1) > 1e-3:
            raise ValueError(
                "processor: expected one that rescales by 1/255, got "
                f"do_rescale={getattr(image, 'do_rescale', True)}, rescale_factor={factor}"
            )
        if not getattr(image, "do_normalize", True):
            return cls(0.0, 1.0)
        return cls(image.image_mean, image.image_std)

    def planes(self, pixel_values: Tensor) -> Tensor:
        """The gate's input: ``round(255 * (x * std + mean))``, clamped, as full-range BT.601.

        Args:
            pixel_values: ``[T, 3, H, W]`` float. With bfloat16 a level may be off by one.

        Returns:
            ``[T, 3, H, W]`` uint8 Y, Cb, Cr.

        Raises:
            ValueError: NaN, or values outside of what these mean and std make of 0..255.
        """
        exact = torch.float64 if pixel_values.dtype == torch.float64 else torch.float32
        scale, shift = (
            255 * torch.tensor(numbers, dtype=exact, device=pixel_values.device)[:, None, None]
            for numbers in (self.std, self.mean)
        )
        out = torch.empty(pixel_values.shape, dtype=torch.uint8, device=pixel_values.device)
        extremes = []
        for t, frame in enumerate(pixel_values.detach()):  # a frame at a time: it stays in cache
            levels = torch.addcmul(shift, frame.to(exact), scale)  # [3, H, W]
            extremes.append(torch.stack(levels.aminmax()))
            out[t] = rgb_to_ycbcr(levels.round_().clamp_(0, 255).to(torch.uint8))
        self._check(torch.stack(extremes) / 255)
        return out

    def _check(self, extremes: Tensor) -> None:
        """That the least and greatest of each frame ``[T, 2]`` can be pictures, NaN excluded."""
        fits = (extremes >= -_OVERSHOOT) & (extremes <= 1 + _OVERSHOOT)
        if bool(fits.all()):
            return
        t = int((~fits).any(1).nonzero()[0])
        low, high = extremes[t].tolist()
        raise ValueError(
            f"pixel_values: frame {t} is {low:.2f}..{high:.2f} as RGB, expected 0..1: it does not "
            f"come from a processor with mean={self.mean} and std={self.std}"
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


def _three(name: str, numbers: Any, low: float) -> tuple[float, float, float]:
    if isinstance(numbers, Tensor):
        numbers = numbers.tolist()
    if not isinstance(numbers, Sequence) or isinstance(numbers, str):
        numbers = [numbers] * 3
    if len(numbers) != 3:
        raise ValueError(f"{name}: expected 3 numbers (R, G, B), got {len(numbers)}: {numbers}")
    red, green, blue = (checked_number(name, each, low, 10.0, "of 0..1") for each in numbers)
    return red, green, blue
