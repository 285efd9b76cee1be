"""The gather's Triton kernel gives the reference's bits; here in the interpreter."""

from typing import Any

import pytest
import torch
from gather_cases import arguments, cases, make_batch, make_spec
from hypothesis import given, settings

from patchgate import reference

pytest.importorskip("triton")
from patchgate.kernels.gather import gather
from patchgate.kernels.launch import Launch

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="test_gather_cuda.py instead")


def few(case: tuple, most: int = 3) -> tuple:
    """With ``most`` of its cells and one that is none: a program takes the interpreter a while."""
    index = case[3]
    spread = torch.linspace(0, max(0, len(index) - 1), min(most, len(index))).long()
    return *case[:3], torch.cat([index[spread], index.new_full((1,), -1)]), *case[4:]


def assert_equal(case: tuple) -> None:
    got, expected = gather(*case), reference.gather(*case)
    assert got.dtype == expected.dtype
    assert torch.equal(got, expected)


@given(cases(most=40))
@settings(max_examples=20)
def test_kernel_equals_reference(case: tuple) -> None:
    assert_equal(few(case))


@pytest.mark.slow
@given(cases(most=90))
@settings(max_examples=40)
def test_kernel_equals_reference_at_length(case: tuple) -> None:
    assert_equal(few(case, 8))


@pytest.mark.parametrize("step", [(1, 1), (2, 2), (1, 2), (1, 4)])
@pytest.mark.parametrize("first_pass", ["horizontal", "pillow13"])
def test_every_subsampling_and_order(step: tuple[int, int], first_pass: str) -> None:
    """Tall frames: here Pillow 13 goes down first."""
    spec = make_spec((28, 28), 14, first_pass=first_pass)
    case = arguments(make_batch((110, 40), step, seed=3), spec)
    assert case[-1] == (first_pass == "pillow13")
    assert_equal(few(case, 1))


def test_surfaces_of_a_decoder_are_read_in_place() -> None:
    """NV12: Cb and Cr share a plane. P010: ten bits in the high ones of sixteen."""
    spec = make_spec((28, 42), 14)
    for bits in (8, 10):
        batch = make_batch((64, 96), bit_depth=bits, seed=bits)
        case = list(few(arguments(batch, spec, seed=bits), 2))
        expected = reference.gather(*case)
        y, cb, cr = case[:3]
        if bits == 10:
            y, cb, cr = ((plane.int() << 6).to(torch.uint16) for plane in (y, cb, cr))
            case[8] = 16
        surface = torch.stack([cb, cr], -1)  # [T, H'', W'', 2]
        case[:3] = y, *surface.unbind(-1)
        assert torch.equal(gather(*case), expected)


def test_cells_wider_than_a_block() -> None:
    """70 pixels are three blocks of 32 a side."""
    assert_equal(few(arguments(make_batch((90, 100)), make_spec((140, 70), 35, merge=2)), 1))


@pytest.mark.parametrize("options", [{"OUTER": 64}, {"INNER": 64}, {"OUTER": 64, "INNER": 128}])
def test_the_size_of_tiles_does_not_matter(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, int]
) -> None:
    run = Launch.run

    def changed(launch: Launch, *rest: Any) -> None:
        run(launch._replace(options={**launch.options, **options}), *rest)

    monkeypatch.setattr(Launch, "run", changed)
    assert_equal(few(arguments(make_batch((110, 140)), make_spec((28, 28), 14)), 1))


def test_no_cells_and_no_frames() -> None:
    spec = make_spec((28, 28), 14)
    assert gather(*arguments(make_batch((30, 40)), spec, "none")).shape == (0, 588)
    empty = arguments(make_batch((30, 40), frames=0), spec, "none", seed=2)
    assert torch.equal(gather(*empty), torch.zeros(2, 588))


def test_an_index_beyond_the_last_cell_gives_nan() -> None:
    case = list(arguments(make_batch((30, 40)), make_spec((28, 28), 14), dtype=torch.bfloat16))
    case[3] = torch.tensor([4, 3, -1])
    rows = gather(*case)
    assert rows[0].isnan().all()
    assert torch.equal(rows[1:], reference.gather(*case[:3], case[3][1:], *case[4:]))


def test_tables_that_point_elsewhere_read_within_the_picture() -> None:
    """Garbage in, but no sample of another's memory: a plane's neighbours do not matter."""
    case = list(few(arguments(make_batch((30, 40), margin=5), make_spec((28, 28), 14)), 2))
    case[4] = case[4].clone()
    case[4][0, 0], case[4][1, 0] = 1000, -7
    once = gather(*case)
    for plane in case[:3]:
        edge = plane.clone()
        plane._base.zero_()  # type: ignore[union-attr]
        plane.copy_(edge)
    assert torch.equal(gather(*case), once)


def test_bad_input() -> None:
    case = list(arguments(make_batch((8, 8)), make_spec((4, 4), 2)))
    y, cb, index = case[0], case[1], case[3]
    changes: list[tuple[int, Any, str]] = [
        (0, y[0], r"planes: expected \[T, H, W\]"),
        (0, y[:, :0], "with pixels"),
        (0, y[:0], "do not belong together"),
        (0, y.to(torch.uint16), "expected uint8 planes of 8 bit"),
        (1, cb[:, :3], "do not belong together"),
        (3, index.int(), "index: expected int64, got torch.int32"),
        (3, index.to("meta"), "index is on meta, expected cpu"),
        (4, case[4].long(), "taps_x: expected"),
        (5, case[5][:, :1], "taps_y: expected"),
        (6, case[6][:5], r"matrix: expected \[6\], got \[5\]"),
        (6, None, "do not belong to y"),  # RGB planes have one size
        (7, case[7].double(), "levels: expected float32, float16 or bfloat16"),
        (8, 10, "uint16 planes of 9 to 16 bit"),
        (9, 3, "not whole cells"),
        (9, 0, r"expected each 1\.\.16384"),
        (10, 1 << 62, r"expected each 1\.\.16384"),
    ]
    for position, value, message in changes:
        broken = list(case)
        broken[position] = value
        with pytest.raises((TypeError, ValueError), match=message):
            gather(*broken)


def test_frames_too_large_for_32_bits_are_refused() -> None:
    case = list(arguments(make_batch((8, 8)), make_spec((4, 4), 2)))
    case[0] = torch.empty_strided((1, 8, 8), (1, 1 << 30, 1), dtype=torch.uint8, device="meta")
    with pytest.raises(ValueError, match="spans too much memory"):
        gather(*case)
