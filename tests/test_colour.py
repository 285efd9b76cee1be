"""YUV to RGB and back: known colours, exact factors, round trips."""

import pytest
import torch

from patchgate.colour import FACTORS, rgb_to_ycbcr, yuv_to_rgb

WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def pixels(*values: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).T[:, None]  # [3, 1, n]


@pytest.mark.parametrize("matrix", FACTORS)
def test_factors_follow_from_the_luma_weights(matrix: str) -> None:
    kr, kb = WEIGHTS[matrix]
    kg = 1 - kr - kb
    red, blue = 2 * (1 - kr), 2 * (1 - kb)
    exact = (red, -blue * kb / kg, -red * kr / kg, blue)
    assert FACTORS[matrix] == tuple(round(factor * 65536) for factor in exact)


@pytest.mark.parametrize("matrix", FACTORS)
def test_close_to_float(matrix: str) -> None:
    yuv = torch.randint(0, 256, (2, 3, 40, 50), generator=torch.Generator().manual_seed(0))
    kr, kb = WEIGHTS[matrix]
    y, cb, cr = (yuv.double() - torch.tensor([0, 128, 128])[:, None, None]).unbind(-3)
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    exact = torch.stack([red, green, blue], dim=-3).clamp(0, 255)
    ours = yuv_to_rgb(yuv.to(torch.uint8), matrix)  # type: ignore[arg-type]
    # Half a level of rounding and 16-bit factors on values up to 128.
    assert (ours - exact).abs().max() <= 0.5 + 2 * 128 * 0.5 / 65536


def test_known_colours() -> None:
    yuv = pixels((0, 128, 128), (255, 128, 128), (76, 85, 255), (150, 44, 21), (29, 255, 107))
    rgb = yuv_to_rgb(yuv).int()
    expected = pixels((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)).int()
    assert (rgb - expected).abs().max() <= 2  # the 8-bit colours nearest to pure ones
    assert torch.equal(rgb_to_ycbcr(expected.to(torch.uint8)), yuv)


def test_gray_stays_gray() -> None:
    gray = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    yuv = rgb_to_ycbcr(gray)
    assert torch.equal(yuv[0], gray[0])
    assert yuv[1:].eq(128).all()
    for matrix in FACTORS:
        assert torch.equal(yuv_to_rgb(yuv, matrix), gray)  # type: ignore[arg-type]


def test_round_trip() -> None:
    random = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 256, (2, 3, 64, 64), generator=random, dtype=torch.uint8)
    back = yuv_to_rgb(rgb_to_ycbcr(rgb))
    # Y, Cb and Cr are each off by at most 1/2 (1 where Cb or Cr clamps): 1.772 + 1/2 at most + 1/2.
    assert (back.int() - rgb.int()).abs().max() <= 2


def test_bad_input() -> None:
    with pytest.raises(TypeError, match=r"planes must be uint8, got torch\.float32"):
        yuv_to_rgb(torch.zeros(3, 4, 4))
    with pytest.raises(ValueError, match=r"rgb must be \[\.\., 3, H, W\], got \[2, 4, 4\]"):
        rgb_to_ycbcr(torch.zeros(2, 4, 4, dtype=torch.uint8))
    with pytest.raises(ValueError, match="matrix must be one of bt601, bt709, bt2020, got 'srgb'"):
        yuv_to_rgb(torch.zeros(3, 4, 4, dtype=torch.uint8), "srgb")  # type: ignore[arg-type]
