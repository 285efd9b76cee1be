"""The frame grid: op, shared arithmetic and reference agree bit for bit; the filter is right."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from frame_grid_cases import FITS, arguments, cases, make_batch, op
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchgate import grid, reference
from patchgate.decode import Colour
from patchgate.reference.frame_grid import expand_chroma, expand_luma

_tested = pytest.importorskip("patchgate._tested", reason="built only beside the sources")


def levels(values: Tensor, chroma: bool) -> Tensor:
    return expand_chroma(values) if chroma else expand_luma(values)


@given(cases())
@settings(max_examples=100, deadline=None)
def test_op_equals_reference(case: tuple) -> None:
    assert torch.equal(op(*case), reference.frame_grid(*case))


@pytest.mark.parametrize(
    ("luma", "size"),
    [
        ((720, 1280), (378, 378)),
        ((1080, 1920), (224, 224)),
        ((2160, 64), (16, 378)),  # 270 taps, bands that share rows
        ((40, 4096), (378, 8)),  # 1024 taps
        ((3, 3), (400, 500)),
        ((378, 378), (378, 378)),
    ],
)
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_op_equals_reference_on_real_sizes(
    luma: tuple[int, int], size: tuple[int, int], bit_depth: int
) -> None:
    case = arguments(make_batch(luma, bit_depth=bit_depth, margin=3), size)
    assert torch.equal(op(*case), reference.frame_grid(*case))


@given(cases(most=40), st.sampled_from(_tested.frame_grid_paths()))
@settings(max_examples=60, deadline=None)
def test_shared_arithmetic_equals_reference(case: tuple, path: str) -> None:
    *planes, luma_x, luma_y, chroma_x, chroma_y, full_range, bit_depth = case
    expected = reference.frame_grid(*case)
    for c, plane in enumerate(planes):
        taps = (chroma_x, chroma_y) if c else (luma_x, luma_y)
        for t, frame in enumerate(plane):
            out = _tested.frame_grid_plane(
                frame.contiguous().numpy(), *taps, bit_depth, c > 0, full_range, path
            )
            assert torch.equal(torch.from_numpy(out), expected[t, c])


def test_levels_are_exact() -> None:
    values = torch.arange(256)
    for chroma, low, span in ((False, 16, 219), (True, 128, 224)):
        # Rounding half up in integers: floor(255 v / span + 1/2).
        exact = ((510 * (values - low) + span) // (2 * span) + 128 * chroma).clamp(0, 255)
        ours = levels(values, chroma)
        assert torch.equal(ours, exact)
        assert _tested.expand(values.int().numpy(), chroma).tolist() == exact.tolist()


@pytest.mark.parametrize("bit_depth", range(8, 17))
def test_to_8bit(bit_depth: int) -> None:
    values = torch.arange(1 << bit_depth)
    exact = ((values + (1 << bit_depth - 8) // 2) >> (bit_depth - 8)).clamp(max=255)
    assert _tested.to_8bit(values.int().numpy(), bit_depth).tolist() == exact.tolist()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("bit_depth", [8, 10])
def test_opcheck(fit: str, bit_depth: int) -> None:
    case = arguments(make_batch((33, 50), frames=2, bit_depth=bit_depth), (14, 28), fit)
    torch.library.opcheck(op.default, case)


def test_compiles_whole() -> None:
    case = arguments(make_batch((33, 50), frames=2), (14, 28))
    compiled = torch.compile(lambda *inputs: op(*inputs) + 1, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*case), op(*case) + 1)


def test_threads_do_not_matter() -> None:
    case = arguments(make_batch((300, 211), frames=3), (250, 100))
    threads = torch.get_num_threads()
    results = []
    for n in (1, 2, 5):
        torch.set_num_threads(n)
        results.append(op(*case))
    torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


@given(st.integers(1, 3000), st.integers(1, 200), st.integers(1, 200), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_tables(samples: int, resized: int, size: int, shift: float) -> None:
    offset = round((resized - size) * shift)
    table = torch.from_numpy(grid.tap_table(samples, grid.Placement(resized, offset, size)))
    first, weights = table[:, 0], table[:, 1:]
    index = torch.arange(size) + offset
    outside = (index < 0) | (index >= resized)
    assert torch.equal(first == -1, outside)
    assert (weights >= 0).all()
    assert weights[~outside].sum(dim=1).eq(grid.TAP_ONE).all()
    assert not weights[outside].any()
    assert (first + weights.shape[1] <= samples).all()
    if offset == 0 and size == resized:  # the filter looks the same from both ends
        centre = ((first[:, None] + torch.arange(weights.shape[1]) + 0.5) * weights).sum(1)
        mirrored = samples * grid.TAP_ONE - centre.flip(0)
        torch.testing.assert_close(centre, mirrored, rtol=0, atol=weights.shape[1])


@pytest.mark.parametrize("value", [0, 1, 16, 100, 128, 235, 240, 255])
@pytest.mark.parametrize("full_range", [False, True])
def test_constant_stays_constant(value: int, full_range: bool) -> None:
    batch = make_batch((45, 83), full_range=full_range)
    for plane in batch.planes:
        plane.fill_(value)
    expected = torch.tensor([value] * 3)
    if not full_range:
        expected = torch.stack([levels(expected[0], c > 0) for c in range(3)])
    out = grid.to_grid(batch, (28, 56))
    assert torch.equal(out, expected.to(torch.uint8)[None, :, None, None].expand_as(out))


@pytest.mark.parametrize(
    ("luma", "size"), [((720, 1280), (378, 378)), ((90, 70), (378, 200)), ((64, 48), (28, 48))]
)
def test_close_to_torch(luma: tuple[int, int], size: tuple[int, int]) -> None:
    batch = make_batch(luma, full_range=True)
    out = grid.to_grid(batch, size)
    for c, plane in enumerate(batch.planes):
        expected = F.interpolate(
            plane[None].float(), size, mode="bilinear", antialias=True, align_corners=False
        )
        # Half a level from rounding after either pass, and the 14-bit weights.
        assert (out[:, c] - expected[0]).abs().max() <= 1.1


def test_pad_is_centred_on_black() -> None:
    batch = make_batch((20, 40))
    out = grid.to_grid(batch, (56, 57), "pad")  # 57 wide: 28.5, rounded up to 29 high
    inner = grid.to_grid(batch, (29, 57))
    assert torch.equal(out[:, :, 13:42], inner)
    for border in (out[:, :, :13], out[:, :, 42:]):
        assert torch.equal(border[:, 0], torch.zeros_like(border[:, 0]))
        assert border[:, 1:].eq(128).all()


def test_crop_cuts_the_middle() -> None:
    batch = make_batch((20, 47))
    wide = grid.to_grid(batch, (28, 47 * 28 // 20))  # [T, 3, 28, 65]
    assert torch.equal(grid.to_grid(batch, (28, 28), "crop"), wide[..., 18:46])


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 90), st.integers(1, 90))
def test_fits_cover_and_fit(ph: int, pw: int, gh: int, gw: int) -> None:
    down, across = grid.fitted((ph, pw), (gh, gw), "crop")
    assert down.resized >= gh
    assert across.resized >= gw
    assert down.resized == gh or across.resized == gw
    down, across = grid.fitted((ph, pw), (gh, gw), "pad")
    assert 0 < down.resized <= gh
    assert 0 < across.resized <= gw
    assert down.resized == gh or across.resized == gw
    assert down.offset == -((gh - down.resized) // 2)


def test_odd_picture_uses_half_of_its_last_chroma_sample() -> None:
    # 5 pixels have 3 chroma samples, of which the picture covers 2.5.
    table = grid.tap_table(3, grid.Placement(5, 0, 5), 2.5)
    weights = torch.zeros(5, 3, dtype=torch.int64)
    for i, row in enumerate(table.tolist()):
        weights[i, row[0] : row[0] + len(row) - 1] = torch.tensor(row[1:])
    centre = (weights @ torch.arange(3)).double() / grid.TAP_ONE + 0.5
    torch.testing.assert_close(centre[1:], torch.arange(1.5, 5) / 2, check_dtype=False)


def test_reads_padded_rows_in_place() -> None:
    batch = make_batch((31, 45), frames=2, margin=7)
    assert not batch.planes[0].is_contiguous()
    dense = SimpleNamespace(planes=[p.contiguous() for p in batch.planes], colour=batch.colour)
    assert torch.equal(grid.to_grid(batch, (20, 20)), grid.to_grid(dense, (20, 20)))


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (5,), 378, (5.0, 5), (True, 5), None])
def test_bad_size(size: object) -> None:
    with pytest.raises(ValueError, match="two positive integers"):
        grid.to_grid(make_batch((8, 8)), size)  # type: ignore[arg-type]


def test_bad_input() -> None:
    batch = make_batch((8, 8), frames=2)
    y, cb, cr = batch.planes
    cases: list[tuple[tuple, type[Exception], str]] = [
        ((y, cb), ValueError, "three planes"),
        ((y.float(), cb, cr), TypeError, r"Y of 8 bit must be torch\.uint8, got torch\.float32"),
        ((y, cb.numpy(), cr), TypeError, "Cb must be a tensor, got ndarray"),
        ((y[0], cb, cr), ValueError, r"Y must be \[T, H, W\] with pixels, got \[8, 8\]"),
        ((y[:, :, :0], cb, cr), ValueError, "with pixels"),
        ((y[:1], cb, cr), ValueError, "hold 1, 2 and 2 frames"),
        ((y, cb[:, 1:], cr), ValueError, r"Cb is \[3, 4\], but Cr is \[4, 4\]"),
        ((y.mT, cb, cr), ValueError, "rows must be contiguous"),
        ((y, cb, cr.to("meta")), ValueError, "Y is on cpu, but Cr is on meta"),
    ]
    for planes, error, message in cases:
        with pytest.raises(error, match=message):
            grid.to_grid(SimpleNamespace(planes=planes, colour=batch.colour), (4, 4))
    with pytest.raises(ValueError, match="fit must be one of stretch, crop, pad, got 'fill'"):
        grid.to_grid(batch, (4, 4), "fill")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="of 10 bit must be"):
        grid.to_grid(SimpleNamespace(planes=batch.planes, colour=Colour(bit_depth=10)), (4, 4))


def test_op_refuses_what_would_read_elsewhere() -> None:
    case = list(arguments(make_batch((8, 8)), (4, 4)))
    for change in ((3, 0, 100), (3, 0, -2), (4, 1, -5), (5, 1, 1 << 20)):
        index, column, value = change
        broken = list(case)
        broken[index] = case[index].clone()
        broken[index][0, column] = value
        with pytest.raises(RuntimeError, match="taps outside the plane"):
            op(*broken)
    with pytest.raises(RuntimeError, match="last stride 1"):
        op(case[0].mT, *case[1:])
    with pytest.raises(RuntimeError, match="uint8 planes of 8 bit"):
        op(*case[:-1], 10)


def test_tables_are_cached() -> None:
    place = grid.fitted((64, 48), (14, 14), "crop")
    args = ((64, 48), (32, 24), place, torch.device("cpu"))
    assert grid.tap_tables(*args) is grid.tap_tables(*args)
    assert math.prod(grid.tap_tables(*args).luma_x.shape) > 14
