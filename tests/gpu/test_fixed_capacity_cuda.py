"""Grid, gate, compact and gather in one captured graph, replayed over new frames."""

from typing import Any

import pytest
import torch
from gather_cases import make_batch, make_spec
from torch import Tensor

from patchgate import grid
from patchgate.gate import GateSettings
from patchgate.gather.rows import colour_matrix, pixel_levels, tap_tables

pytestmark = pytest.mark.needs_cuda

ops = torch.ops.patchgate
PICTURE, SIDE, PATCH, FRAMES = (135, 241), 112, 14, 3
CELLS = SIDE // PATCH


def constants(device: torch.device) -> dict[str, Any]:
    """What does not change from chunk to chunk."""
    spec = make_spec((SIDE, SIDE), PATCH)
    chroma = (-(-PICTURE[0] // 2), -(-PICTURE[1] // 2))
    return {
        "grid": grid.tap_tables(PICTURE, chroma, spec.place(*PICTURE), device),
        "taps": tap_tables(PICTURE, spec, device),
        "matrix": colour_matrix("bt601", False, device),
        "levels": pixel_levels(spec, torch.float16, device),
        "rules": GateSettings(patch=PATCH, search_radius=4).op_rules(CELLS * CELLS),
    }


def new_state(device: torch.device) -> tuple[Tensor, ...]:
    return tuple(
        torch.zeros(shape, dtype=dtype, device=device)
        for shape, dtype in (
            ((1, 1, 3, SIDE, SIDE), torch.uint8),
            ((1, SIDE, SIDE), torch.int32),
            ((1, CELLS, CELLS), torch.int64),
            ((1, 2), torch.int64),
            ((1, 0), torch.int64),
            ((1, 15), torch.int32),
            ((1, 1, 3, 4, 0, CELLS), torch.int32),
        )
    )


def chain(
    planes: tuple[Tensor, Tensor, Tensor],
    state: tuple[Tensor, ...],
    capacity: int,
    fixed: dict[str, Any],
) -> tuple[Tensor, ...]:
    """-> rows [capacity, 3 * P * P], index [capacity], cu_seqlens [T + 1], count [1]."""
    small = ops.frame_grid(*planes, *fixed["grid"], False, 8)  # [T, 3, H, W]
    kind = ops.gate(small[None, :, None], *state, None, **fixed["rules"])[0]  # [1, T, h, w]
    index, cu_seqlens, count = ops.compact(kind, capacity)
    rows = ops.gather(
        *planes, index, *fixed["taps"], fixed["matrix"], fixed["levels"], 8, PATCH, 1, 1, False,
        False,
    )  # fmt: skip
    return rows, index, cu_seqlens, count


def chunks() -> list[tuple[Tensor, Tensor, Tensor]]:
    """A picture that stands still but for its corner, then another picture, then the first."""
    first, second = make_batch(PICTURE, seed=1).planes, make_batch(PICTURE, seed=2).planes
    made = []
    for still, other in ((first, second), (first, second), (second, first), (first, second)):
        planes = [plane.repeat(FRAMES, 1, 1) for plane in still]
        for plane, new in zip(planes, other, strict=True):
            rows, columns = plane.shape[1] // 3, plane.shape[2] // 3
            plane[1:, :rows, :columns] = new[:, :rows, :columns]
        made.append((planes[0], planes[1], planes[2]))
    return made


@pytest.mark.parametrize("capacity", [FRAMES * CELLS * CELLS, 20])
def test_a_captured_graph_replays_over_new_frames(capacity: int) -> None:
    """With room for every cell, and with too little: then the count tells."""
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    here, there = constants(cpu), constants(cuda)
    static = tuple(plane.cuda() for plane in chunks()[0])
    chain(static, new_state(cuda), capacity, there)  # compiles what is compiled on first use
    state = new_state(cuda)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = chain(static, state, capacity, there)
    for tensor in state:
        tensor.zero_()

    expected_state, counts = new_state(cpu), []
    for planes in chunks():
        for buffer, plane in zip(static, planes, strict=True):
            buffer.copy_(plane)
        graph.replay()
        expected = chain(planes, expected_state, capacity, here)
        for got, wanted in zip((*outputs, *state), (*expected, *expected_state), strict=True):
            assert torch.equal(got.cpu(), wanted)
        counts.append(int(expected[3]))
    assert counts[0] >= CELLS * CELLS > counts[1] > 0
    assert capacity > 20 or max(counts) > capacity
