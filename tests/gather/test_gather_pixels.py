"""Gather: filter, colour, levels and the order of rows are the right ones."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from gather_cases import DTYPES, MATRICES, make_batch, make_spec
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchgate import colour, grid
from patchgate.colour import chroma_step
from patchgate.decode import Colour
from patchgate.gather import PixelSpec, gather, rgb_frames
from patchgate.gather.resize import Keep
from patchgate.gather.rows import FILTER_ONE, filter_table
from patchgate.reference.frame_grid import expand_luma
from patchgate.reference.gather import upsample


@pytest.mark.parametrize("filter", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize(
    "picture", [(97, 341), (28, 28), (13, 1), (56, 28), (400, 9), (341, 97), (166, 97), (167, 97)]
)
def test_equals_pillow(filter: Any, picture: tuple[int, int]) -> None:
    noise = torch.randint(0, 256, (3, *picture), dtype=torch.uint8)
    noise[:, : picture[0] // 2] = noise[:, : picture[0] // 2] // 128 * 255  # overshoots: clamping
    small = Image.fromarray(noise.permute(1, 2, 0).numpy()).resize(
        (42, 56), {"lanczos": 1, "bilinear": 2, "bicubic": 3}[filter]
    )
    spec = replace(make_spec((56, 42), 14, filter=filter), mean=0, std=1, rescale=1.0)
    if int(PIL.__version__.split(".")[0]) >= 13:
        spec = replace(spec, first_pass="pillow13")
    rows = gather(noise[None], torch.arange(12), spec)
    ours = rows.view(4, 3, 3, 14, 14).permute(0, 3, 1, 4, 2).reshape(56, 42, 3)
    assert np.array_equal(ours.numpy(), np.asarray(small).astype(np.float32))


@given(
    st.integers(1, 3000),
    st.integers(1, 200),
    st.integers(1, 200),
    st.floats(-0.5, 1.5),
    st.sampled_from(["bicubic", "bilinear", "lanczos"]),
)
def test_tables(samples: int, resized: int, size: int, shift: float, filter: Any) -> None:
    offset = round((resized - size) * shift)
    table = torch.from_numpy(filter_table(samples, grid.Placement(resized, offset, size), filter))
    first, weights = table[:, 0], table[:, 1:].long()
    index = torch.arange(size) + offset
    outside = (index < 0) | (index >= resized)
    assert torch.equal(first == -1, outside)
    assert not weights[outside].any()
    assert (first + weights.shape[1] <= samples).all()
    # Each weight is rounded by itself; the op's limit keeps sums within 31 bits.
    assert (weights[~outside].sum(1) - FILTER_ONE).abs().le(weights.shape[1]).all()
    assert weights.abs().sum(1).le(FILTER_ONE * 15 // 8).all()


# ---- colour


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_colour(matrix: str, full_range: bool, bit_depth: int) -> None:
    batch = make_batch((64, 64), (1, 1), matrix=matrix, full_range=full_range, bit_depth=bit_depth)
    rgb = rgb_frames(batch)[0].double()
    y, cb, cr = (plane[0].double() / (1 << (bit_depth - 8)) for plane in batch.planes)
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}[
        matrix
    ]
    if not full_range:
        y, cb, cr = (y - 16) * 255 / 219, (cb - 128) * 255 / 224 + 128, (cr - 128) * 255 / 224 + 128
    red, blue = y + 2 * (1 - kr) * (cr - 128), y + 2 * (1 - kb) * (cb - 128)
    exact = torch.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue]).clamp(0, 255)
    # 8 bit: half a level of rounding and 0.03 of the factors. 10 bit: each of the three is rounded
    # to 8 first, which is half a level of each times its factor.
    assert (rgb - exact).abs().max() <= (0.53 if bit_depth == 8 else 2.3)


@pytest.mark.parametrize("matrix", MATRICES)
def test_close_to_yuv_to_rgb(matrix: Any) -> None:
    batch = make_batch((64, 64), (1, 1), matrix=matrix, full_range=True)
    plain = colour.yuv_to_rgb(torch.stack(batch.planes, 1), matrix)
    assert (rgb_frames(batch).int() - plain.int()).abs().max() <= 1  # that rounds each term


def test_gray_is_exact() -> None:
    """Mid-grey chroma: R = G = B = the frame grid's luma, for every value."""
    y = torch.arange(256, dtype=torch.uint8).view(1, 1, 256)
    mid = torch.full((1, 1, 1), 128, dtype=torch.uint8)
    for full_range in (False, True):
        batch = SimpleNamespace(planes=(y, mid, mid), colour=Colour(full_range=full_range))
        luma = y if full_range else expand_luma(y.int())
        assert torch.equal(rgb_frames(batch).int(), luma.int()[:, None].expand(1, 3, 1, 256))


def test_chroma_is_sited_left_and_centred() -> None:
    ramp = torch.arange(0, 80, 8)[None, None].expand(1, 10, 10)
    inside = slice(2, -3)
    across = upsample(ramp, torch.Size([10, 20])) / 64 + 128  # sample j at luma column 2 j
    assert torch.equal(across[0, 0, inside], 4.0 * torch.arange(20)[inside])
    down = upsample(ramp.mT, torch.Size([20, 10])) / 64 + 128  # at luma row 2 j + 1/2
    assert torch.equal(down[0, inside, 0], 4.0 * (torch.arange(20)[inside] - 0.5))
    assert [chroma_step(5, c) for c in (5, 3, 2, 1, 4)] == [1, 2, 4, 4, 0]


# ---- the public function


@pytest.mark.parametrize("dtype", DTYPES)
def test_levels_and_dtype(dtype: torch.dtype) -> None:
    batch = make_batch((40, 60), frames=2)
    spec = PixelSpec((28, 28), (0.48, 0.45, 0.4), (0.27, 0.26, 0.28), 14)
    plain = PixelSpec((28, 28), 0, 1, 14, rescale=1.0)  # type: ignore[arg-type]
    index = torch.tensor([0, 3, 6, -1])
    values = gather(batch, index, plain).view(4, 3, 196)
    mean, std = (torch.tensor(v)[:, None] for v in (spec.mean, spec.std))
    expected = (((values.double() / 255).float() - mean) / std).to(dtype).flatten(1)
    out = gather(batch, index, spec, dtype)
    assert out.dtype == dtype
    assert torch.equal(out[:3], expected[:3])
    assert not out[3].any()


def test_an_odd_last_frame_is_repeated() -> None:
    batch = make_batch((30, 30), frames=3)
    whole = SimpleNamespace(planes=[p[[0, 1, 2, 2]] for p in batch.planes], colour=batch.colour)
    spec = make_spec((28, 28), 7, merge=2, temporal_patch=2)
    index = torch.arange(8)
    assert torch.equal(gather(batch, index, spec), gather(whole, index, spec))


def test_rows_of_merged_cells_and_channels_last() -> None:
    frame = torch.randint(0, 256, (1, 3, 8, 8), dtype=torch.uint8)
    plain = PixelSpec(Keep(), 0, 1, 2, merge=2, rescale=1.0)  # type: ignore[arg-type]
    rows = gather(frame, torch.tensor([1]), plain).view(2, 2, 3, 2, 2)  # cell (0, 1)
    for my, mx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        block = frame[0, :, 2 * my : 2 * my + 2, 4 + 2 * mx : 6 + 2 * mx]
        assert torch.equal(rows[my, mx], block.float())
    last = PixelSpec(Keep(), 0, 1, 2, merge=2, rescale=1.0, channels_last=True)  # type: ignore[arg-type]
    rows_last = gather(frame, torch.tensor([1]), last).view(2, 2, 2, 2, 3)
    assert torch.equal(rows_last, rows.movedim(2, -1))
