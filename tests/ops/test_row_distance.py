"""row_distance: rows of one table against rows of another, pair by pair."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from merge_cases import pairs
from torch import Tensor

from patchgate import reference
from patchgate._ops.merge import row_distance_by_torch

op = torch.ops.patchgate.row_distance


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 1, 31, 300]), st.integers(0, 20))
def test_op_equals_reference(left: int, right: int, width: int, count: int) -> None:
    case = pairs(left, right, width, count)
    torch.testing.assert_close(op(*case), reference.row_distance(*case), rtol=1e-6, atol=0)


def test_a_row_is_at_no_distance_from_itself() -> None:
    rows, index = torch.randn(50, 700), torch.arange(50)
    assert torch.equal(op(rows, index, rows, index), torch.zeros(50))


def test_many_pairs_are_shared_out_among_threads() -> None:
    case = pairs(300, 200, 64, 5000)
    torch.testing.assert_close(op(*case), reference.row_distance(*case), rtol=1e-6, atol=0)


def test_a_non_contiguous_table_is_read_in_its_own_order() -> None:
    left, i, right, j = pairs(9, 7, 20, 5)
    assert torch.equal(op(left.T.contiguous().T, i, right, j), op(left, i, right, j))


def test_opcheck() -> None:
    torch.library.opcheck(op.default, pairs(9, 7, 20, 5))
    torch.library.opcheck(op.default, pairs(9, 7, 20, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((torch.randn(9, 20).double(), None, None, None), "left: expected float32, got float64"),
        ((None, torch.full((5,), 9), None, None), "names a row that is not there"),
        ((None, None, None, torch.full((5,), -1)), "names a row that is not there"),
        ((None, None, torch.randn(7, 21), None), "tables of one width"),
        ((None, torch.zeros(4).long(), None, None), "as many rows of each"),
    ],
)
def test_bad_input_is_refused(change: tuple[Tensor | None, ...], message: str) -> None:
    case = pairs(9, 7, 20, 5)
    with pytest.raises(RuntimeError, match=message):
        op(*(old if new is None else new for old, new in zip(case, change, strict=True)))


def test_on_a_gpu_a_row_that_is_not_there_is_at_a_distance_of_nan() -> None:
    """Plain torch, so that the CPU can run it: a look at the rows would have to wait for them."""
    left, i, right, j = pairs(9, 7, 20, 5)
    expected = row_distance_by_torch(left, i, right, j)
    torch.testing.assert_close(expected, op(left, i, right, j))
    i[0], i[1], j[2], j[4] = -1, 9, 2**62, -(2**63)
    got = row_distance_by_torch(left, i, right, j)
    assert got.isnan().tolist() == [True, True, True, False, True]
    assert got[3] == expected[3]
    assert row_distance_by_torch(left[:0], i, right, j).isnan().all()
    with pytest.raises(ValueError, match="right: expected rows of 20 features"):
        row_distance_by_torch(left, i, right[:, 1:], j)
