"""Gated towers on a GPU: what the CPU computes, and those of fixed capacity in a captured graph."""

import math
from typing import Any

import pytest
import torch
from gated_cases import FAMILIES, MEAN, STD, N, camera, flicker, noise, normalised, tower
from gated_families import CASES
from torch import Tensor

import patchgate

pytestmark = pytest.mark.needs_cuda
both = pytest.mark.parametrize("family", FAMILIES)
clips = pytest.mark.parametrize("clip", [flicker, camera, noise])
OUTPUTS = ("last_hidden_state", "pooler_output")
CLOSE = {
    torch.float64: {"rtol": 0, "atol": 1e-9},
    torch.float32: {"rtol": 1e-3, "atol": 1e-3},  # features are about 1; three layers' rounding
}


@pytest.fixture(autouse=True)
def _no_grad():
    torch._dynamo.reset()
    with torch.no_grad():
        yield


def pair(family: str, dtype: torch.dtype, **settings: Any) -> tuple[Any, Any]:
    """The same tower on the CPU and on the GPU, gated."""
    return tuple(
        patchgate.gated(tower(family, dtype).to(device), mean=MEAN, std=STD, **settings)
        for device in ("cpu", "cuda")
    )


def assert_same(ours: Any, theirs: Any, dtype: torch.dtype) -> None:
    for name in OUTPUTS:
        torch.testing.assert_close(ours[name].cpu(), theirs[name], **CLOSE[dtype])


def test_tokens_say_on_the_cpu_where_they_are():
    host, device = pair("siglip", torch.float64, threshold=0, tolerance=0.05)
    x, pts = normalised(flicker(6)), torch.arange(6) / 30.0
    ours, theirs = device.tokens(x.cuda(), pts_seconds=pts), host.tokens(x, pts_seconds=pts)
    for name, expected in theirs.tensors().items():
        if name == "features":
            torch.testing.assert_close(ours.features.cpu(), expected, **CLOSE[torch.float64])
        else:
            assert torch.equal(ours.tensors()[name], expected), name
    assert ours.features.is_cuda
    assert ours.slice(0.05, 0.15).features.is_cuda


@both
@clips
@pytest.mark.parametrize("dtype", list(CLOSE))
@pytest.mark.parametrize(
    "settings",
    [
        {"context": "kept"},
        {"tolerance": math.inf, "moved": "lend"},
        {"tolerance": math.inf},
        {"tolerance": 0},
        {"tolerance": math.inf, "refresh": 3},
    ],
    ids=str,
)
def test_it_is_the_tower_of_the_cpu(family, clip, settings, dtype):
    here, there = pair(family, dtype, **settings)
    x = normalised(clip(9), dtype)
    assert_same(there(x.cuda()), here(x), dtype)
    assert there.last_work == here.last_work


@both
@clips
@pytest.mark.parametrize("tolerance", [0.05, 0.3])
def test_the_same_tokens_become_active(family, clip, tolerance):
    """In float64, where rounding makes no decision fall the other way."""
    here, there = pair(family, torch.float64, tolerance=tolerance)
    x = normalised(clip(9))
    assert_same(there(x.cuda()), here(x), torch.float64)
    assert there.last_work == here.last_work


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_error_is_that_of_the_dense_tower(family, dtype):
    """At most twice the dense tower's own error in this dtype on the GPU, against float64."""
    x = normalised(noise(4), dtype)
    exact, model = tower(family)(x.double()), tower(family, dtype).cuda()
    dense = model(x.cuda())
    for settings in ({}, {"capacity": 4 * N}, {"context": "kept"}):
        ours = patchgate.gated(model, mean=MEAN, std=STD, **settings)(x.cuda())
        for name in OUTPUTS:
            errors = [
                (each[name].cpu().double() - exact[name]).abs().max() for each in (ours, dense)
            ]
            assert errors[0] <= 2 * errors[1]


def test_a_stream_equals_the_clip():
    _, there = pair("siglip", torch.float64, tolerance=0.1)
    x = normalised(camera(9)).cuda()
    whole, stream = there(x).last_hidden_state, there.stream()
    pushed = torch.cat([stream(part).last_hidden_state for part in x.split([1, 4, 2, 2])])
    torch.testing.assert_close(pushed, whole, **CLOSE[torch.float64])


@both
@pytest.mark.parametrize("moved", ["own", "source"])
def test_pictures_that_return_are_those_of_the_cpu(family, moved):
    rules = {"memory": 2, "threshold": 0, "search_radius": None}
    here, there = pair(family, torch.float64, tolerance=0.05, moved=moved, **rules)
    a, b = noise(2).split(1)
    x = normalised(torch.cat([a, a, b, flicker(2), a, b, b, a]))
    assert_same(there(x.cuda()), here(x), torch.float64)
    assert there.last_work == here.last_work
    assert here.last_work.kept <= 3 * N + 3
    stream = there.stream()
    pushed = torch.cat([stream(part).last_hidden_state for part in x.cuda().split([1, 3, 4, 1])])
    torch.testing.assert_close(pushed.cpu(), here(x).last_hidden_state, **CLOSE[torch.float64])


@both
def test_a_tower_whose_gate_follows_the_light_is_that_of_the_cpu(family):
    here, there = pair(family, torch.float64, tolerance=0.05, illumination="global")
    gain = 1 - 0.02 * torch.arange(8).view(-1, 1, 1, 1)
    x = normalised((noise(1).double() * gain).round().byte())
    assert_same(there(x.cuda()), here(x), torch.float64)
    assert there.last_work == here.last_work
    assert here.last_work.kept == N


# Fixed capacity: captured.


def captured(fixed: Any, x: Tensor) -> tuple[torch.cuda.CUDAGraph, Any]:
    """A graph of the call over x, and what it writes its results to."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        fixed(x)  # kernels are compiled, libraries started
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = fixed(x)
    return graph, out


@pytest.mark.parametrize(
    "case", ["siglip", "clip", "dinov2", "dinov3", "vit", "internvl", "idefics3"]
)
@pytest.mark.parametrize(
    "settings",
    [
        {"context": "kept"},
        {"tolerance": math.inf, "moved": "lend"},
        {"tolerance": 0.1},
        {"tolerance": 0.1, "moved": "lend"},
    ],
    ids=str,
)
def test_a_captured_graph_replays_over_other_clips(case, settings):
    model = (tower(case) if case in FAMILIES else CASES[case]().model).cuda()
    fixed = patchgate.gated(model, mean=MEAN, std=STD, capacity=6 * N, **settings)
    static = normalised(noise(6)).cuda()
    graph, out = captured(fixed, static)
    for clip in (flicker(6), camera(6), noise(6, seed=7)):
        static.copy_(normalised(clip))
        graph.replay()
        fixed.check()
        expected = patchgate.gated(model, mean=MEAN, std=STD, **settings)(static)
        torch.testing.assert_close(
            out.last_hidden_state, expected.last_hidden_state, **CLOSE[torch.float64]
        )


@both
def test_a_captured_graph_counts_what_does_not_fit(family):
    model = tower(family).cuda()
    fixed = patchgate.gated(model, mean=MEAN, std=STD, capacity=2 * N)
    static = normalised(noise(1).expand(4, -1, -1, -1).contiguous()).cuda()
    graph, _ = captured(fixed, static)
    graph.replay()
    fixed.check()
    static.copy_(normalised(noise(4)))
    graph.replay()
    with pytest.raises(ValueError, match=rf"capacity: {2 * N} kept cells more"):
        fixed.check()


@both
@pytest.mark.parametrize("settings", [{"tolerance": math.inf, "moved": "lend"}, {}], ids=str)
def test_a_call_of_fixed_capacity_does_not_wait(family, settings):
    fixed = patchgate.gated(tower(family).cuda(), mean=MEAN, std=STD, capacity=4 * N, **settings)
    x = normalised(flicker(4)).cuda()
    fixed(x)
    torch.cuda.set_sync_debug_mode("error")
    try:
        fixed(x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
