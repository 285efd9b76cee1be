"""The gather on a GPU gives the CPU's bits, on random planes and on real ones."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from gather_cases import DTYPES, arguments, cases, make_batch, make_spec
from hypothesis import given, settings

from patchgate import open_video
from patchgate.gather import gather

pytestmark = pytest.mark.needs_cuda

op = torch.ops.patchgate.gather
CLIPS = [
    path
    for path in sorted((Path(__file__).parents[2] / "examples" / "clips").iterdir())
    if path.suffix in (".mkv", ".mp4")
]


def on_cuda(case: tuple) -> list:
    return [value.cuda() if isinstance(value, torch.Tensor) else value for value in case]


@given(cases())
@settings(max_examples=40)  # most are a kernel of their own: a second to compile
def test_cuda_equals_the_cpu_bit_for_bit(case: tuple) -> None:
    assert torch.equal(op(*on_cuda(case)).cpu(), op(*case))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bit_depth", [8, 10])
@pytest.mark.parametrize(("size", "patch"), [((224, 224), 16), ((378, 378), 14), ((728, 1288), 14)])
def test_whole_frames_equal_the_cpu(
    size: tuple[int, int], patch: int, bit_depth: int, dtype: torch.dtype
) -> None:
    batch = make_batch((1080, 1920), frames=3, bit_depth=bit_depth, matrix="bt709")
    case = arguments(batch, make_spec(size, patch), "half", dtype)
    assert torch.equal(op(*on_cuda(case)).cpu(), op(*case))


def test_surfaces_of_a_decoder_are_read_in_place() -> None:
    """NV12: Cb and Cr share a plane, rows are padded."""
    case = arguments(make_batch((134, 178), frames=2), make_spec((56, 56), 14))
    expected = op(*case)
    y, cb, cr, *rest = on_cuda(case)
    surface = torch.zeros(2, 3 * 67, 256, dtype=torch.uint8, device="cuda")
    surface[:, :134, :178] = y
    surface[:, 134:, 0:178:2], surface[:, 134:, 1:178:2] = cb, cr
    planes = surface[:, :134, :178], surface[:, 134:, 0:178:2], surface[:, 134:, 1:178:2]
    assert torch.equal(op(*planes, *rest).cpu(), expected)


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_real_frames_equal_the_cpu(clip: Path) -> None:
    spec = make_spec((378, 378), 14)
    with open_video(clip) as video:
        batch = next(iter(video))
    index = torch.arange(0, len(batch) * 27 * 27, 3)
    here = gather(batch, index, spec, torch.bfloat16)
    y, cb, cr = (plane.cuda() for plane in batch.planes)
    there = gather(
        dataclasses.replace(batch, planes=(y, cb, cr)), index.cuda(), spec, torch.bfloat16
    )
    assert torch.equal(there.cpu(), here)


def test_an_index_beyond_the_last_cell_gives_nan() -> None:
    case = on_cuda(arguments(make_batch((30, 40)), make_spec((28, 28), 14)))
    case[3] = torch.tensor([4, 3, -1], device="cuda")
    rows = op(*case)
    assert rows[0].isnan().all()
    assert rows[1:].isfinite().all()
    assert rows[2].eq(0).all()


def test_opcheck() -> None:
    case = on_cuda(arguments(make_batch((33, 50), frames=2), make_spec((28, 56), 14), "half"))
    torch.library.opcheck(op.default, tuple(case))


def test_it_runs_on_the_current_stream_and_can_be_captured() -> None:
    case = on_cuda(arguments(make_batch((144, 176), frames=2), make_spec((56, 56), 14)))
    expected = op(*case)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = op(*case)
    out.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, expected)


def test_tensors_of_two_devices_are_refused() -> None:
    case = arguments(make_batch((33, 50)), make_spec((28, 56), 14))
    for position in (1, 3, 4, 6, 7):
        mixed: list[Any] = on_cuda(case)
        mixed[position] = case[position]
        with pytest.raises(ValueError, match="is on cpu, expected cuda:0"):
            op(*mixed)
