"""The gate's CUDA kernels, their own sources run thread by thread on the CPU: the CPU op's bits."""

from pathlib import Path
from typing import Any

import pytest
import torch
from emulated_gate import assert_equals_cpu, emulated
from gate_cases import APART, call, copied
from gate_videos import any_map, any_video, gate_settings, grids, noisy, pan, still, with_object
from hypothesis import given, settings
from hypothesis import strategies as st

from patchgate import open_video
from patchgate.grid import to_grid

CLIPS = Path(__file__).parents[2] / "examples" / "clips"


@given(st.data(), st.booleans())
@settings(max_examples=80)
def test_it_equals_the_cpu_in_every_setting(data: st.DataObject, apart: bool) -> None:
    config = data.draw(gate_settings(**(APART if apart else {})))
    h, w = data.draw(grids(config))
    p, c = config["patch"] * config["merge"], data.draw(st.sampled_from([1, 3]))
    seeds = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3))
    videos = [any_video((h * p, w * p), c, seed) for seed in seeds]
    factors = any_map(h, w, seeds[0]).double() if data.draw(st.booleans()) else None
    pushes, blocks = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    seed = data.draw(st.integers(0, 9999))
    assert_equals_cpu(call(config, videos, factors), pushes, blocks, seed)


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(
    ("patch", "merge", "sub_blocks", "radius"),
    [(14, 1, 2, 8), (16, 1, 2, 8), (14, 2, 2, 8), (16, 2, 2, 4), (1, 1, 1, 8), (3, 1, 3, 2),
     (13, 1, 1, 4), (17, 1, 1, 3), (14, 1, 1, 6), (100, 1, 1, 2), (256, 1, 2, 1),
     (256, 1, 256, 1), (8, 1, 1, 127)],
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


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("grid", [(30, 24), (2, 300), (1, 1), (1, 9), (9, 1)])
def test_it_equals_the_cpu_on_any_grid(grid: tuple[int, int], apart: bool) -> None:
    size = (grid[0] * 4, grid[1] * 4)
    video = with_object(pan(size, 4, (1, -2), c=3), (3, 2), 60)
    videos = [noisy(video, 5, seed) for seed in range(3)]
    config = {"patch": 4, "search_radius": 2, "threshold": 6}
    for seed in (0, 1):
        assert_equals_cpu(call(config | (APART if apart else {}), videos), 2, 4, seed)


@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
@pytest.mark.parametrize("rules", [{}, APART, {"max_age": None, "noise": None}])
def test_streams_that_move_beside_streams_that_stand_still(
    on_motion: str, rules: dict[str, Any]
) -> None:
    still_one = still((32, 40), 12, c=3)
    videos = [still_one, pan((32, 40), 12, (0, 2), 3, c=3), still_one.flip(0)]
    videos[2][6:] = 255 - videos[2][6:]  # a cut, to a picture that has nothing to do with it
    assert_equals_cpu(call({"on_motion": on_motion} | rules, videos), 3)


@pytest.mark.parametrize("rules", [{}, APART])
@pytest.mark.parametrize("name", ["asl_book.mkv", "torchcodec_nasa_13013.mp4"])
def test_it_equals_the_cpu_on_real_clips(name: str, rules: dict[str, Any]) -> None:
    with open_video(CLIPS / name) as video:
        batch = next(iter(video))
        frames = to_grid(batch, (112, 168))[::3][:5]  # [5, 3, H, W]
    config = {"patch": 14, "search_radius": 8, "noise": None, "hysteresis": None} | rules
    assert_equals_cpu(call(config, [frames]), 2)


@pytest.mark.parametrize("max_age", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("pushes", [1, 2, 5, 11])
@pytest.mark.parametrize("rules", [{}, APART])
def test_age_is_counted_across_pushes(max_age: int, pushes: int, rules: dict[str, Any]) -> None:
    videos = [still((16, 24), 22), noisy(still((16, 24), 22, seed=4), 9)]
    config = {"max_age": max_age, "hysteresis": None, "noise": None} | rules
    assert_equals_cpu(call(config, videos), pushes)


def test_the_largest_sums_do_not_overflow() -> None:
    """Black to white and back in cells of 256 pixels: 255 * 2^16 in one sub-block, two frames."""
    video = (torch.arange(6) // 2 % 2 * 255).byte().view(6, 1, 1, 1).expand(6, 3, 256, 512)
    config = {"patch": 256, "sub_blocks": 1, "temporal_patch": 2, "search_radius": 1}
    assert_equals_cpu(call(config, [video]), 1)


@pytest.mark.parametrize("rules", [{}, APART])
def test_token_ids_beyond_32_bits_stop_the_kernel(rules: dict[str, Any]) -> None:
    args = call(rules, [still((24, 32), 2), still((24, 32), 2)])
    args[4][1] = torch.tensor([1000, 2**31 - 20])
    before = copied(args[1:8])
    with pytest.raises(RuntimeError, match="reset the stream first"):
        emulated(args, 2, 0)
    assert all(map(torch.equal, args[1:8], before))
