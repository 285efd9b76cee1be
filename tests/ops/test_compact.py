"""compact: the changed cells of every frame, packed into a buffer of fixed capacity."""

from bisect import bisect_left

import pytest
import torch
from compact_cases import cases, kinds
from hypothesis import given
from torch import Tensor

from patchgate import reference

op = torch.ops.patchgate.compact


@given(cases())
def test_op_equals_reference(case: tuple[Tensor, int]) -> None:
    for got, expected in zip(op(*case), reference.compact(*case), strict=True):
        assert got.dtype == expected.dtype
        assert torch.equal(got, expected)


@given(cases())
def test_it_is_the_list_of_changed_cells_cut_at_the_capacity(case: tuple[Tensor, int]) -> None:
    kind, capacity = case
    index, cu_seqlens, count = op(kind, capacity)
    flat = kind.flatten().tolist()
    changed = [i for i, value in enumerate(flat) if value == 2]
    cells = kind.shape[-2] * kind.shape[-1]
    frames = kind.shape[:-2].numel()
    before = [bisect_left(changed, t * cells) for t in range(frames + 1)]
    kept = changed[:capacity]
    assert count.tolist() == [len(changed)]  # overflow is never dropped in silence
    assert index.tolist() == kept + [-1] * (capacity - len(kept))
    assert cu_seqlens.tolist() == [min(n, capacity) for n in before]
    assert (index.dtype, cu_seqlens.dtype, count.dtype) == (torch.int64, torch.int32, torch.int64)


def test_an_overflow_in_mid_frame_is_told_by_the_count() -> None:
    kind = torch.tensor([[[2, 0, 2]], [[2, 2, 1]], [[2, 2, 2]]], dtype=torch.uint8)
    index, cu_seqlens, count = op(kind, 3)
    assert index.tolist() == [0, 2, 3]
    assert cu_seqlens.tolist() == [0, 2, 3, 3]
    assert count.tolist() == [7]


def test_many_frames_are_counted_across_threads() -> None:
    kind = kinds(1000, 7, 9, seed=3)
    for got, expected in zip(op(kind, 20_000), reference.compact(kind, 20_000), strict=True):
        assert torch.equal(got, expected)


def test_a_non_contiguous_input_counts_in_its_own_order() -> None:
    kind = kinds(4, 6, 5).transpose(1, 2)
    assert not kind.is_contiguous()
    for got, expected in zip(op(kind, 120), op(kind.contiguous(), 120), strict=True):
        assert torch.equal(got, expected)


def test_opcheck() -> None:
    torch.library.opcheck(op.default, (kinds(3, 4, 5), 20))
    torch.library.opcheck(op.default, (kinds(2, 3, 4, 5), 200))
    torch.library.opcheck(op.default, (kinds(0, 4, 5), 0))


@pytest.mark.parametrize(
    ("kind", "capacity", "message"),
    [
        (kinds(3, 4, 5).int(), 9, "kind must be uint8"),
        (kinds(5), 9, r"kind must be \[..., h, w\], got 1 dimensions"),
        (kinds(3, 4, 5), -1, r"capacity -1 must be 0..2\^31-1"),
        (kinds(3, 4, 5), 2**31, "capacity 2147483648 must be"),
    ],
)
def test_bad_input_is_refused(kind: Tensor, capacity: int, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        op(kind, capacity)
