"""The guarantee: cells and vectors alone rebuild every sub-block within the limit. And that it is
not bought by encoding everything: what stands still, pans or flickers faintly costs nothing.
"""

from typing import Any

import pytest
import torch
from gate_videos import (
    any_map,
    any_video,
    fade,
    gate_settings,
    grids,
    noisy,
    pan,
    still,
    texture,
    with_object,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuild import CHANGED, MOVED, STATIC, emitted_cells, rebuild, worst_sub_blocks
from torch import Tensor

from patchgate import Gate, GateResult

P = 8  # cell side of the hand-made cases


def rebuilt_by(config: dict[str, Any], video: Tensor, factors: Tensor | None) -> None:
    """Checks every sub-block of every plane in use against the frame's limit and the map."""
    result = Gate(**config).push(video, factors)
    f, p = config["temporal_patch"], config["patch"] * config["merge"]
    used = video[: len(result.kind) * f, : None if config["chroma"] else 1]
    emitted = emitted_cells(used, result.kind, p, f)
    precision, light = config.get("motion_precision", 1), (result.weights, result.lit)
    seen = rebuild(result.kind, result.motion, emitted, precision, *light)
    worst = worst_sub_blocks(used, seen, p, config["patch"] // config["sub_blocks"], f)
    limit = result.limit[:, None, None].double()  # [T, 1, 1]
    if factors is not None:
        limit = torch.where(factors.isinf(), torch.inf, (limit * factors.double()).floor())
    assert bool((worst <= limit).all())
    assert bool((worst[result.kind == CHANGED] == 0).all())
    kept = result.kind != CHANGED
    assert torch.equal(worst[kept], result.cost[kept])  # the cost is what the rebuild is off by


@given(st.data())
@settings(max_examples=200)
def test_every_sub_block_of_any_video_is_rebuilt_within_the_limit(data: st.DataObject) -> None:
    config = data.draw(gate_settings())
    h, w = data.draw(grids(config))
    p, seed = config["patch"] * config["merge"], data.draw(st.integers(0, 10**6))
    video = any_video((h * p, w * p), data.draw(st.sampled_from([1, 3])), seed)
    rebuilt_by(config, video, any_map(h, w, seed) if data.draw(st.booleans()) else None)


@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
@pytest.mark.parametrize("step", [(1, 0), (0, -3), (2, 1), (-5, 7)])
def test_errors_do_not_add_up_over_a_long_noisy_pan(on_motion: str, step: tuple[int, int]) -> None:
    video = noisy(pan((40, 48), 60, step, c=3), 2)
    config = {"on_motion": on_motion, "patch": P, "merge": 1, "temporal_patch": 1}
    rebuilt_by(config | {"sub_blocks": 2, "chroma": True, "threshold": 3}, video, None)


def push(video: Tensor, **config: Any) -> GateResult:
    return Gate(**{"patch": P, **config}).push(video)


def uncovered(h: int, w: int, step: tuple[int, int]) -> Tensor:
    """Cells ``[h, w]`` that a pan by ``step`` shows at least in part for the first time."""
    rows = torch.arange(h) * P + step[0]
    columns = torch.arange(w) * P + step[1]
    row_in, column_in = (
        (rows >= 0) & (rows <= (h - 1) * P),
        (columns >= 0) & (columns <= (w - 1) * P),
    )
    return ~(row_in[:, None] & column_in)


@pytest.mark.parametrize("threshold", [0, 4])
@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
@pytest.mark.parametrize("step", [(0, 3), (0, -3), (2, 0), (-8, 0), (1, -1), (8, 8), (-5, 7)])
def test_a_pan_encodes_only_what_it_uncovers(
    step: tuple[int, int], on_motion: str, threshold: int
) -> None:
    video = pan((6 * P, 7 * P), 6, step, c=3)
    result = push(video, on_motion=on_motion, threshold=threshold)
    expected = torch.where(uncovered(6, 7, step), CHANGED, MOVED)
    assert torch.equal(result.kind[1:], expected.byte().expand(5, -1, -1))
    moved = result.motion[result.kind == MOVED]
    assert torch.equal(moved, torch.tensor(step, dtype=torch.int8).expand_as(moved))


def test_a_pan_beyond_the_search_radius_is_encoded() -> None:
    result = push(pan((6 * P, 7 * P), 4, (0, 5)), search_radius=4)
    assert bool((result.kind == CHANGED).all())


def object_interior(video: Tensor, top: int, left: int, side: int) -> Tensor:
    """Cells ``[h, w]`` that lie wholly inside a square."""
    h, w = video.shape[-2] // P, video.shape[-1] // P
    rows, columns = torch.arange(h) * P, torch.arange(w) * P
    row_in = (rows >= top) & (rows + P <= top + side)
    column_in = (columns >= left) & (columns + P <= left + side)
    return row_in[:, None] & column_in


@pytest.mark.parametrize("camera", [(0, 0), (0, 2), (-3, 1)])
@pytest.mark.parametrize("object_step", [(0, 4), (-4, 0), (5, -5)])
def test_an_object_against_the_camera_is_encoded_but_not_under_reuse(
    camera: tuple[int, int], object_step: tuple[int, int]
) -> None:
    size, side = (12 * P, 12 * P), 4 * P
    world = pan(size, 4, camera) if any(camera) else still(size, 4)
    video = with_object(world, object_step, side)
    camera_kinds = push(video, on_motion="camera").kind
    reused = push(video, on_motion="reuse")
    came_from = torch.tensor([-object_step[0], -object_step[1]], dtype=torch.int8)
    for t in range(1, 4):
        corner = [(12 * P - side) // 2 + t * d for d in object_step]
        inside = object_interior(video, *corner, side)
        assert inside.sum() >= 4
        assert bool((camera_kinds[t][inside] == CHANGED).all())
        assert bool((reused.kind[t][inside] == MOVED).all())
        assert bool((reused.motion[t][inside] == came_from).all())
    background = MOVED if any(camera) else STATIC
    assert bool((camera_kinds[1:, 1, 1:-1] == background).all())
    assert (reused.kind[1:] == CHANGED).sum() < (camera_kinds[1:] == CHANGED).sum()


@given(st.data())
def test_a_still_clip_encodes_frame_0_and_nothing_else(data: st.DataObject) -> None:
    config = data.draw(gate_settings(max_age=None, temporal_patch=1))
    h, w = data.draw(grids(config))
    p = config["patch"] * config["merge"]
    result = Gate(**config).push(still((h * p, w * p), 5, c=3))
    assert bool((result.kind[0] == CHANGED).all())
    assert bool((result.kind[1:] == STATIC).all())
    assert bool((result.cost[1:] == 0).all())
    assert result.is_key.tolist() == [True, False, False, False, False]
    assert torch.equal(result.source, result.source[0].expand(5, -1, -1))


@given(st.data())
def test_noise_under_the_limit_encodes_nothing(data: st.DataObject) -> None:
    config = data.draw(gate_settings(threshold=4, max_age=None, hysteresis=None, temporal_patch=1))
    h, w = data.draw(grids(config))
    p = config["patch"] * config["merge"]
    video = noisy(still((h * p, w * p), 12, c=3), 2, data.draw(st.integers(0, 99)))  # <= 4 apart
    result = Gate(**config).push(video)
    assert bool((result.kind[1:] == STATIC).all())


@given(st.sampled_from([1, 2, 3]), st.sampled_from([0, 3, 4.5, 7]))
def test_a_drift_too_slow_for_adjacent_frames_is_encoded_in_time(rate: int, limit: float) -> None:
    video = fade(still((3 * P, 3 * P), 24) // 4, rate)
    kinds = push(video, threshold=limit).kind
    every = int(limit // rate) + 1  # the first frame more than ``limit`` from the last encoded one
    expected = torch.where(torch.arange(24) % every == 0, CHANGED, STATIC).byte()
    assert torch.equal(kinds, expected[:, None, None].expand(-1, 3, 3))


@given(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.data())
def test_one_letter_in_one_sub_block_is_caught(
    row: int, column: int, plane: int, data: st.DataObject
) -> None:
    p, plane = 14, min(plane, 2)
    video = still((4 * p, 4 * p), 2, c=3) // 2
    at = data.draw(st.sampled_from([(0, 0), (0, 7), (7, 0), (7, 7)]))  # corner of a sub-block
    top, left = row * p + at[0], column * p + at[1]
    video[1, plane, top + 2 : top + 4, left + 3] += 100  # a mean of 4.1 in it, of 1.02 in the cell
    result = Gate(patch=p).push(video)
    assert (result.kind[1] == CHANGED).nonzero().tolist() == [[row, column]]
    assert int(result.cost[1, row, column]) == 200
    averaged = Gate(patch=p, sub_blocks=1).push(video)
    assert not bool((averaged.kind[1] == CHANGED).any())


def test_with_chroma_off_only_luma_is_looked_at() -> None:
    video = still((2 * P, 2 * P), 2, c=3) // 2
    video[1, 1:] += 100
    assert bool((push(video).kind[1] == CHANGED).all())
    assert bool((push(video, chroma=False).kind[1] == STATIC).all())


def test_a_cell_that_returns_is_encoded_again_but_reused_from_elsewhere_if_it_is_there() -> None:
    a, b = texture((P, P), 1), texture((P, P), 2)
    first = torch.cat([a, b], 2)  # [1, P, 2P]: a | b
    swapped = torch.cat([b, a], 2)
    video = torch.stack([first, swapped])
    assert bool((push(video, scene_cut=None, on_motion="encode").kind[1] == CHANGED).all())
    result = push(video, scene_cut=None, on_motion="reuse")  # both read the old picture
    assert result.motion[1, 0].tolist() == [[0, P], [0, -P]]
    assert result.source[1, 0].tolist() == [1, 0]
