"""nearest_token: of each token's candidates, the one most like it."""

import importlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from merge_cases import Choice, make_choice

from patchgate import reference

op = torch.ops.patchgate.nearest_token


@st.composite
def choices(draw: st.DrawFn) -> Choice:
    width = draw(st.sampled_from([0, 1, 15, 33, 300, 700]))
    return make_choice(
        draw(st.integers(1, 20)), width, draw(st.integers(0, 12)), draw(st.integers(0, 40))
    )


@given(choices())
def test_op_equals_reference(choice: Choice) -> None:
    (nearest, distance), (expected, exact) = op(*choice), reference.nearest_token(*choice)
    assert torch.equal(nearest, expected)
    torch.testing.assert_close(distance, exact, rtol=1e-6, atol=0)


def interpreted(*choice: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The Triton kernel, on the CPU through the interpreter (tests/conftest.py)."""
    return importlib.import_module("patchgate.kernels.nearest_token").nearest_token(*choice)


@pytest.mark.parametrize("width", [1, 33, 700])
def test_the_triton_kernel_equals_the_reference(width: int) -> None:
    choice = make_choice(20, width, 9, 40)
    (nearest, distance), (expected, exact) = interpreted(*choice), reference.nearest_token(*choice)
    assert torch.equal(nearest, expected)
    torch.testing.assert_close(distance, exact, rtol=1e-5, atol=0)
    twins = choice._replace(features=choice.features[torch.arange(20) % 5])
    assert torch.equal(interpreted(*twins)[0], reference.nearest_token(*twins)[0])
    nobody = choice._replace(candidate=torch.full((40,), -1))
    assert interpreted(*nobody)[0].tolist() == [-1] * 9
    assert interpreted(*nobody)[1].tolist() == [torch.inf] * 9


def test_the_triton_kernel_reads_nothing_that_is_not_there() -> None:
    choice = make_choice(20, 33, 9, 40)
    choice.begin[:], choice.end[:] = 0, 40
    expected = interpreted(*choice)
    for name, place, value in (
        ("query", 2, 20), ("query", 2, -1), ("query", 2, 2**62), ("begin", 2, -1),
        ("begin", 2, -(2**62)), ("end", 2, 41), ("end", 2, 2**62),
    ):  # fmt: skip
        broken = choice._replace(**{name: getattr(choice, name).clone()})
        getattr(broken, name)[place] = value
        nearest, distance = interpreted(*broken)
        assert nearest[place] == -1
        assert distance[place].isnan()
        others = torch.arange(9) != place
        assert torch.equal(nearest[others], expected[0][others])
        assert torch.equal(distance[others], expected[1][others])
    for value in (20, 2**62):
        stray = choice._replace(candidate=choice.candidate.clone())
        stray.candidate[7] = value
        nearest, distance = interpreted(*stray)
        assert nearest.tolist() == [-1] * 9
        assert distance.isnan().all()


def test_the_triton_kernel_refuses_what_does_not_fit() -> None:
    choice = make_choice(20, 33, 9, 40)
    for change, message in (
        ({"features": choice.features.double()}, "features: expected float32, got torch.float64"),
        ({"features": choice.features[0]}, r"features: expected \[K, D\], got \[33\]"),
        ({"query": choice.query.int()}, "query: expected int64, got torch.int32"),
        ({"begin": choice.begin[1:]}, r"begin: expected \[9\], got \[8\]"),
        ({"end": choice.end[None]}, r"end: expected \[9\], got \[1, 9\]"),
        ({"candidate": choice.candidate.to("meta")}, "candidate is on meta, expected cpu"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            interpreted(*choice._replace(**change))


@given(st.integers(0, 1000), st.sampled_from([3, 500]))
def test_of_equals_the_first_is_taken(seed: int, width: int) -> None:
    torch.manual_seed(seed)
    features = torch.randn(3, width)[torch.randint(0, 3, (30,))]  # three looks, ten times each
    candidate = torch.randperm(30)
    ends = torch.zeros(30).long(), torch.full((30,), 30)
    choice = Choice(features, torch.arange(30), candidate, *ends)
    nearest, distance = op(*choice)
    assert torch.equal(nearest, reference.nearest_token(*choice)[0])
    same = (features[:, None] == features).all(2).fill_diagonal_(False)
    for q in same.any(1).nonzero().flatten().tolist():
        assert int(nearest[q]) == next(c for c in candidate.tolist() if same[q, c])
        assert distance[q] == 0


def test_without_candidates_there_is_none() -> None:
    nobody = torch.tensor([-1, 2, 2])  # none, and the query itself
    begin, end = torch.tensor([0, 0, 3]), torch.tensor([1, 3, 3])
    nearest, distance = op(torch.randn(3, 4), torch.tensor([0, 2, 1]), nobody, begin, end)
    assert nearest.tolist() == [-1, -1, -1]
    assert distance.tolist() == [torch.inf] * 3


def test_many_queries_are_shared_out_among_threads() -> None:
    choice = make_choice(500, 64, 3000, 200)
    nearest, _ = op(*choice)
    few = torch.arange(0, 3000, 100)
    some = choice._replace(query=choice.query[few], begin=choice.begin[few], end=choice.end[few])
    assert torch.equal(nearest[few], reference.nearest_token(*some)[0])


def test_opcheck() -> None:
    torch.library.opcheck(op.default, make_choice(9, 20, 5, 30))
    torch.library.opcheck(op.default, make_choice(9, 20, 0, 0))


def test_a_non_contiguous_table_is_read_in_its_own_order() -> None:
    choice = make_choice(9, 20, 5, 30)
    turned = choice._replace(features=choice.features.T.contiguous().T)
    assert torch.equal(op(*turned)[0], op(*choice)[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.randn(9, 20).double()}, "features: expected float32, got float64"),
        ({"candidate": torch.full((30,), 9)}, "is not there"),
        ({"query": torch.full((5,), 9)}, "is not there"),
        ({"end": torch.full((5,), 31)}, "is not there"),
        ({"end": torch.full((4,), 3)}, "expected one entry for each of the 5 queries"),
    ],
)
def test_bad_input_is_refused(change: dict[str, torch.Tensor], message: str) -> None:
    choice = make_choice(9, 20, 5, 30)
    whole = choice._replace(begin=torch.zeros(5).long(), end=torch.full((5,), 30))
    with pytest.raises(RuntimeError, match=message):
        op(*whole._replace(**change))
