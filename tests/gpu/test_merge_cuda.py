"""Merging on a GPU equals merging on the CPU."""

from dataclasses import replace

import pytest
import torch
from merge_cases import make_choice, pairs, random_tokens
from segment_cases import DTYPES, check, make_case

from patchgate import merge

ops = torch.ops.patchgate


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", DTYPES)
def test_segment_mean(dtype: torch.dtype) -> None:
    case = make_case([3, 0, 40, 7], 1152, 50).to(dtype)
    cuda = [x if x is None else x.cuda() for x in case]
    check(case, lambda *_: ops.segment_mean(*cuda).cpu())
    out = ops.segment_mean(*case)
    inputs = (torch.randn_like(out), *case, out)
    got = ops.segment_mean_backward(*(x if x is None else x.cuda() for x in inputs))
    for mine, theirs in zip(got, ops.segment_mean_backward(*inputs), strict=True):
        eps = 32 * torch.finfo(mine.dtype).eps
        torch.testing.assert_close(mine.cpu(), theirs, rtol=eps, atol=eps * 40)


@pytest.mark.needs_cuda
def test_nearest_token() -> None:
    choice = make_choice(500, 1152, 300, 2000)
    nearest, distance = ops.nearest_token(*(x.cuda() for x in choice))
    expected, exact = ops.nearest_token(*choice)
    assert torch.equal(nearest.cpu(), expected)
    torch.testing.assert_close(distance.cpu(), exact, rtol=1e-5, atol=0)


@pytest.mark.needs_cuda
def test_row_distance() -> None:
    case = pairs(300, 200, 1152, 10_000)
    got = ops.row_distance(*(x.cuda() for x in case)).cpu()
    torch.testing.assert_close(got, ops.row_distance(*case), rtol=1e-5, atol=1e-5)


@pytest.mark.needs_cuda
@pytest.mark.parametrize("settings", [{"budget": 40}, {"budget": 5, "similar": True}], ids=str)
def test_merge(settings) -> None:
    tokens = random_tokens()
    on_gpu = merge(replace(tokens, features=tokens.features.cuda()), **settings)
    merged = merge(tokens, **settings)
    assert on_gpu.features.is_cuda
    assert torch.equal(on_gpu.source, merged.source)
    torch.testing.assert_close(on_gpu.features.cpu(), merged.features, rtol=1e-5, atol=1e-5)
