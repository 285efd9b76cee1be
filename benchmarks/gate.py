"""The motion gate on the CPU: pytest benchmarks/gate.py

Frames of 378 x 378 in cells of 14 pixels, three planes, resident in memory.
"""

import pytest
import torch
from gpu.gate import flicker, noise, still
from peers import rlt
from torch import Tensor

import patchgate

FRAMES, SIDE, PATCH = 64, 378, 14  # as gpu.gate has them


def normalised(frames: Tensor) -> Tensor:
    """As SigLIP's processor leaves them: what RLT compares."""
    return frames.float() / 127.5 - 1


def warmed_gate(frames: Tensor, **settings: object) -> patchgate.Gate:
    """A gate that has seen the first frame."""
    gate = patchgate.Gate(**settings)  # type: ignore[arg-type]
    gate.push(frames[:1])
    return gate


def push(benchmark, frames: Tensor, **settings: object) -> None:
    gate = warmed_gate(frames, **settings)
    benchmark(gate.push, frames)
    benchmark.extra_info["frames"] = len(frames)


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.benchmark(group="gate: still")
@pytest.mark.parametrize("radius", [0, 8])
def test_still(benchmark, radius):
    push(benchmark, still(FRAMES), search_radius=radius)


@pytest.mark.benchmark(group="gate: still")
def test_still_rlt(benchmark):
    frames = normalised(still(FRAMES))
    benchmark(rlt.keep_mask, frames, PATCH)
    benchmark.extra_info["frames"] = FRAMES


@pytest.mark.benchmark(group="gate: every cell searches")
@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
def test_noise(benchmark, on_motion):
    push(benchmark, noise(16), on_motion=on_motion, scene_cut=None)


@pytest.mark.benchmark(group="gate: every cell searches")
@pytest.mark.parametrize("precision", [2, 4])
def test_noise_to_a_fraction_of_a_pixel(benchmark, precision):
    push(benchmark, noise(16), motion_precision=precision, scene_cut=None)


@pytest.mark.benchmark(group="gate: 10 % of the cells change")
@pytest.mark.parametrize("radius", [0, 8])
def test_flicker(benchmark, radius):
    push(benchmark, flicker(FRAMES, 0.1), search_radius=radius)
