"""Frames cut anew into whole tubelets."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchgate.decode import Colour, FrameBatch
from patchgate.pipeline.tubelets import whole_tubelets


def batch(first: int, count: int, side: int = 4) -> FrameBatch:
    """Frames of which each shows its own number."""
    number = torch.arange(first, first + count)
    y = number.byte()[:, None, None].expand(count, side, side).contiguous()
    c = y[:, ::2, ::2].contiguous()
    times = number.double()
    return FrameBatch((y, c, c.clone()), times, times + 100, Colour(), number % 5 == 0)


def numbers(out: FrameBatch) -> list[int]:
    y, cb, cr = (plane[:, 0, 0] for plane in out.planes)
    assert torch.equal(y, cb)
    assert torch.equal(y, cr)
    assert torch.equal(y.double(), out.pts_seconds)
    assert torch.equal(out.pts_seconds + 100, out.duration_seconds)
    assert torch.equal(out.key_frame, y % 5 == 0)
    return y.tolist()


@given(st.lists(st.integers(1, 7), max_size=8), st.integers(1, 4))
def test_frames_stay_in_order_and_only_the_last_tubelet_is_short(counts, frames):
    starts = [sum(counts[:i]) for i in range(len(counts))]
    out = [*whole_tubelets(map(batch, starts, counts), frames)]
    assert [n for each in out for n in numbers(each)] == list(range(sum(counts)))
    assert all(len(each) % frames == 0 for each in out[:-1])


def test_even_batches_are_passed_on_without_a_copy():
    given = batch(0, 6)
    (out,) = whole_tubelets([given], 2)
    assert out.planes[0].data_ptr() == given.planes[0].data_ptr()


@pytest.mark.parametrize("frames", [2, 3])
def test_a_change_of_size_ends_a_tubelet(frames):
    out = [*whole_tubelets([batch(0, 4), batch(4, frames, 8)], frames)]
    counts = [4] if frames == 2 else [3, 1]
    assert [len(each) for each in out] == [*counts, frames]
