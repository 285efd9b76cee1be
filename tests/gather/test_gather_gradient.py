"""Gather's gradient with respect to the levels: that of plain torch's indexing."""

from collections.abc import Callable

import torch
from gather_cases import DTYPES, arguments, cases, make_batch, make_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchgate import reference

op = torch.ops.patchgate.gather


def gradient(run: Callable[..., Tensor], case: tuple, dtype: torch.dtype) -> Tensor:
    """Gradients of the levels, in dtype, for whole numbers as the gradient: sums are exact."""
    levels = case[7].to(dtype).requires_grad_()
    out = run(*case[:7], levels, *case[8:])
    grad = torch.randint(-100, 100, out.shape, generator=torch.Generator().manual_seed(0))
    return torch.autograd.grad(out, levels, grad.to(dtype))[0]


@given(cases(most=30), st.sampled_from(DTYPES))
@settings(max_examples=50)
def test_sums_in_float32_and_rounds_once(case: tuple, dtype: torch.dtype) -> None:
    exact = gradient(reference.gather, case, torch.float64)
    assert torch.equal(gradient(op, case, dtype), exact.to(dtype))


def test_opcheck() -> None:
    case = list(arguments(make_batch((33, 50), frames=2), make_spec((28, 56), 14), "half", seed=1))
    case[7] = case[7].requires_grad_()
    torch.library.opcheck(op.default, tuple(case))
