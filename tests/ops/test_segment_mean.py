"""segment_mean: the weighted mean of the rows of each segment, its gradients, and its GPU kernels
in Triton's interpreter.
"""

import importlib
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from segment_cases import DTYPES, Case, cases, check, make_case, op
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from patchgate import reference

backward = torch.ops.patchgate.segment_mean_backward


def interpreted() -> Any:
    """The Triton kernels, on the CPU through the interpreter (tests/conftest.py)."""
    return importlib.import_module("patchgate.kernels.segment_mean")


@given(cases())
def test_op_equals_reference(case: Case) -> None:
    if case.features.numel():
        check(case)
    else:
        assert torch.equal(op(*case), reference.segment_mean(*case))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [True, False])
def test_the_triton_kernel_equals_the_reference(dtype: torch.dtype, weighted: bool) -> None:
    for case in (make_case([3, 0, 1, 7], 70, weighted=weighted, spare=1), make_case([2], 1, 1)):
        check(case.to(dtype), interpreted().segment_mean)
    wide = make_case([2, 3], 1030, weighted=weighted)  # more than a piece
    check(wide.to(dtype), interpreted().segment_mean)
    strided = wide._replace(features=torch.randn(9, 2060)[:, ::2])
    check(strided.to(dtype), interpreted().segment_mean)


def test_a_mean_of_one_is_the_row_itself() -> None:
    for dtype in DTYPES:
        case = make_case([1, 1, 1], 33, 6).to(dtype)
        assert torch.equal(op(*case), case.features[case.index])


def test_sizes_that_overflow_float32_do_not() -> None:
    largest = torch.finfo(torch.float32).max
    features, weight = torch.tensor([[1.0], [3.0]]), torch.full((2,), largest)
    ends = torch.tensor([0, 2], dtype=torch.int32)
    for run in (op, reference.segment_mean, interpreted().segment_mean):
        assert run(features, weight, torch.arange(2), ends).item() == 2


def test_segments_of_no_rows_or_no_weight_are_zero() -> None:
    ends = torch.tensor([0, 0, 2], dtype=torch.int32)
    for run in (op, reference.segment_mean, interpreted().segment_mean):
        got = run(torch.ones(2, 3), torch.zeros(2), torch.arange(2), ends)
        assert torch.equal(got, torch.zeros(2, 3))
        assert run(torch.ones(2, 3), None, torch.arange(2), ends[:1]).shape == (0, 3)


def test_a_non_contiguous_input_is_read_in_its_own_order() -> None:
    case = make_case([3, 4], 6)
    turned = case._replace(features=case.features.T.contiguous().T)
    assert torch.equal(op(*turned), op(*case))


def test_the_triton_kernels_read_lists_of_any_stride() -> None:
    kernels, case = interpreted(), make_case([3, 0, 4], 6)
    assert case.weight is not None
    apart = case._replace(
        weight=case.weight.repeat_interleave(2)[::2],
        index=case.index.repeat_interleave(2)[::2],
        cu_segments=case.cu_segments.repeat_interleave(2)[::2],
    )
    out = kernels.segment_mean(*case)
    assert torch.equal(kernels.segment_mean(*apart), out)
    grad, out_apart = torch.randn_like(out), out.T.contiguous().T
    expected = kernels.segment_mean_backward(grad, *case, out)
    got = kernels.segment_mean_backward(grad, *apart, out_apart)
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("weighted", [True, False])
def test_gradients(weighted: bool) -> None:
    case = make_case([3, 0, 1, 5], 3, 6, weighted, spare=1).to(torch.float64)
    leaves = [x.requires_grad_() for x in case[:2] if x is not None]

    def run(*inputs: Tensor) -> Tensor:
        return op(inputs[0], inputs[1] if weighted else None, *case[2:])

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [True, False])
def test_the_triton_gradients_equal_those_of_the_op(dtype: torch.dtype, weighted: bool) -> None:
    for case in (make_case([3, 0, 1, 5], 20, 6, weighted), make_case([2, 3], 1030, 4, weighted)):
        case = case.to(dtype)
        out = op(*case)
        inputs = (torch.randn_like(out), *case, out)
        for mine, theirs in zip(
            interpreted().segment_mean_backward(*inputs), backward(*inputs), strict=True
        ):
            assert mine.dtype == theirs.dtype
            eps = 8 * torch.finfo(mine.dtype).eps
            torch.testing.assert_close(mine, theirs, rtol=eps, atol=eps * 40)


def test_second_gradients_are_refused() -> None:
    case = make_case([2, 3])
    features = case.features.requires_grad_()
    (slope,) = torch.autograd.grad(op(*case).square().sum(), features, create_graph=True)
    with pytest.raises(NotImplementedError, match="gradients of gradients"):
        slope.sum().backward()


def test_opcheck() -> None:
    for case in (make_case([3, 0, 4]), make_case([2], weighted=False), make_case([])):
        torch.library.opcheck(op.default, case)
        features = case.features.clone().requires_grad_()
        torch.library.opcheck(op.default, case._replace(features=features))
        out = op(*case).detach()
        torch.library.opcheck(backward.default, (torch.randn_like(out), *case, out))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_one_graph_for_all_sizes(backend: str) -> None:
    torch._dynamo.reset()
    graphs = CompileCounterWithBackend(backend)

    def pooled(*case: Tensor) -> Tensor:
        return op(*case) * 2

    compiled = torch.compile(pooled, backend=graphs, fullgraph=True, dynamic=True)
    compilations = []
    for lengths, width in (([2, 3], 7), ([4, 5, 6], 8), ([1, 9, 3, 4], 11)):
        case = make_case(lengths, width)
        case.features.requires_grad_()
        got = compiled(*case)
        assert torch.equal(got, pooled(*case))
        (slope,) = torch.autograd.grad(got.sum(), case.features)
        assert torch.equal(slope, torch.autograd.grad(pooled(*case).sum(), case.features)[0])
        compilations.append(graphs.frame_count)
    assert compilations == compilations[:1] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.randn(9)}, r"features: expected \[A, D\], got 1 dim"),
        ({"features": torch.ones(9, 5, dtype=torch.int32)}, "features: expected float32, float64"),
        ({"weight": torch.ones(9).double()}, "weight: expected float32, got float64"),
        ({"weight": torch.ones(8)}, "weight: 8 numbers, features has 9 rows"),
        ({"index": torch.arange(7) + 3}, "index: 9 at 6 is not one of the 9 rows"),
        ({"index": torch.arange(6)}, "cu_segments: expected numbers in 0..6, got 0..7"),
        ({"cu_segments": torch.tensor([0, 4, 3]).int()}, "ascending numbers, got 4 before 3 at 1"),
        ({"cu_segments": torch.tensor([]).int()}, "cu_segments: expected .G . 1., got no entry"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Tensor], message: str) -> None:
    case = make_case([3, 4])
    with pytest.raises(RuntimeError, match=message):
        op(*case._replace(**change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": torch.tensor([0, 1, 2, -1, 3, 4, 5])}, "index: -1 is not one of the 9 rows"),
        ({"index": torch.arange(7) + 3}, "index: 9 is not one of the 9 rows"),
        ({"cu_segments": torch.tensor([0, 3, 8]).int()}, r"cu_segments: .* in 0\.\.7"),
        ({"cu_segments": torch.tensor([0, 8, 7]).int()}, "cu_segments: expected ascending"),
        ({"cu_segments": torch.tensor([-1, 3, 7]).int()}, "cu_segments: expected ascending"),
        ({"weight": torch.ones(8)}, r"weight: expected \[9\], got \[8\]"),
    ],
)
def test_gradients_of_what_the_op_refuses_are_refused(
    change: dict[str, Tensor], message: str
) -> None:
    case = make_case([3, 4])
    out = op(*case)
    with pytest.raises(ValueError, match=message):
        backward(out, *case._replace(**change), out)


def test_gradients_of_another_shape_are_refused() -> None:
    case = make_case([3, 4])
    out = op(*case)
    for run in (backward, interpreted().segment_mean_backward):
        for grad, mean, message in (
            (out[1:], out, "grad: expected"), (out, out[:, 1:], "out: expected"),
            (out.double(), out, "grad: expected float32"),
        ):  # fmt: skip
            with pytest.raises((TypeError, ValueError), match=message):
                run(grad, *case, mean)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("value", [-1, 9, 2**62, -(2**63)])
def test_the_triton_kernels_reach_no_row_that_is_not_there(value: int, weighted: bool) -> None:
    kernels, case = interpreted(), make_case([3, 2, 4], weighted=weighted)
    expected, index = kernels.segment_mean(*case), case.index.clone()
    for place in (3, 4):  # the first of its segment, and another
        broken = case._replace(index=index.clone())
        broken.index[place] = value
        got = kernels.segment_mean(*broken)
        assert got[1].isnan().all()
        assert torch.equal(got[::2], expected[::2])
        of_features, _ = kernels.segment_mean_backward(torch.ones_like(got), *broken, got)
        kept = case._replace(index=index.clone())
        kept.index[place] = kept.index[7 - place]
        assert of_features.isfinite().all()
        assert of_features.sum() < 3 * 5 - 0.1  # what the stray row would have had is gone


@pytest.mark.parametrize("bad", [[-5, 3, 5, 9], [0, 3, 5, 2**31 - 1], [0, 9, 2, 9], [9, 9, 0, 0]])
def test_the_triton_kernels_reach_no_entry_that_is_not_there(bad: list[int]) -> None:
    kernels, case = interpreted(), make_case([3, 2, 4])
    ends = torch.tensor(bad, dtype=torch.int32)
    within = [case.index[max(0, a) : min(9, b)] for a, b in itertools.pairwise(bad)]
    got = kernels.segment_mean(*case._replace(cu_segments=ends))
    cut = torch.tensor([0, *(len(part) for part in within)]).cumsum(0).int()
    expected = kernels.segment_mean(*case._replace(index=torch.cat(within), cu_segments=cut))
    assert torch.equal(got, expected)


def test_the_triton_kernels_refuse_what_does_not_fit() -> None:
    run, case = interpreted().segment_mean, make_case([3, 4])
    for change, message in (
        ({"features": torch.randn(9)}, r"features: expected \[A, D\], got \[9\]"),
        ({"features": case.features.int()}, "features: expected float32, float64, .* torch.int32"),
        ({"weight": torch.ones(8)}, r"weight: expected \[9\], got \[8\]"),
        ({"index": case.index.int()}, "index: expected int64, got torch.int32"),
        ({"cu_segments": case.cu_segments[:0]}, r"cu_segments: expected \[G \+ 1\], got no entry"),
        ({"cu_segments": case.cu_segments.long()}, "cu_segments: expected int32, got torch.int64"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            run(*case._replace(**change))
