"""Grid, gate and compact in one CUDA graph, replayed over new frames: the CPU's results."""

from typing import Any

import pytest
import torch
from frame_grid_cases import arguments, make_batch
from gate_cases import CONFIG, copied, rules_for, state_for
from torch import Tensor

pytestmark = pytest.mark.needs_cuda

ops = torch.ops.patchgate
SIZE, FRAMES, CAPACITY, PUSHES = (28, 42), 4, 16, 5


def chain(planes: list[Tensor], rest: list[Any], state: tuple[Tensor, ...], rules: tuple) -> tuple:
    """Frames to the indices of their changed cells, and everything that the gate said."""
    small = ops.frame_grid(*planes, *rest)  # [T, 3, H, W]
    result = ops.gate(small[None, :, None], *state, None, *rules)
    return (*ops.compact(result[0], CAPACITY), *result)


def frames(push: int) -> tuple[list[Tensor], list[Any]]:
    """The inputs of one push: frames that stand still, but for a stripe that wanders. And the tap
    tables.
    """
    case = arguments(make_batch((61, 90), frames=1), SIZE)
    planes = [plane.expand(FRAMES, -1, -1).clone() for plane in case[:3]]
    for t in range(FRAMES):
        left = (push * FRAMES + t) * 4 % 80
        planes[0][t, :, left : left + 9] = 255
    return planes, list(case[3:])


def on_cuda(values: list[Any]) -> list[Any]:
    return [value.cuda() if isinstance(value, Tensor) else value for value in values]


@pytest.mark.parametrize(
    "rules", [{}, {"search_radius": 0, "scene_cut": None, "hysteresis": None, "noise": None}]
)
def test_a_captured_chain_replays_over_new_frames(rules: dict[str, Any]) -> None:
    config = CONFIG | {"patch": 14} | rules
    scalars = rules_for(config, 6)
    planes, rest = frames(0)
    state = state_for(torch.empty(1, FRAMES, 1, 3, *SIZE), 14, config["max_age"])
    there, rest_there = on_cuda(planes), on_cuda(rest)
    state_there = tuple(on_cuda(list(state)))
    fresh = copied(state_there)

    warm = torch.cuda.Stream()  # modules are loaded outside of the capture
    warm.wait_stream(torch.cuda.current_stream())  # the copy of the state is still to be made
    with torch.cuda.stream(warm):
        chain(there, rest_there, state_there, scalars)
    warm.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = chain(there, rest_there, state_there, scalars)
    for now, at_first in zip(state_there, fresh, strict=True):
        now.copy_(at_first)

    overflowed = []
    for push in range(PUSHES):
        planes, _ = frames(push)
        for static, new in zip(there, planes, strict=True):
            static.copy_(new)
        for each in captured:
            each.fill_(1)  # what a replay does not write will show
        graph.replay()
        expected = chain(planes, rest, state, scalars)
        for got, wanted in zip((*captured, *state_there), (*expected, *state), strict=True):
            assert torch.equal(got.cpu(), wanted)
        overflowed.append(int(expected[2]) > CAPACITY)
    assert any(overflowed)  # the capacity was too small now and then,
    assert not all(overflowed)  # and the count said when


def test_a_graph_keeps_its_shape() -> None:
    static = frames(0)[0][0].cuda()
    with pytest.raises(RuntimeError, match="must match"):
        static.copy_(torch.zeros(FRAMES, 62, 90, dtype=torch.uint8))
