"""The way from pixel values to what the gate compares, and to the patches that it kept."""

import pytest
import torch
from gated_cases import MEAN, STD, N, P, noise, normalised, rows_of

from patchgate.colour import rgb_to_ycbcr
from patchgate.encoders.gated.pixels import gate_planes
from patchgate.encoders.patch_grid import patch_rows


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_comes_back(dtype):
    levels = torch.arange(256)[None, None, None].expand(1, 3, 2, 256)
    rgb = levels.to(torch.uint8)
    assert torch.equal(gate_planes(normalised(rgb, dtype), MEAN, STD), rgb_to_ycbcr(rgb))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_off_by_a_level_at_most(dtype):
    rgb = noise(2)
    difference = gate_planes(normalised(rgb, dtype), MEAN, STD).int() - rgb_to_ycbcr(rgb).int()
    assert difference.abs().max() <= 1


def test_colours_are_those_of_the_plain_conversion():
    """Every red with every third green and blue, corners included."""
    third = torch.arange(0, 256, 3)
    rgb = torch.stack(torch.meshgrid(torch.arange(256), third, third, indexing="ij")).flatten(2)
    unit = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    planes = gate_planes(rgb[None] / 255, *unit)
    assert torch.equal(planes, rgb_to_ycbcr(rgb[None].to(torch.uint8)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_patches_are_the_cells_in_the_order_of_the_weight(layout):
    x = normalised(noise(3)).contiguous(memory_format=layout)
    index = torch.tensor([0, 5, N - 1, N, 3 * N - 1])
    assert torch.equal(patch_rows(x, P, index), rows_of(x).flatten(0, 1)[index])
