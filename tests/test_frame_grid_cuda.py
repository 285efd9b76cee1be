"""The frame grid on a GPU gives the CPU's bits."""

import pytest
import torch
from hypothesis import given, settings
from test_frame_grid import arguments, cases, make_batch, op

pytestmark = pytest.mark.needs_cuda


def on_cuda(case: tuple) -> list:
    return [value.cuda() if isinstance(value, torch.Tensor) else value for value in case]


@given(cases())
@settings(max_examples=100)
def test_cuda_equals_the_cpu_bit_for_bit(case: tuple) -> None:
    assert torch.equal(op(*on_cuda(case)).cpu(), op(*case))


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("luma", [(720, 1280), (1080, 1920), (49, 65)])
def test_whole_frames_equal_the_cpu(luma: tuple[int, int], bit_depth: int) -> None:
    case = arguments(make_batch(luma, frames=3, bit_depth=bit_depth), (378, 378))
    assert torch.equal(op(*on_cuda(case)).cpu(), op(*case))


def test_it_runs_on_the_current_stream_and_can_be_captured() -> None:
    case = on_cuda(arguments(make_batch((144, 176), frames=2), (56, 56)))
    expected = op(*case)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = op(*case)
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, expected)
