"""torch.ops.patchgate.gate: equal to its reference bit for bit, state included; a good torch op."""

from typing import Any

import pytest
import torch
from gate_cases import CONFIG, NAMES, STATE_NAMES, arguments, copied, rules_for, state_for, tubelets
from gate_videos import (
    any_map,
    any_video,
    busy_video,
    gate_settings,
    grids,
    noisy,
    pan,
    with_object,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuild import emitted_cells, rebuild

from patchgate import reference

op = torch.ops.patchgate.gate


def in_one_thread(function: Any, *args: Any) -> Any:
    """The reference's tiny ops only wait for each other in several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return function(*args)
    finally:
        torch.set_num_threads(threads)


def assert_equals_reference(args: tuple[Any, ...], pushes: int) -> None:
    """Results and state after each of a few pushes."""
    ours, theirs = copied(args[1:8]), copied(args[1:8])
    for planes in args[0].tensor_split(pushes, 1):
        got = op(planes, *ours, *args[8:])
        expected = in_one_thread(reference.gate, planes, *theirs, *args[8:])
        for name, a, b in zip(
            NAMES + STATE_NAMES, (*got, *ours), (*expected, *theirs), strict=True
        ):
            assert a.dtype == b.dtype, name
            assert torch.equal(a, b), name


@given(st.data())
@settings(max_examples=120)
def test_op_equals_reference_state_included(data: st.DataObject) -> None:
    config = data.draw(gate_settings())
    h, w = data.draw(grids(config))
    p, c = config["patch"] * config["merge"], data.draw(st.sampled_from([1, 3]))
    seeds = data.draw(st.lists(st.integers(0, 10**6), min_size=1, max_size=3))
    videos = [any_video((h * p, w * p), c, seed) for seed in seeds]
    planes = tubelets(videos, config["temporal_patch"])
    factors = any_map(h, w, seeds[0]).double() if data.draw(st.booleans()) else None
    args = (planes, *state_for(planes, p, config["max_age"]), factors, *rules_for(config, h * w))
    assert_equals_reference(args, data.draw(st.integers(1, 3)))


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(
    ("patch", "sub_blocks", "radius"),
    [(1, 1, 8), (3, 3, 2), (13, 1, 4), (14, 2, 5), (15, 5, 3), (16, 2, 6), (17, 1, 3), (31, 1, 3),
     (100, 1, 2), (256, 2, 1), (256, 256, 1),
     *(pytest.param(*case, marks=pytest.mark.slow) for case in
       [(14, 2, 127), (16, 2, 16), (17, 1, 12), (31, 1, 8), (48, 3, 20), (256, 1, 3)])],
)  # fmt: skip
def test_op_equals_reference_for_any_cell_side(
    patch: int, sub_blocks: int, radius: int, f: int
) -> None:
    config = CONFIG | {"patch": patch, "sub_blocks": sub_blocks, "search_radius": radius}
    config |= {"temporal_patch": f, "scene_cut": None, "noise": None}
    videos = [any_video((2 * patch, 3 * patch), 3, seed)[: 3 * f] for seed in (0, 7)]
    planes = tubelets(videos, f)
    args = (planes, *state_for(planes, patch, 4), None, *rules_for(config, 6))
    assert_equals_reference(args, 2)


def test_the_largest_sums_do_not_overflow() -> None:
    """Black to white and back in cells of 256 pixels: 255 * 2^16 in one sub-block, two frames."""
    planes = (torch.arange(6) // 2 % 2 * 255).byte().view(1, 3, 2, 1, 1, 1)
    planes = planes.expand(1, 3, 2, 3, 256, 512)
    config = CONFIG | {"patch": 256, "sub_blocks": 1, "temporal_patch": 2, "search_radius": 1}
    args = (planes, *state_for(planes, 256, 4), None, *rules_for(config, 2))
    assert_equals_reference(args, 1)
    assert int(op(*args)[2].max()) == 255 * 2**16


@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (9, 1)])
@pytest.mark.parametrize("radius", [0, 8])
def test_a_grid_one_cell_wide_equals_reference(grid: tuple[int, int], radius: int) -> None:
    planes = tubelets([any_video((grid[0] * 8, grid[1] * 8), 1, seed) for seed in range(3)], 1)
    rules = rules_for(CONFIG | {"search_radius": radius}, grid[0] * grid[1])
    assert_equals_reference((planes, *state_for(planes, 8, 4), None, *rules), 2)


@pytest.mark.parametrize("grid", [(30, 24), (2, 300)])
def test_a_large_grid_shared_out_to_threads_equals_reference(grid: tuple[int, int]) -> None:
    size = (grid[0] * 4, grid[1] * 4)
    video = with_object(pan(size, 4, (1, -2), c=3), (3, 2), 60)
    planes = tubelets([noisy(video, 5, seed) for seed in range(3)], 1)
    config = CONFIG | {"patch": 4, "search_radius": 2, "threshold": 6}
    args = (planes, *state_for(planes, 4, 4), None, *rules_for(config, grid[0] * grid[1]))
    assert_equals_reference(args, 1)


@pytest.mark.parametrize("on_motion", ["encode", "camera", "reuse"])
def test_the_state_holds_the_picture_that_a_decoder_rebuilds(on_motion: str) -> None:
    video = busy_video(0)
    args = arguments({"on_motion": on_motion}, streams=1)
    kind, motion, *_ = op(*args)
    seen = rebuild(kind[0], motion[0], emitted_cells(video, kind[0], 8))
    assert torch.equal(args[1][0], seen[-1:])


def test_non_contiguous_planes_and_maps_equal_contiguous_ones() -> None:
    args = arguments()
    expected = op(*copied(args))
    wide = args[0].repeat_interleave(2, -1)[..., ::2]  # every other column of a wider tensor
    last = args[0].movedim(3, -1).contiguous().movedim(-1, 3)  # [S, T, f, H, W, C] in memory
    columns = args[8].t().contiguous().t()
    for planes in (wide, last):
        assert not planes.is_contiguous()
        got = op(planes, *copied(args[1:8]), columns, *args[9:])
        assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("run", [op, reference.gate], ids=["op", "reference"])
def test_no_frames_give_empty_results_and_leave_the_state(run: Any) -> None:
    args = arguments()
    before = copied(args)
    kind, motion, cost, source, is_key, limit, weights, lit = run(args[0][:, :0], *args[1:])
    assert kind.shape == cost.shape == source.shape == (2, 0, 3, 4)
    assert motion.shape == (2, 0, 3, 4, 2)
    assert is_key.shape == limit.shape == (2, 0)
    assert weights.shape == (2, 0, 0, 3, 2)
    assert lit.shape == (2, 0, 0, 4)
    assert all(map(torch.equal, args[1:8], before[1:8]))


def test_results_are_not_views_of_the_state() -> None:
    args = arguments()
    results = op(*args)
    before = copied(results)
    op(*args)
    assert all(map(torch.equal, results, before))


@pytest.mark.parametrize("f", [1, 2])
def test_opcheck_of_the_mutating_op(f: int) -> None:
    torch.library.opcheck(op.default, arguments({"temporal_patch": f}))
    without_map = arguments({"max_age": None})
    torch.library.opcheck(op.default, (*without_map[:8], None, *without_map[9:]))


@pytest.mark.parametrize(
    ("position", "bad"),
    [
        (0, torch.zeros(2, 4, 1, 3, 24, 32)),  # float planes
        (0, torch.zeros(2, 4, 3, 24, 32, dtype=torch.uint8)),  # no tubelet dimension
        (1, torch.zeros(2, 1, 3, 24, 24, dtype=torch.uint8)),  # a smaller picture
        (2, torch.zeros(2, 24, 32, dtype=torch.int64)),  # ids of the wrong type
        (3, torch.zeros(2, 4, 4, dtype=torch.int64)),  # another grid
        (4, torch.zeros(1, 2, dtype=torch.int64)),  # a stream too few
        (6, torch.zeros(2, 14, dtype=torch.int32)),
        (7, torch.zeros(2, 1, 3, 4, 2, 4, dtype=torch.int32)),  # light of other rows
        (7, torch.zeros(2, 1, 3, 4, 3, 4)),  # of the wrong type
        (8, torch.ones(3, 5).double()),  # a map of another grid
        (8, torch.ones(3, 4)),  # a float32 map
        (9, 7),  # cells that do not divide
        (10, 3),  # sub-blocks that do not divide
        (13, 128),  # a radius beyond int8
    ],
)
def test_what_would_corrupt_memory_is_refused_and_the_state_kept(position: int, bad: Any) -> None:
    args = arguments()
    before = copied(args)
    with pytest.raises(RuntimeError):
        op(*args[:position], bad, *args[position + 1 :])
    assert all(map(torch.equal, args[1:8], before[1:8]))


def test_token_ids_beyond_32_bits_are_refused() -> None:
    args = arguments()
    args[4][1] = torch.tensor([1000, 2**31 - 40])
    with pytest.raises(RuntimeError, match=r"stream 1 has emitted .* reset the stream first"):
        op(*args)
