"""Y, Cb, Cr to R, G, B and back, in integers: for people to look at, and as a plain reference.

With luma weights ``kr`` and ``kb`` (ITU-R BT.601, BT.709 and BT.2020; ``kg = 1 - kr - kb``):
``R = Y + 2 (1 - kr) Cr``, ``B = Y + 2 (1 - kb) Cb``, ``G = (Y - kr R - kb B) / kg``, with Cb and Cr
around 128. Factors are rounded to 16 bits, results rounded half up and clamped to 0..255.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from patchgate._cache import cached_table

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


LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
CHROMA_BITS = 13  # of the factors of chroma in ``colour_matrix``, where chroma is in 64ths
LUMA_BITS = 19


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
    r, g, b = (channel.float() for channel in rgb.unbind(-3))  # [.., H, W] each
    # Each row of factors has the exact sum, 65536 or 0, so that gray stays gray.
    planes = [
        _weighted(r, g, b, (19595, 38470, 7471), 0),
        _weighted(r, g, b, (-11059, -21709, 32768), 128),
        _weighted(r, g, b, (32768, -27439, -5329), 128),
    ]
    return torch.stack(planes, dim=-3)


def _weighted(r: Tensor, g: Tensor, b: Tensor, factors: tuple[int, ...], middle: int) -> Tensor:
    """Returns the rounded sum of a plane, uint8.

    These are integers: no number on the way exceeds 2^24, so that float32 holds each of them
    exactly, in any order. It takes a third of the time that int32 takes.
    """
    total = (r * factors[0]).add_(g, alpha=factors[1]).add_(b, alpha=factors[2])
    total.add_(32768 + middle * 65536).mul_(1 / 65536)  # what is cut off below is the fraction
    return total.clamp_(max=255).to(torch.uint8)


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


def check_chroma(planes: tuple[Tensor, Tensor, Tensor]) -> None:
    """Checks that Cb and Cr belong to Y, ``[T, H, W]`` each.

    Raises:
        ValueError: their samples do not stand for 1, 2 or 4 of Y.
    """
    y, cb, _ = planes
    if not all(chroma_step(y.shape[axis], cb.shape[axis]) for axis in (1, 2)):
        raise ValueError(
            f"Cb and Cr of {list(cb.shape[1:])} do not belong to Y of {list(y.shape[1:])}: "
            "expected 1, 2 or 4 luma samples each, rounded up"
        )


@cached_table
def colour_matrix(matrix: str, full_range: bool, device: torch.device) -> Tensor:
    """Makes the ``ColourMatrix`` of ``csrc/gather.h``, int32 ``[6]``; cached.

    It is computed in float64 from the luma weights of ITU-R BT.601, BT.709 and BT.2020. Its numbers
    are luma, offset (the range's black and half a unit), Cr to red, Cb and Cr to green, Cb to blue.
    Luma has 14 bits and chroma 13 of each 19, with which luma alone is rounded exactly.
    """
    kr, kb = LUMA_WEIGHTS[matrix]
    kg = 1 - kr - kb
    luma_scale, chroma_scale = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    red, blue = 2 * (1 - kr) * chroma_scale, 2 * (1 - kb) * chroma_scale
    luma = round(luma_scale * (1 << 14)) << (LUMA_BITS - 14)
    offset = (1 << (LUMA_BITS - 1)) - (0 if full_range else 16 * luma)
    chroma = [red, -blue * kb / kg, -red * kr / kg, blue]
    factors = [luma, offset, *(round(factor * (1 << CHROMA_BITS)) for factor in chroma)]
    return torch.tensor(factors, dtype=torch.int32, device=device)
