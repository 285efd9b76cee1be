"""residual_attention: gradients, and what torch.compile makes of it."""

import math

import pytest
import torch
from attention_cases import DTYPES, Case, make_case, op
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from patchgate import reference

backward = torch.ops.patchgate.residual_attention_backward


def gradient_case() -> Case:
    """Repeated keys, a group without queries, one without keys, rows of no group."""
    case = make_case([3, 0, 1, 2], [4, 3, 0, 5], 2, 3, rows=6, spare=1, dtype=torch.float64)
    rows = [x.requires_grad_() for x in case[:3]]
    return Case(*rows, *case[3:])


def test_gradients() -> None:
    case = gradient_case()

    def finite(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        out, lse = op(query, key, value, *case[3:])
        return out, lse.masked_fill(lse == -math.inf, 0)

    assert torch.autograd.gradcheck(finite, case[:3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_equal_those_of_the_reference(dtype: torch.dtype) -> None:
    base = gradient_case().to(dtype)
    assert base.bias is not None
    grads = []
    for run in (op, reference.residual_attention):
        leaves = [x.detach().clone().requires_grad_() for x in (*base[:3], base.bias)]
        out, lse = run(*leaves[:3], *base[3:6], leaves[3], base.scale)
        weights = torch.linspace(-1, 1, out.numel()).view_as(out)
        loss = (out * weights).sum() + lse[lse.isfinite()].square().sum()
        grads.append(torch.autograd.grad(loss, leaves))
    eps = torch.finfo(dtype).eps
    for mine, theirs in zip(*grads, strict=True):
        assert mine.dtype == theirs.dtype
        least = max(eps, torch.finfo(torch.float32).eps if mine.dtype != torch.float64 else eps)
        torch.testing.assert_close(mine, theirs, rtol=20 * least, atol=20 * least)


def test_second_gradients_are_refused() -> None:
    case = gradient_case()
    (slope,) = torch.autograd.grad(op(*case)[0].sum(), case.query, create_graph=True)
    with pytest.raises(NotImplementedError, match="gradients of gradients"):
        slope.sum().backward()


def test_opcheck() -> None:
    torch.library.opcheck(op.default, gradient_case())
    torch.library.opcheck(op.default, make_case([3, 20], [30, 40], dtype=torch.bfloat16))
    torch.library.opcheck(op.default, make_case([2, 0], [0, 3], biased=False))
    torch.library.opcheck(op.default, make_case([], []))


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("trained", [False, True])
def test_one_graph_for_all_sizes(backend: str, trained: bool) -> None:
    torch._dynamo.reset()
    graphs = CompileCounterWithBackend(backend)

    def layer(*inputs: Tensor | float | None) -> Tensor:
        out, lse = op(*inputs)
        return out.sum((1, 2)) * 2 + lse.sum(1)

    compiled = torch.compile(layer, backend=graphs, fullgraph=True, dynamic=True)
    compilations = []
    for queries, keys in (([3, 4], [9, 8]), ([5, 6, 7], [10, 11, 12]), ([30, 2], [50, 40])):
        case = make_case(queries, keys)
        for x in case[:3]:
            x.requires_grad_(trained)
        got, expected = compiled(*case), layer(*case)
        torch.testing.assert_close(got, expected)
        if trained:
            mine = torch.autograd.grad(got.sum(), case[:3])
            torch.testing.assert_close(mine, torch.autograd.grad(expected.sum(), case[:3]))
        compilations.append(graphs.frame_count)
    assert compilations == compilations[:1] * 3


def test_gradients_of_what_the_op_refuses_are_refused() -> None:
    case = make_case([2, 3], [4, 5], rows=6)
    out, lse = op(*case)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"key_index": torch.tensor([-1] + [0] * 8)}, "key_index: -1 is not one of the 6 rows"),
        ({"key_index": torch.full((9,), 6)}, "key_index: 6 is not one of the 6 rows of key"),
        ({"cu_queries": torch.tensor([0, 2, 6]).int()}, r"cu_queries: .* in 0\.\.5"),
        ({"cu_queries": torch.tensor([-1, 2, 5]).int()}, r"cu_queries: .* in 0\.\.5"),
        ({"cu_keys": torch.tensor([0, 9, 4]).int()}, "cu_keys: expected ascending numbers"),
        ({"cu_keys": torch.tensor([0, 9]).int()}, r"cu_keys: expected \[3\], got \[2\]"),
        ({"value": case.value[1:]}, "value: 5 rows, key has 6"),
    ]
    for change, message in wrong:
        with pytest.raises(ValueError, match=message):
            backward(out, lse, *case._replace(**change), out, lse)
    for inputs, message in (
        ((out[1:], lse, *case, out, lse), r"grad_out: expected \[5, 2, 16\], got \[4, 2, 16\]"),
        ((out, lse.double(), *case, out, lse), "grad_lse: expected float32, got torch.float64"),
        ((out, lse, *case, out[..., 1:], lse), r"out: expected \[5, 2, 16\], got \[5, 2, 15\]"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            backward(*inputs)
