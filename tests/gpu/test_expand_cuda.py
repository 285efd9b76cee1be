"""Expand and its gradient on a GPU."""

import pytest
import torch
from expand_cases import cases
from hypothesis import given
from torch import Tensor

pytestmark = pytest.mark.needs_cuda

op = torch.ops.patchgate.expand


@given(cases())
def test_cuda_equals_the_cpu(case: tuple[Tensor, Tensor]) -> None:
    features, source = case
    got = op(features.cuda(), source.cuda()).cpu()
    assert got.dtype == features.dtype
    assert torch.equal(got, op(features, source))


def test_many_rows() -> None:
    features, source = torch.randn(1000, 1152).half(), torch.randint(0, 1000, (32, 27, 27))
    assert torch.equal(op(features.cuda(), source.cuda()).cpu(), op(features, source))


def test_a_source_that_is_no_token_passes_for_none() -> None:
    dense = op(torch.ones(2, 5, device="cuda"), torch.tensor([1, 2, -1], device="cuda"))
    assert dense[0].eq(1).all()
    assert dense[1:].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_gradient_is_that_of_the_cpu_and_the_same_every_time(dtype: torch.dtype) -> None:
    """Whole numbers: sums are exact in float32, whatever their order."""
    source = torch.randint(0, 50, (8, 27, 27))
    grad = torch.randint(-100, 100, (*source.shape, 300)).to(dtype)
    run = torch.ops.patchgate.expand_backward
    expected = run(grad, source, 60)
    assert torch.equal(run(grad.cuda(), source.cuda(), 60).cpu(), expected)
    noise = torch.randn(grad.shape, device="cuda").to(dtype)
    first, *others = (run(noise, source.cuda(), 60) for _ in range(5))
    assert all(torch.equal(first, other) for other in others)


def test_opcheck_and_gradcheck() -> None:
    source = torch.randint(0, 6, (2, 3, 4), device="cuda")
    features = torch.randn(6, 5, device="cuda", dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(op.default, (features, source))
    assert torch.autograd.gradcheck(lambda values: op(values, source), (features,))


def test_both_can_be_captured() -> None:
    features = torch.randn(40, 64, device="cuda")
    source = torch.randint(0, 40, (300,), device="cuda")
    for run, inputs in (
        (op, (features, source)),
        (torch.ops.patchgate.expand_backward, (features[source], source, 40)),
    ):
        expected = run(*inputs)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = run(*inputs)
        out.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(out, expected)


def test_tensors_of_two_devices_are_refused() -> None:
    features, source = torch.ones(2, 3), torch.tensor([0])
    with pytest.raises(ValueError, match="is on cpu, expected cuda:0"):
        op(features.cuda(), source)
