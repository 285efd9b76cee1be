"""The gate's CUDA kernels, their own sources run thread by thread on the CPU: the CPU op's bits, or
the definition's.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from gate_cases import (
    APART,
    NAMES,
    STATE_NAMES,
    call,
    copied,
)
from gate_videos import (
    any_map,
    any_video,
    gate_settings,
    glide,
    grids,
    noisy,
    pan,
    still,
    with_object,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchgate import open_video
from patchgate.grid import to_grid
from patchgate.reference.gate import gate as definition

module = pytest.importorskip("patchgate._emulated", reason="built only beside the sources")

op = torch.ops.patchgate.gate
CLIPS = Path(__file__).parents[1] / "examples" / "clips"


def emulated(args: tuple[Any, ...], blocks: int, seed: int) -> list[Tensor]:
    """The kernel on the op's arguments; the state is updated in place."""
    planes = args[0].contiguous().numpy()
    rest = [arg.numpy() if isinstance(arg, Tensor) else arg for arg in args[1:]]
    return [torch.from_numpy(a) for a in module.gate(planes, *rest, blocks=blocks, seed=seed)]


def assert_equals_cpu(
    args: tuple[Any, ...], pushes: int = 1, blocks: int = 3, seed: int = 0, expect: Any = op
) -> None:
    """Results and state after each of a few pushes. Even seeds let some warps run far ahead."""
    ours, theirs = copied(args[1:7]), copied(args[1:7])
    for i, planes in enumerate(args[0].tensor_split(pushes, 1)):
        if planes.shape[1] == 0:
            continue  # the op launches nothing
        got = emulated((planes, *ours, *args[7:]), blocks, seed + 2 * i)
        expected = expect(planes, *theirs, *args[7:])
        for name, a, b in zip(
            NAMES + STATE_NAMES, (*got, *ours), (*expected, *theirs), strict=True
        ):
            assert a.dtype == b.dtype, name
            assert torch.equal(a, b), name


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
    before = copied(args[1:7])
    with pytest.raises(RuntimeError, match="reset the stream first"):
        emulated(args, 2, 0)
    assert all(map(torch.equal, args[1:7], before))


def assert_is_defined(args: tuple[Any, ...], **how: Any) -> None:
    """Equal to the definition, in plain torch: motion to a fraction of a pixel."""
    assert_equals_cpu(args, **how, expect=definition)


precisions = pytest.mark.parametrize("precision", [2, 4])


@given(st.data(), st.sampled_from([2, 4]))
@settings(max_examples=40)
def test_fractions_of_a_pixel_are_as_defined_in_every_setting(
    data: st.DataObject, precision: int
) -> None:
    radius = data.draw(st.sampled_from([1, 2, 3, 5]))
    config = data.draw(gate_settings(motion_precision=precision, search_radius=radius))
    h, w = data.draw(grids(config))
    p, c = config["patch"] * config["merge"], data.draw(st.sampled_from([1, 3]))
    videos = []
    for seed in data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3)):
        step = (data.draw(st.integers(-7, 7)), data.draw(st.integers(-7, 7)))
        film = glide((h * p, w * p), 6, step, seed, c)
        videos.append(film if data.draw(st.booleans()) else any_video((h * p, w * p), c, seed)[:8])
    factors = any_map(h, w, 7).double() if data.draw(st.booleans()) else None
    pushes, blocks = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    seed = data.draw(st.integers(0, 9999))
    assert_is_defined(call(config, videos, factors), pushes=pushes, blocks=blocks, seed=seed)


@precisions
@pytest.mark.parametrize(
    ("patch", "merge", "sub_blocks", "radius", "f"),
    [(8, 1, 2, 5, 1), (8, 1, 2, 5, 2), (14, 1, 2, 8, 1), (14, 1, 2, 8, 2), (16, 1, 2, 8, 1),
     (14, 2, 2, 4, 2), (16, 2, 2, 2, 1), (13, 1, 1, 4, 2), (1, 1, 1, 8, 1), (7, 1, 7, 2, 1),
     (100, 1, 1, 1, 1), (256, 1, 2, 1, 1), (8, 1, 1, 31, 2)],
)  # fmt: skip
def test_fractions_of_a_pixel_are_as_defined_for_any_cell_side(
    patch: int, merge: int, sub_blocks: int, radius: int, f: int, precision: int
) -> None:
    """Windows that fit into shared memory, and some (of 100 and 256 pixels) that do not."""
    config = {"patch": patch, "merge": merge, "sub_blocks": sub_blocks, "search_radius": radius}
    config |= {"temporal_patch": f, "scene_cut": None, "noise": None, "threshold": 9}
    size = (2 * patch * merge, 3 * patch * merge)
    videos = [glide(size, 3 * f, (3, -5), 1, 3), any_video(size, 3, 7)[: 3 * f]]
    assert_is_defined(call(config | {"motion_precision": precision}, videos), pushes=2)


@precisions
@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_pan_by_fractions_moves_cells_by_fractions(
    on_motion: str, precision: int, seed: int
) -> None:
    """Beside a stream that stands still and one with an object that goes its own way."""
    step = (4 // precision, -3 * 4 // precision)  # a step, and three, of the finest
    film = glide((32, 48), 8, step, 3, 3)
    videos = [film, still((32, 48), 8, c=3), with_object(noisy(film, 1), (1, 2))]
    config = {"on_motion": on_motion, "motion_precision": precision, "threshold": 9}
    args = call(config | {"noise": None, "hysteresis": None, "scene_cut": None}, videos)
    assert_is_defined(args, pushes=3, blocks=4, seed=seed)
    kind, motion, *_ = emulated(copied(args), 4, seed)
    moved = (kind == 1) & (motion % precision != 0).any(-1)  # [S, T, h, w]
    assert bool(moved[0].any()) == (on_motion != "encode")


@precisions
@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
@pytest.mark.parametrize("pushes", [1, 3, 10])
def test_token_ids_follow_fractions_across_pushes(
    on_motion: str, precision: int, pushes: int
) -> None:
    """Ids move by whole pixels, which frames take in turns: the clock goes on between pushes."""
    films = [glide((32, 32), 14, step, seed) for seed, step in enumerate([(1, 0), (-2, 3)])]
    config = {"on_motion": on_motion, "motion_precision": precision, "threshold": 12}
    config |= {"max_age": 5, "noise": None, "hysteresis": None, "search_radius": 2}
    assert_is_defined(call(config, films), pushes=pushes)


@precisions
def test_fractions_of_a_pixel_are_as_defined_on_a_real_clip(precision: int) -> None:
    with open_video(CLIPS / "torchcodec_nasa_13013.mp4") as video:
        frames = to_grid(next(iter(video)), (112, 168))[::3][:4]  # [4, 3, H, W]
    config = {"patch": 14, "search_radius": 4, "noise": None, "hysteresis": None}
    assert_is_defined(call(config | {"motion_precision": precision}, [frames]), pushes=2)
