"""Expand's Triton kernels against plain torch; here in the interpreter."""

import pytest
import torch
from expand_cases import cases
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from patchgate import reference

pytest.importorskip("triton")
from patchgate.kernels.expand import expand, expand_backward

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="test_expand_cuda.py instead")


@given(cases())
def test_kernel_equals_reference(case: tuple[Tensor, Tensor]) -> None:
    got, expected = expand(*case), reference.expand(*case)
    assert got.dtype == expected.dtype
    assert torch.equal(got, expected)


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64, torch.complex128])
def test_any_dtype_is_copied(dtype: torch.dtype) -> None:
    features, source = torch.randn(5, 200).to(dtype), torch.tensor([[4, 0], [4, 3]])
    assert torch.equal(expand(features, source), features[source])


def test_rows_longer_than_a_program() -> None:
    features, source = torch.randn(9, 300), torch.randint(0, 9, (70,))
    assert torch.equal(expand(features, source), features[source])


def test_non_contiguous_inputs() -> None:
    source = torch.randint(0, 20, (6, 5, 4)).transpose(0, 2)
    for features in (
        torch.randn(7, 20).t(),
        torch.randn(20, 9)[:, 2:5],
        torch.randn(7).expand(20, 7),
    ):
        assert torch.equal(expand(features, source), features[source])


def test_a_source_that_is_no_token_passes_for_none() -> None:
    source = torch.tensor([1, 2, -1])
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        dense = expand(torch.ones(2, 5, dtype=dtype), source)
        assert dense[0].eq(1).all()
        assert dense[1:].isnan().all()
    assert expand(torch.ones(2, 5, dtype=torch.int64), source)[1:].eq(-1).all()


@given(st.integers(0, 99), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_gradient_errs_no_more_than_torch(seed: int, dtype: torch.dtype) -> None:
    """At most twice the error of the same sum in this dtype; most often far less."""
    random = torch.Generator().manual_seed(seed)
    tokens, width = seed % 7 + 1, seed % 3 + 1
    source = torch.randint(0, tokens, (seed % 5, 13), generator=random)
    grad = torch.randn(*source.shape, width, generator=random).to(dtype)
    got = expand_backward(grad, source, tokens)
    plain, exact = (
        torch.zeros(tokens, width, dtype=each).index_add(
            0, source.flatten(), grad.reshape(-1, width).to(each)
        )
        for each in (dtype, torch.float64)
    )
    assert got.dtype == dtype
    # The last bit of a number of size 1 is given even where torch happens to make no error.
    allowed = 2 * (plain - exact).abs().max() + torch.finfo(dtype).eps * exact.abs().max()
    assert (got - exact).abs().max() <= allowed


def test_gradient_in_float64_is_exact_enough() -> None:
    source = torch.randint(0, 4, (6, 50))
    grad = torch.randn(6, 50, 130, dtype=torch.float64)
    expected = torch.zeros(4, 130, dtype=torch.float64).index_add(
        0, source.flatten(), grad.flatten(0, 1)
    )
    torch.testing.assert_close(expand_backward(grad, source, 4), expected)
    torch.testing.assert_close(torch.ops.patchgate.expand_backward(grad, source, 4), expected)


def test_gradient_of_nothing() -> None:
    none = torch.empty(0, 3, dtype=torch.int64)
    assert torch.equal(expand_backward(torch.empty(0, 3, 4), none, 2), torch.zeros(2, 4))
    assert expand_backward(torch.empty(0, 3, 4), none, 0).shape == (0, 4)
    assert expand_backward(torch.empty(2, 0), torch.tensor([0, 0]), 1).shape == (1, 0)


def test_sources_that_are_no_tokens_have_no_gradient() -> None:
    got = expand_backward(torch.ones(4, 2), torch.tensor([-1, 0, 0, 5]), 2)
    assert got.tolist() == [[2, 2], [0, 0]]


def test_bad_input() -> None:
    features, source = torch.ones(3, 4), torch.tensor([0, 2])
    with pytest.raises(ValueError, match=r"features: expected \[K, D\], got \[3\]"):
        expand(features[:, 0], source)
    with pytest.raises(TypeError, match=r"source: expected int64, got torch\.int32"):
        expand(features, source.int())
    with pytest.raises(ValueError, match="source is on meta, expected cpu"):
        expand(features, source.to("meta"))
    with pytest.raises(ValueError, match=r"grad: expected \[2, 'D'\], got \[3, 4\]"):
        expand_backward(features, source, 3)
    with pytest.raises(TypeError, match=r"grad: expected float32, .* got torch.int64"):
        expand_backward(features[:2].long(), source, 3)
    with pytest.raises(ValueError, match="tokens: expected at least 0, got -1"):
        expand_backward(features[:2], source, -1)
