"""segment_mean: the weighted mean of the rows of each segment, its gradients, and its GPU kernels
in Triton's interpreter.
"""

import importlib
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from patchgate import reference

op = torch.ops.patchgate.segment_mean
backward = torch.ops.patchgate.segment_mean_backward
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Case(NamedTuple):
    features: Tensor  # [A, D]
    weight: Tensor | None  # [A]
    index: Tensor  # [L]
    cu_segments: Tensor  # [G + 1]

    def to(self, dtype: torch.dtype) -> "Case":
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        weight = None if self.weight is None else self.weight.to(wide)
        return Case(self.features.to(dtype), weight, self.index, self.cu_segments)


def make_case(
    lengths: list[int], width: int = 5, rows: int = 9, weighted: bool = True, spare: int = 0
) -> Case:
    """Random segments of so many rows; ``spare`` entries of the index at both ends name no row."""
    none = torch.full((spare,), -1)
    index = torch.cat([none, torch.randint(0, rows, (sum(lengths),)), none])
    ends = torch.tensor([0, *lengths]).cumsum(0).int() + spare
    weight = torch.randint(1, 9, (rows,)).float() if weighted else None
    return Case(torch.randn(rows, width), weight, index, ends)


def interpreted() -> Any:
    """The Triton kernels, on the CPU through the interpreter (tests/conftest.py)."""
    return importlib.import_module("patchgate.kernels.segment_mean")


def check(case: Case, run: Any = op) -> None:
    """At most twice as far from float64 as the plain torch computation in the same dtype."""
    got, plain = run(*case), reference.segment_mean(*case)
    exact = reference.segment_mean(*case.to(torch.float64))
    assert got.dtype == plain.dtype
    assert got.shape == plain.shape
    error, theirs = ((x.double() - exact).abs().max() if x.numel() else 0 for x in (got, plain))
    least = 4 * torch.finfo(got.dtype).eps * max(1.0, float(case.features.abs().max()))
    assert error <= max(2 * theirs, least)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    lengths = draw(st.lists(st.integers(0, 20), max_size=8))
    width, rows = draw(st.sampled_from([0, 1, 5, 600])), draw(st.integers(1, 12))
    case = make_case(lengths, width, rows, draw(st.booleans()), draw(st.integers(0, 2)))
    return case.to(draw(st.sampled_from(DTYPES)))


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
        ({"weight": torch.ones(9).double()}, "weight: unexpected dtype"),
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


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gpu_equals_the_cpu(dtype: torch.dtype) -> None:
    case = make_case([3, 0, 400, 7], 1152, 50).to(dtype)
    cuda = [x if x is None else x.cuda() for x in case]
    check(case, lambda *_: op(*cuda).cpu())
    out = op(*case)
    inputs = (torch.randn_like(out), *case, out)
    got = backward(*(x if x is None else x.cuda() for x in inputs))
    for mine, theirs in zip(got, backward(*inputs), strict=True):
        eps = 32 * torch.finfo(mine.dtype).eps
        torch.testing.assert_close(mine.cpu(), theirs, rtol=eps, atol=eps * 40)
