"""The gate on a GPU gives the CPU's bits, state included; it waits for nothing."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from gate_cases import APART, NAMES, STATE_NAMES, arguments, call, copied
from gate_videos import (
    any_map,
    any_video,
    drift,
    gate_settings,
    grids,
    noisy,
    pan,
    still,
    with_object,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchgate import Gate, open_video
from patchgate.encoders.run.together import together
from patchgate.gate import RETURNED
from patchgate.gate.step import GateStep

pytestmark = pytest.mark.needs_cuda

op = torch.ops.patchgate.gate
CLIPS = Path(__file__).parents[2] / "examples" / "clips"


def on_cuda(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.cuda() if isinstance(arg, Tensor) else arg for arg in args)


def assert_equals_cpu(args: tuple[Any, ...], pushes: int = 1) -> None:
    """Results and state after each of a few pushes; ``args`` are the op's, on the CPU."""
    state, there = copied(args[1:8]), on_cuda(args[1:8])
    rest = on_cuda(args[8:])
    for planes in args[0].tensor_split(pushes, 1):
        expected, got = op(planes, *state, *args[8:]), op(planes.cuda(), *there, *rest)
        for name, a, b in zip(
            NAMES + STATE_NAMES, (*got, *there), (*expected, *state), strict=True
        ):
            assert a.is_cuda, name
            assert torch.equal(a.cpu(), b), name


@given(st.data(), st.booleans())
@settings(max_examples=150)
def test_it_equals_the_cpu_in_every_setting(data: st.DataObject, apart: bool) -> None:
    config = data.draw(gate_settings(**(APART if apart else {})))
    config["motion_precision"] = data.draw(st.sampled_from([1, 2, 4]))
    h, w = data.draw(grids(config))
    p, c = config["patch"] * config["merge"], data.draw(st.sampled_from([1, 3]))
    seeds = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3))
    videos = [any_video((h * p, w * p), c, seed) for seed in seeds]
    videos += [drift((h * p, w * p), len(videos[0]), (1, -6), seeds[0], c)]
    factors = any_map(h, w, seeds[0]).double() if data.draw(st.booleans()) else None
    assert_equals_cpu(call(config, videos, factors), data.draw(st.integers(1, 3)))


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(
    ("patch", "merge", "sub_blocks", "radius"),
    [(14, 1, 2, 8), (16, 1, 2, 8), (14, 2, 2, 8), (16, 2, 2, 16), (1, 1, 1, 8), (13, 1, 1, 4),
     (14, 1, 1, 127), (100, 1, 2, 2), (256, 1, 2, 3), (256, 1, 256, 1)],
)  # fmt: skip
def test_it_equals_the_cpu_for_any_cell_side(
    patch: int, merge: int, sub_blocks: int, radius: int, f: int
) -> None:
    config = {"patch": patch, "merge": merge, "sub_blocks": sub_blocks, "search_radius": radius}
    config |= {"temporal_patch": f, "scene_cut": None, "noise": None}
    p = patch * merge
    videos = [any_video((2 * p, 3 * p), 3, seed)[: 3 * f] for seed in (0, 7)]
    assert_equals_cpu(call(config, videos), 2)
    assert_equals_cpu(call(config | APART, videos), 2)


@pytest.mark.parametrize("precision", [2, 4])
@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(
    ("patch", "merge", "sub_blocks", "radius"),
    [(8, 1, 2, 31), (14, 1, 2, 8), (16, 1, 2, 8), (14, 2, 2, 8), (16, 2, 2, 16), (13, 1, 1, 4),
     (1, 1, 1, 8), (7, 1, 7, 2), (100, 1, 2, 2), (256, 1, 2, 3)],
)  # fmt: skip
def test_fractions_of_a_pixel_equal_the_cpu_for_any_cell_side(
    patch: int, merge: int, sub_blocks: int, radius: int, f: int, precision: int
) -> None:
    config = {"patch": patch, "merge": merge, "sub_blocks": sub_blocks, "search_radius": radius}
    config |= {"temporal_patch": f, "scene_cut": None, "noise": None, "threshold": 9}
    size = (2 * patch * merge, 3 * patch * merge)
    videos = [drift(size, 3 * f, (3, -5), 1, 3), any_video(size, 3, 7)[: 3 * f]]
    assert_equals_cpu(call(config | {"motion_precision": precision}, videos), 2)


@pytest.mark.parametrize(
    "rules",
    [{}, APART, {"noise": None, "hysteresis": None}, {"noise": None, "motion_precision": 4}],
)
@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
def test_many_streams_of_real_size_equal_the_cpu(on_motion: str, rules: dict[str, Any]) -> None:
    """More blocks than fit on the device at once, still streams beside moving ones."""
    size = (378, 378)
    moving = noisy(with_object(pan(size, 6, (1, -2), c=3), (3, 2), 60), 3)
    gliding = drift(size, 6, (3, -5), c=3)
    videos = [moving, still(size, 6, c=3), moving.flip(0), gliding] * 3
    config = {"patch": 14, "search_radius": 8, "on_motion": on_motion} | rules
    assert_equals_cpu(call(config, videos), 2)


@pytest.mark.parametrize("name", ["asl_book.mkv", "torchcodec_nasa_13013.mp4"])
@pytest.mark.parametrize(
    "rules", [{}, {"search_radius": 0, "scene_cut": None}, {"merge": 2}, {"motion_precision": 4}]
)
def test_it_equals_the_cpu_on_real_clips(name: str, rules: dict[str, Any]) -> None:
    gates = [Gate(size=(392, 392), **rules) for _ in range(2)]  # CPU, CUDA
    with open_video(CLIPS / name) as video:
        for batch in itertools.islice(video, 8):
            here = gates[0].push(batch)
            there = gates[1].push(_grid(batch).cuda())
            for a, b in zip(here, there, strict=True):
                assert torch.equal(a, b.cpu())


def _grid(batch: Any) -> Tensor:
    from patchgate.grid import to_grid

    return to_grid(batch, (392, 392))


def test_it_runs_on_the_current_stream_and_waits_for_nothing() -> None:
    args = on_cuda(call({}, [noisy(pan((24, 32), 12, (0, 1), c=3), 3)]))
    expected = op(*copied(args))
    late, stream = torch.zeros_like(args[0]), torch.cuda.Stream()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)  # on another stream, the op would see zeros
            late.copy_(args[0])
            got = op(late, *args[1:])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    stream.synchronize()
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("rules", [{}, APART])
def test_no_frames_give_empty_results_and_leave_the_state(rules: dict[str, Any]) -> None:
    args = on_cuda(arguments(rules))
    before = copied(args)
    kind, motion, *_ = op(args[0][:, :0], *args[1:])
    assert kind.shape == (2, 0, 3, 4)
    assert motion.shape == (2, 0, 3, 4, 2)
    assert all(map(torch.equal, args[1:8], before[1:8]))


def test_planes_of_any_strides_equal_contiguous_ones() -> None:
    args = on_cuda(arguments())
    expected = op(*copied(args))
    odd = torch.empty(args[0].numel() + 1, dtype=torch.uint8, device="cuda")[1:]
    odd = odd.view(args[0].shape).copy_(args[0])  # an odd address
    wide = args[0].repeat_interleave(2, -1)[..., ::2]
    for planes in (odd, wide):
        got = op(planes, *copied(args[1:8]), *args[8:])
        assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("position", range(8))
def test_tensors_on_two_kinds_of_devices_are_refused(position: int) -> None:
    args = on_cuda(arguments())
    with pytest.raises(RuntimeError, match="expected a CUDA tensor"):
        op(*args[:position], args[position].cpu(), *args[position + 1 :])


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_tensors_on_two_devices_are_refused() -> None:
    args = on_cuda(arguments())
    with pytest.raises(RuntimeError, match="expected a tensor on CUDA device 0, got one on 1"):
        op(args[0], args[1].to("cuda:1"), *args[2:])


def test_a_gate_stays_on_its_device() -> None:
    gate, video = Gate(patch=8), pan((24, 32), 4, (0, 1))
    gate.push(video.cuda())
    with pytest.raises(ValueError, match="state is on cuda"):
        gate.push(video)


TOO_MANY_TOKENS = """
import torch
from patchgate import Gate
gate, frames = Gate(patch=8), torch.zeros(2, 1, 24, 32, dtype=torch.uint8, device="cuda")
gate.push(frames)
gate.state_dict()["clock"][0, 1] = 2**31 - 20
gate.push(frames)
torch.cuda.synchronize()
"""


def test_token_ids_beyond_32_bits_stop_the_device() -> None:
    """In a process of its own, which does not survive."""
    done = subprocess.run([sys.executable, "-c", TOO_MANY_TOKENS], capture_output=True, text=True)
    assert done.returncode != 0
    assert "reset the stream first" in done.stderr + done.stdout


def test_gates_that_push_together_find_what_the_cpu_finds() -> None:
    """In one call of the op; one of them stays away now and then, and one push is undone."""

    def step(gate: Gate, planes: Tensor) -> Any:
        return (yield GateStep(gate, planes))

    videos = [noisy(pan((42, 56), 9, (1, 2), seed), seed) for seed in range(4)]
    gates, alone = ([Gate(max_age=4) for _ in videos] for _ in range(2))
    for t in range(9):
        some = [n for n in range(4) if t == 0 or (t + n) % 5]
        parts = {n: videos[n][t : t + 1] for n in some}
        for undone in (True, False):
            marks = [gates[n]._mark() for n in some]
            results = together([step(gates[n], part.cuda()) for n, part in parts.items()])
            if undone:
                for back in marks:
                    back()
        for n, result in zip(some, results, strict=True):
            for name, a, b in zip(NAMES, result, alone[n].push(parts[n]), strict=True):
                assert torch.equal(a.cpu(), b), (t, n, name)
    for gate, other in zip(gates, alone, strict=True):
        for name, tensor in other.state_dict().items():
            assert torch.equal(gate.state_dict()[name].cpu(), tensor), name


@pytest.mark.parametrize("temporal_patch", [1, 2])
@pytest.mark.parametrize("rules", [{}, {"hysteresis": 0.5, "max_age": 9}, {"motion_precision": 4}])
def test_pictures_return_as_on_the_cpu(rules: dict[str, Any], temporal_patch: int) -> None:
    """A dialogue with noise, in pushes that end anywhere; the states that are left are equal."""
    shots = [still((48, 64), 1, seed, c=3) for seed in (3, 5, 3, 3, 8, 5, 3)]
    video = noisy(torch.cat([shot.expand(4, -1, -1, -1) for shot in shots]), 1)
    here, there = (
        Gate(patch=8, memory=2, temporal_patch=temporal_patch, **rules) for _ in range(2)
    )
    returned = 0
    for part in video.split([1, 6, 2, 12, 7]):
        expected, got = here.push(part), there.push(part.cuda())
        for name, a, b in zip(NAMES, got, expected, strict=True):
            assert a.is_cuda, name
            assert torch.equal(a.cpu(), b), name
        returned += int((expected.kind == RETURNED).sum())
        assert there.turns == here.turns
    assert returned
    for name, tensor in here.state_dict().items():
        assert torch.equal(there.state_dict()[name].cpu(), tensor), name


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(
    ("patch", "merge", "sub_blocks"), [(14, 1, 2), (16, 2, 2), (13, 1, 1), (1, 1, 1), (100, 1, 2)]
)
def test_light_equals_the_cpu_for_any_cell_side(
    patch: int, merge: int, sub_blocks: int, f: int
) -> None:
    config = {"patch": patch, "merge": merge, "sub_blocks": sub_blocks, "temporal_patch": f}
    config |= {"illumination": "global", "noise": None, "scene_cut": None}
    p = patch * merge
    videos = [fading((2 * p, 3 * p), 4 * f, seed) for seed in (0, 7)]
    args = call(config, videos)
    assert op(*copied(args))[-1].any()  # cells are lit
    assert_equals_cpu(args, 2)


def fading(size: tuple[int, int], frames: int, seed: int) -> Tensor:
    """A still picture whose light goes down by a twentieth a frame."""
    gain = 1 - 0.05 * torch.arange(frames).view(-1, 1, 1, 1)
    return (still(size, frames, seed, c=3) * gain).round().byte()
