"""Gradients of residual_attention in Triton, in its interpreter: against those of plain torch."""

import math

import pytest
import torch
from attention_cases import DTYPES, Case, cases, error, make_case
from hypothesis import given, settings
from interpreted import interpreted
from torch import Tensor

from patchgate import reference
from patchgate.kernels.residual_attention_backward import residual_attention_backward

pytestmark = interpreted
dtypes = pytest.mark.parametrize("dtype", DTYPES)
ways = pytest.mark.parametrize("deterministic", [False, True])


def plain(case: Case, grad_out: Tensor, grad_lse: Tensor) -> tuple[Tensor, ...]:
    """By autograd through the definition."""
    leaves = [x.detach().clone().requires_grad_() for x in case[:3]]
    bias = None if case.bias is None else case.bias.clone().requires_grad_()
    out, lse = reference.residual_attention(*leaves, *case[3:6], bias, case.scale)
    wanted = leaves if bias is None else [*leaves, bias]
    nothing = sum(leaf[:0].sum() for leaf in wanted)  # without frames both come from none of them
    out, lse = out + nothing, lse + nothing
    finite = lse.isfinite()
    grads = torch.autograd.grad([out, lse[finite]], wanted, [grad_out, grad_lse[finite]])
    return grads if bias is not None else (*grads, case.query.new_empty(0).float())


def check(case: Case, deterministic: bool) -> None:
    """At most twice as far from float64 as plain torch in the same dtype."""
    out, lse = reference.residual_attention(*case)
    grad_out, grad_lse = torch.randn(out.shape).to(out.dtype), torch.randn(lse.shape).to(lse.dtype)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    mine = residual_attention_backward(grad_out, grad_lse, *case, out, lse)
    theirs = plain(case, grad_out, grad_lse)
    exact = plain(case.to(torch.float64), grad_out.double(), grad_lse.double())
    for got, near, true in zip(mine, theirs, exact, strict=True):
        assert got.shape == near.shape
        assert got.dtype == near.dtype
        # Where plain torch happens to hit the exact result: some roundings of the largest number.
        largest = true.abs().max().item() if true.numel() else 0.0
        roundings = 100 if case.query.dtype == torch.float64 and got.dtype == torch.float64 else 8
        eps = max(torch.finfo(got.dtype).eps, torch.finfo(case.query.dtype).eps)
        assert error(got, true) <= max(2 * error(near, true), roundings * eps * max(1.0, largest))


@given(cases())
@settings(max_examples=20)
def test_gradients_are_as_exact_as_plain_torch(case: Case) -> None:
    if case.query.numel():
        check(case, deterministic=False)


@dtypes
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "width"),
    [
        ([3, 0, 5], [7, 3, 0], 2, 16),
        ([3, 70], [70, 33], 1, 72),
        ([20], [70], 1, 80),
        ([1], [1], 1, 1),
        ([9, 4], [20, 8], 2, 128),
        ([4] * 10, [4] * 10, 1, 24),
    ],
)
def test_sizes(
    queries: list[int],
    keys: list[int],
    heads: int,
    width: int,
    dtype: torch.dtype,
) -> None:
    for biased in (False, True):
        case = make_case(queries, keys, heads, width, rows=40, spare=2, biased=biased, dtype=dtype)
        check(case, deterministic=biased)


@ways
def test_rows_that_nothing_names_have_none(deterministic: bool) -> None:
    case = make_case([3], [5], rows=9, biased=False)._replace(key_index=torch.arange(5))
    out, lse = reference.residual_attention(*case)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    grads = residual_attention_backward(out, lse, *case, out, lse)
    for grad in grads[1:3]:
        assert grad[:5].abs().amin(0).sum() > 0
        assert not grad[5:].any()


@ways
def test_a_key_that_is_not_there_spoils_its_queries_only(deterministic: bool) -> None:
    case = make_case([3, 2], [6, 5], rows=9, biased=False)
    out, lse = reference.residual_attention(*case)
    case.key_index[2] = 99
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    grads = residual_attention_backward(out, lse, *case, out, lse)
    assert grads[0][:3].isnan().all()
    assert all(grad.isfinite().all() for grad in (grads[0][3:], *grads[1:]))


@pytest.mark.parametrize("case", [
    make_case([], [], spare=0), make_case([3, 2], [0, 0]), make_case([0], [4]),
    make_case([2], [3], 1, 0), make_case([2], [3], 0, 4),
])  # fmt: skip
@ways
def test_nothing_to_attend_to_is_no_gradient(case: Case, deterministic: bool) -> None:
    out, lse = reference.residual_attention(*case)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    grads = residual_attention_backward(out, torch.zeros_like(lse), *case, out, lse)
    for grad, like in zip(grads, (*case[:3], case.bias), strict=True):
        assert like is not None
        assert grad.shape == like.shape
        if case.query.shape[2]:
            assert not grad.any()


def test_non_contiguous_gradients_equal_contiguous_ones() -> None:
    case = make_case([9, 3], [20, 8], 2, 24, biased=False)
    out, lse = reference.residual_attention(*case)
    transposed = torch.randn(12, 24, 2).transpose(1, 2)  # copied
    expanded = torch.randn(1, 1, 24).expand(12, 2, -1)  # of a sum
    for grad in (transposed, expanded, torch.randn(12, 3, 2, 24)[:, 1]):
        pair = [
            residual_attention_backward(each, lse, *case, out, lse)
            for each in (grad, grad.contiguous())
        ]
        assert all(map(torch.equal, *pair))


def test_bad_input_is_refused() -> None:
    case = make_case([2, 3], [4, 5], rows=6)
    out, lse = reference.residual_attention(*case)
    wrong = [
        ((out[1:], lse, *case, out, lse), r"grad_out: expected \[5, 2, 16\], got \[4, 2, 16\]"),
        ((out.double(), lse, *case, out, lse), "grad_out: expected float32, got torch.float64"),
        ((out, lse[1:], *case, out, lse), r"grad_lse: expected \[5, 2\], got \[4, 2\]"),
        ((out, lse, *case, out, lse.double()), "lse: expected float32, got torch.float64"),
        ((out, lse, *case[:-1], math.nan, out.to("meta"), lse), "out is on meta, expected cpu"),
    ]
    for arguments, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            residual_attention_backward(*arguments)


def test_it_is_registered() -> None:
    registered = torch._C._dispatch_has_kernel_for_dispatch_key
    assert registered("patchgate::residual_attention_backward", "CUDA")
