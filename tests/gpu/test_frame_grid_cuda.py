"""The frame grid on a GPU gives the CPU's bits."""

import pytest
import torch
from frame_grid_cases import arguments, cases, make_batch, op
from hypothesis import given, settings

pytestmark = pytest.mark.needs_cuda


def on_cuda(case: tuple) -> list:
    return [value.cuda() if isinstance(value, torch.Tensor) else value for value in case]


@given(cases())
@settings(max_examples=100)
def test_cuda_equals_the_cpu_bit_for_bit(case: tuple) -> None:
    assert torch.equal(op(*on_cuda(case)).cpu(), op(*case))


def as_surface(case: tuple) -> list:
    """Luma and interleaved chroma in one piece of memory; 10 bit in the high bits: NV12 or P010."""
    y, cb, cr, *rest, bit_depth = case
    shift = 0 if bit_depth == 8 else 16 - bit_depth
    pairs = torch.stack([cb.int(), cr.int()], -1).flatten(2)  # [T, H'', 2 * W'']
    surface = torch.zeros(len(y), y.shape[1] + cb.shape[1], max(y.shape[2], pairs.shape[2]) + 5)
    surface[:, : y.shape[1], : y.shape[2]] = y.int() << shift
    surface[:, y.shape[1] :, : pairs.shape[2]] = pairs << shift
    there = surface.to(y.dtype).cuda()
    chroma = there[:, y.shape[1] :, : pairs.shape[2]]
    luma = there[:, : y.shape[1], : y.shape[2]]
    planes = [luma, chroma[..., 0::2], chroma[..., 1::2]]
    return [*planes, *on_cuda(rest), 8 if bit_depth == 8 else 16]


@given(cases())
@settings(max_examples=100)
def test_surfaces_are_read_where_they_lie(case: tuple) -> None:
    assert torch.equal(op(*as_surface(case)).cpu(), op(*case))


@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize("luma", [(720, 1280), (1080, 1920), (49, 65)])
def test_whole_frames_equal_the_cpu(luma: tuple[int, int], bit_depth: int) -> None:
    case = arguments(make_batch(luma, frames=3, bit_depth=bit_depth), (378, 378))
    assert torch.equal(op(*on_cuda(case)).cpu(), op(*case))
    assert torch.equal(op(*as_surface(case)).cpu(), op(*case))


@pytest.mark.parametrize("position", range(7))
def test_tensors_on_two_kinds_of_devices_are_refused(position: int) -> None:
    case = on_cuda(arguments(make_batch((49, 65)), (28, 28)))
    case[position] = case[position].cpu()
    with pytest.raises(RuntimeError, match="expected a CUDA tensor"):
        op(*case)


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
