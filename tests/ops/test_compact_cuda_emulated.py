"""compact's CUDA kernel, its own source run thread by thread on the CPU: the CPU op's numbers."""

import pytest
import torch
from compact_cases import cases, kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

module = pytest.importorskip("patchgate._tested", reason="built only beside the sources")

op = torch.ops.patchgate.compact


def assert_equals_cpu(kind: Tensor, capacity: int, resident: int = 3, seed: int = 0) -> None:
    frames = kind.shape[:-2].numel()
    flat = kind.reshape(frames, kind.shape[-2] * kind.shape[-1]).contiguous().numpy()
    got = module.compact(flat, capacity, resident, seed)
    for a, b in zip(got, op(kind, capacity), strict=True):
        assert torch.equal(torch.from_numpy(a), b)


@given(cases(), st.integers(0, 9))
@settings(max_examples=60)
def test_it_equals_the_cpu(case: tuple[Tensor, int], seed: int) -> None:
    assert_equals_cpu(*case, seed=seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "shape", [(4096, 1, 1), (1, 64, 64), (1, 64, 65), (45, 27, 27), (3, 200, 301), (2, 0, 5)]
)
def test_tiles_learn_from_those_before_them(shape: tuple[int, ...], seed: int) -> None:
    """Up to 45 tiles at once: further back than a warp looks in one go."""
    kind = kinds(*shape, seed=seed)
    assert_equals_cpu(kind, kind.numel() // 2, resident=0, seed=seed)
    for capacity in (0, 5000, kind.numel(), kind.numel() + 3000):
        assert_equals_cpu(kind, capacity, seed=seed)


@pytest.mark.parametrize("start", [1, 3, 4, 8])
def test_kinds_at_any_address(start: int) -> None:
    kind = kinds(1, 9001).flatten()[start : start + 8 * 32 * 35].view(8, 32, 35)
    assert_equals_cpu(kind, 9000)
