"""The frame grid's CUDA kernel, its source run thread by thread on the CPU: the CPU op's bits."""

import pytest
import torch
from frame_grid_cases import arguments, cases, make_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

module = pytest.importorskip("patchgate._tested", reason="built only beside the sources")

op = torch.ops.patchgate.frame_grid


def interleaved(case: tuple) -> tuple:
    """Cb and Cr as every second sample of one plane, as NV12 and P010 have them."""
    y, cb, cr, *rest = case
    pairs = torch.stack([cb.int(), cr.int()], -1).to(cb.dtype)  # [T, H'', W'', 2]
    return y, pairs[..., 0], pairs[..., 1], *rest


def in_high_bits(case: tuple) -> tuple:
    """The same values where P010 has them; 16 bit then rounds them alike."""
    *rest, bit_depth = case
    planes = [(plane.int() << (16 - bit_depth)).to(plane.dtype) for plane in rest[:3]]
    return *planes, *rest[3:], 16


def assert_equals_cpu(
    case: tuple, room: int = -1, seed: int = 0, like: tuple | None = None
) -> None:
    """The kernel on ``case`` gives what the op gives, on ``like`` if it cannot take those."""
    arrays = [value.numpy() if isinstance(value, Tensor) else value for value in case]
    got = module.frame_grid(*arrays, room=room, blocks=5, seed=seed)
    assert torch.equal(torch.from_numpy(got), op(*(case if like is None else like)))


@given(cases(), st.booleans(), st.sampled_from([-1, -1, 0, 7]), st.integers(0, 9))
@settings(max_examples=100)
def test_it_equals_the_cpu(case: tuple, nv12: bool, room: int, seed: int) -> None:
    if case[0].shape[0] == 0:
        return  # the op launches nothing
    assert_equals_cpu(interleaved(case) if nv12 else case, room, seed, like=case)


@pytest.mark.parametrize("bit_depth", [9, 10, 12])
@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_values_in_the_high_bits(bit_depth: int, fit: str) -> None:
    case = arguments(make_batch((45, 62), bit_depth=bit_depth, frames=2), (28, 28), fit)
    assert_equals_cpu(interleaved(in_high_bits(case)), like=case)


@pytest.mark.parametrize(
    ("luma", "size"),
    [
        ((270, 480), (94, 94)),  # as 1080p to 378: 11 and 7 taps
        ((480, 641), (70, 130)),  # 5 pixels a row too many for words, 15 taps
        ((300, 1500), (28, 70)),  # 43 taps across, more than are kept in registers
        ((2160, 64), (16, 140)),  # 270 taps down: rows that do not fit
        ((3, 3), (40, 150)),
        ((98, 98), (98, 98)),
    ],
)
def test_it_equals_the_cpu_on_larger_sizes(luma: tuple[int, int], size: tuple[int, int]) -> None:
    case = arguments(make_batch(luma, margin=3), size)
    assert_equals_cpu(case)
    assert_equals_cpu(interleaved(case), like=case)


@pytest.mark.parametrize("room", [-1, 0])
@pytest.mark.parametrize("value", [-(2**31), -2, 29, 40, 2**31 - 1])
@pytest.mark.parametrize("table", [3, 4, 5, 6])
def test_whatever_the_tables_say_only_the_planes_are_read(
    table: int, value: int, room: int
) -> None:
    """Negative taps are outside the picture, others are moved into the plane: the op on the CPU,
    which can look first, refuses all of these.
    """
    case = arguments(make_batch((30, 30), step=(1, 1)), (14, 14))
    broken = [arg.clone() if isinstance(arg, Tensor) else arg for arg in case]
    broken[table][3, 0] = value
    with pytest.raises(RuntimeError, match="taps outside the plane"):
        op(*broken)
    moved = [arg.clone() if isinstance(arg, Tensor) else arg for arg in case]
    last = 30 - (case[table].shape[1] - 1)
    moved[table][3, 0] = -1 if value < 0 else min(value, last)
    for make in (tuple, interleaved):
        assert_equals_cpu(make(broken), room, like=tuple(moved))


def test_tables_of_more_taps_than_there_are_samples_read_nothing() -> None:
    case = list(arguments(make_batch((30, 30), step=(1, 1)), (14, 14)))
    none = [arg.clone() if isinstance(arg, Tensor) else arg for arg in case]
    case[3] = torch.cat([case[3], torch.zeros(14, 40, dtype=torch.int32)], 1)
    none[3][:, 0] = -1
    assert_equals_cpu(tuple(case), like=tuple(none))
