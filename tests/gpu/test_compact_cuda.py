"""compact on a GPU gives the CPU's numbers; it waits for nothing."""

import pytest
import torch
from compact_cases import cases, kinds
from hypothesis import given, settings
from torch import Tensor

pytestmark = pytest.mark.needs_cuda

op = torch.ops.patchgate.compact


def assert_equals_cpu(kind: Tensor, capacity: int) -> None:
    for got, expected in zip(op(kind.cuda(), capacity), op(kind, capacity), strict=True):
        assert got.is_cuda
        assert got.dtype == expected.dtype
        assert torch.equal(got.cpu(), expected)


@given(cases())
@settings(max_examples=200)
def test_it_equals_the_cpu(case: tuple[Tensor, int]) -> None:
    assert_equals_cpu(*case)


@pytest.mark.parametrize("shape", [(1024, 27, 27), (32, 77, 137), (1, 3000, 3000), (7, 64, 64)])
def test_thousands_of_tiles_equal_the_cpu(shape: tuple[int, ...]) -> None:
    kind = kinds(*shape)
    for capacity in (0, kind.numel() // 5, kind.numel() + 9999):
        assert_equals_cpu(kind, capacity)


def test_tiles_wait_for_each_other_in_every_order() -> None:
    kind = kinds(64, 200, 200, seed=1)
    for _ in range(50):
        assert_equals_cpu(kind, kind.numel())


def test_a_capacity_that_is_too_small_is_told_by_the_count() -> None:
    kind = torch.full((3, 2, 3), 2, dtype=torch.uint8, device="cuda")
    index, cu_seqlens, count = op(kind, 4)
    assert index.tolist() == [0, 1, 2, 3]
    assert cu_seqlens.tolist() == [0, 4, 4, 4]
    assert count.tolist() == [18]


def test_non_contiguous_and_unaligned_kinds() -> None:
    kind = kinds(5, 40, 70)
    assert torch.equal(op(kind.cuda().mT, 9000)[0].cpu(), op(kind.mT, 9000)[0])
    flat = kinds(1, 1, 9001).flatten().cuda()
    for start in (1, 3, 4, 8):
        view = flat[start : start + 8960].view(8, 32, 35)
        assert torch.equal(op(view, 8960)[0].cpu(), op(view.cpu(), 8960)[0])


def test_it_runs_on_the_current_stream_and_waits_for_nothing() -> None:
    kind = kinds(32, 27, 27).cuda()
    expected = op(kind, 9000)
    late, stream = torch.zeros_like(kind), torch.cuda.Stream()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)  # on another stream, the op would see zeros
            late.copy_(kind)
            got = op(late, 9000)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    stream.synchronize()
    assert all(map(torch.equal, got, expected))
