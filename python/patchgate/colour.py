"""Y, Cb, Cr to R, G, B and back, in integers: for people to look at, and as a plain reference.

With luma weights ``kr`` and ``kb`` (ITU-R BT.601, BT.709 and BT.2020; ``kg = 1 - kr - kb``):
``R = Y + 2 (1 - kr) Cr``, ``B = Y + 2 (1 - kb) Cb``, ``G = (Y - kr R - kb B) / kg``, with Cb and Cr
around 128. Factors are rounded to 16 bits, results rounded half up and clamped to 0..255.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Matrix = Literal["bt601", "bt709", "bt2020"]


class Factors(NamedTuple):
    """Contributions of chroma, times 65536."""

    cr_to_r: int
    cb_to_g: int
    cr_to_g: int
    cb_to_b: int


FACTORS: dict[str, Factors] = {
    "bt601": Factors(91881, -22553, -46802, 116130),  # kr 0.299, kb 0.114
    "bt709": Factors(103206, -12276, -30679, 121609),  # kr 0.2126, kb 0.0722
    "bt2020": Factors(96639, -10784, -37444, 123299),  # kr 0.2627, kb 0.0593
}


def yuv_to_rgb(planes: Tensor, matrix: Matrix = "bt601") -> Tensor:
    """Full-range Y, Cb, Cr to R, G, B.

    Args:
        planes: uint8 ``[.., 3, H, W]``, full range, such as a frame grid.
        matrix: the video's own, ``batch.colour.matrix``.

    Returns:
        uint8 ``[.., 3, H, W]`` on the same device. Does not synchronise.

    Raises:
        TypeError: planes that are not uint8. ValueError: another shape or an unknown matrix.
    """
    _check(planes, "planes")
    if matrix not in FACTORS:
        raise ValueError(f"matrix must be one of {', '.join(FACTORS)}, got {matrix!r}")
    k = FACTORS[matrix]
    y, cb, cr = planes.to(torch.int32).unbind(-3)  # [.., H, W] each
    cb, cr = cb - 128, cr - 128
    red = y + _round(k.cr_to_r * cr)
    green = y + _round(k.cb_to_g * cb + k.cr_to_g * cr)
    blue = y + _round(k.cb_to_b * cb)
    return torch.stack([red, green, blue], dim=-3).clamp(0, 255).to(torch.uint8)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """R, G, B to full-range BT.601 Y, Cb, Cr, as in JPEG (JFIF 1.02).

    Args:
        rgb: uint8 ``[.., 3, H, W]``.

    Returns:
        uint8 ``[.., 3, H, W]`` on the same device. Does not synchronise.

    Raises:
        TypeError: a tensor that is not uint8. ValueError: another shape.
    """
    _check(rgb, "rgb")
    r, g, b = rgb.to(torch.int32).unbind(-3)  # [.., H, W] each
    # Each row of factors has the exact sum, 65536 or 0, so that gray stays gray.
    y = _round(19595 * r + 38470 * g + 7471 * b)
    cb = _round(-11059 * r - 21709 * g + 32768 * b) + 128
    cr = _round(32768 * r - 27439 * g - 5329 * b) + 128
    return torch.stack([y, cb, cr], dim=-3).clamp(0, 255).to(torch.uint8)


def _round(value: Tensor) -> Tensor:
    return (value + 32768) >> 16


def _check(planes: Tensor, name: str) -> None:
    if planes.dtype != torch.uint8:
        raise TypeError(f"{name} must be uint8, got {planes.dtype}")
    if planes.ndim < 3 or planes.shape[-3] != 3:
        raise ValueError(f"{name} must be [.., 3, H, W], got {list(planes.shape)}")


def chroma_step(luma: int, chroma: int) -> int:
    """Returns the luma samples per chroma sample along an axis; 0 if the sizes do not match.

    A single chroma sample stands for everything (gray video).
    """
    for step in (1, 2, 4):
        if chroma == -(-luma // step):
            return step
    return 4 if chroma == 1 else 0
