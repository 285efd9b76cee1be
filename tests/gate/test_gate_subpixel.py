"""The gate's motion to a fraction of a pixel: samples, sides and edges, what it is for."""

from typing import Any

import numpy as np
import pytest
import torch
from between import block_between
from gate_cases import CONFIG, NAMES, STATE_NAMES, arguments, call, copied
from gate_videos import drift, faint, still, texture, with_object
from hypothesis import given
from hypothesis import strategies as st
from rebuild import CHANGED, MOVED, STATIC, emitted_cells, rebuild, worst_sub_blocks
from torch import Tensor

import patchgate
from patchgate import Gate, reference
from patchgate.reference.subpixel import blocks_between

P = 8  # cell side of the hand-made cases
SIZE = (6 * P, 7 * P)
op = torch.ops.patchgate.gate
precise = pytest.mark.parametrize("precision", [2, 4])


# --- samples between pixels -------------------------------------------------------------------


@given(st.data())
def test_blocks_between_pixels_are_those_of_the_text(data: st.DataObject) -> None:
    precision, side = data.draw(st.sampled_from([1, 2, 4])), data.draw(st.integers(1, 9))
    height, width = (side + data.draw(st.integers(0, 6)) for _ in "yx")
    picture = texture((height, width), data.draw(st.integers(0, 999)), 3)
    corners = [
        [data.draw(st.integers(0, (most - side) * precision)) for most in (height, width)]
        for _ in range(data.draw(st.integers(0, 4)))
    ]
    at = torch.tensor(corners, dtype=torch.int64).view(-1, 2)
    got = blocks_between(picture, at, side, precision)  # [n, 3, p, p]
    assert got.dtype == torch.uint8
    assert got.shape == (len(corners), 3, side, side)
    for block, corner in zip(got, corners, strict=True):
        expected = block_between(picture.numpy(), *(c * 4 // precision for c in corner), side)
        assert np.array_equal(block.numpy(), expected)


def test_halves_are_h264s_six_taps_and_quarters_rounded_means() -> None:
    picture = torch.zeros((8, 8), dtype=torch.uint8)
    picture[4] = 160
    down = [blocks_between(picture, torch.tensor([[q, 0]]), 7, 4)[0, :, 0] for q in range(4)]
    assert down[0].tolist() == [0, 0, 0, 0, 160, 0, 0]
    assert down[1].tolist() == [0, 3, 0, 50, 130, 0, 3]  # means of a pixel and the next half
    assert down[2].tolist() == [0, 5, 0, 100, 100, 0, 5]
    assert down[3].tolist() == [0, 3, 0, 130, 50, 0, 3]


# --- the op -----------------------------------------------------------------------------------


def assert_equals_reference(args: tuple[Any, ...], pushes: int = 2) -> tuple[Tensor, Tensor]:
    """Results and state after each push; returns the kinds and vectors of the last."""
    ours, theirs = copied(args[1:8]), copied(args[1:8])
    for planes in args[0].tensor_split(pushes, 1):
        got = op(planes, *ours, *args[8:])
        expected = reference.gate(planes, *theirs, *args[8:])
        for name, a, b in zip(
            NAMES + STATE_NAMES, (*got, *ours), (*expected, *theirs), strict=True
        ):
            assert torch.equal(a, b), name
    return got[0], got[1]


def drifts(h: int, w: int, patch: int, t: int, c: int = 3) -> list[Tensor]:
    return [drift((h * patch, w * patch), t, step, 5, c) for step in ((2, -1), (-5, 3))]


@precise
@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(
    ("patch", "sub_blocks", "radius"),
    [(1, 1, 8), (3, 3, 2), (13, 1, 4), (14, 2, 3), (16, 2, 4), (17, 1, 3), (256, 2, 1)],
)
def test_any_cell_side_equals_the_reference(
    patch: int, sub_blocks: int, radius: int, f: int, precision: int
) -> None:
    config = {"patch": patch, "sub_blocks": sub_blocks, "search_radius": radius, "noise": None,
              "temporal_patch": f, "scene_cut": None, "motion_precision": precision}  # fmt: skip
    grid = (2, 3) if patch < 100 else (1, 2)
    assert_equals_reference(call(config, drifts(*grid, patch, 3 * f)))


@precise
@pytest.mark.parametrize("on_motion", ["camera", "reuse", "encode"])
@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (9, 1), (5, 6)])
def test_any_grid_equals_the_reference(
    grid: tuple[int, int], on_motion: str, precision: int
) -> None:
    config = {"on_motion": on_motion, "motion_precision": precision, "scene_cut": None}
    kind, motion = assert_equals_reference(call(config, drifts(*grid, P, 8)), 3)
    if grid == (5, 6) and on_motion != "encode":  # the case is worth looking at
        assert bool((motion[kind == MOVED] % precision != 0).any())


@precise
def test_no_radius_is_no_motion(precision: int) -> None:
    config = {"search_radius": 0, "motion_precision": precision}
    kind, _ = assert_equals_reference(call(config, drifts(3, 4, P, 6)))
    assert not bool((kind == MOVED).any())


@pytest.mark.parametrize("precision", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_the_longest_vectors_still_fit_8_bits(precision: int) -> None:
    config = {"search_radius": 127 // precision, "motion_precision": precision, "patch": 4,
              "sub_blocks": 1, "scene_cut": None, "on_motion": "reuse"}  # fmt: skip
    reach = 127 // precision
    first = texture((4, 4 * (reach // 4 + 2)), 3)
    video = torch.stack([first, first.roll(-reach, -1)])
    kind, motion = assert_equals_reference(call(config, [video]), 1)
    assert bool((motion[kind == MOVED].abs() > 100).any())


@precise
@pytest.mark.parametrize("f", [1, 2])
def test_opcheck_with_fractions(precision: int, f: int) -> None:
    rules = {"motion_precision": precision, "temporal_patch": f}
    torch.library.opcheck(op.default, arguments(rules))


def test_compiles_without_a_break() -> None:
    args = arguments({"motion_precision": 4})
    expected = op(*copied(args))
    compiled = torch.compile(op, fullgraph=True, backend="aot_eager")
    assert all(map(torch.equal, compiled(*copied(args)), expected))


@pytest.mark.parametrize(("precision", "radius"), [(3, 1), (0, 1), (8, 1), (4, 32), (2, 64)])
def test_the_op_refuses_other_steps_and_vectors_beyond_8_bits(precision: int, radius: int) -> None:
    args = arguments({"motion_precision": precision, "search_radius": radius})
    before = copied(args)
    with pytest.raises(RuntimeError, match=r"must be (1, 2 or 4|0\.\.)"):
        op(*args)
    assert all(map(torch.equal, args[1:8], before[1:8]))


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ({"motion_precision": 3}, ValueError, "motion_precision: expected one of 1, 2, 4, got 3"),
        ({"motion_precision": 0}, ValueError, "motion_precision: expected one of 1, 2, 4, got 0"),
        ({"motion_precision": 8}, ValueError, "motion_precision: expected one of 1, 2, 4, got 8"),
        ({"motion_precision": True}, TypeError, "expected a whole number, got True"),
        ({"motion_precision": 2.0}, TypeError, "expected a whole number, got 2.0"),
        ({"motion_precision": "4"}, TypeError, "expected a whole number, got '4'"),
        (
            {"motion_precision": 4, "search_radius": 32},
            ValueError,
            "search_radius at motion_precision=4: expected 0..31, got 32",
        ),
        ({"motion_precision": 4, "search_radius": 64}, ValueError, "expected 0..31, got 64"),
        ({"motion_precision": 2, "search_radius": 64}, ValueError, "expected 0..63, got 64"),
    ],
)
def test_what_was_expected_is_said(
    setting: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Gate(**setting)


# --- chunks and streams -----------------------------------------------------------------------


@precise
@pytest.mark.parametrize("f", [1, 2])
def test_chunks_and_streams_change_nothing(precision: int, f: int) -> None:
    config = CONFIG | {"motion_precision": precision, "temporal_patch": f}
    videos = torch.stack(drifts(3, 4, P, 24))
    videos[1] = with_object(videos[1], (1, 2))
    whole, parted = Gate(**config), Gate(**config)
    expected = whole.push(videos)
    parts = [parted.push(part) for part in videos.split([1, 5, 0, 11, 7], 1)]
    for i, tensor in enumerate(expected):
        assert torch.equal(torch.cat([part[i] for part in parts], 1), tensor)
    for s, video in enumerate(videos):
        assert all(map(torch.equal, Gate(**config).push(video), (each[s] for each in expected)))


# --- what it is for ---------------------------------------------------------------------------


def pushed(video: Tensor, precision: int, **config: Any) -> patchgate.GateResult:
    return Gate(patch=P, motion_precision=precision, **config).push(video)  # type: ignore[arg-type]


def emitted_later(video: Tensor, precision: int, **config: Any) -> int:
    """Tokens after the first frame."""
    return int((pushed(video, precision, **config).kind[1:] == CHANGED).sum())


@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
@pytest.mark.parametrize("quarters", [(0, 1), (2, 0), (0, 5), (-2, 2), (5, -1)])
def test_a_pan_by_fractions_encodes_little_more_than_it_uncovers(
    quarters: tuple[int, int], on_motion: Any
) -> None:
    t = 16
    video = faint(drift(SIZE, t, quarters, c=3), 3)
    h, w = (side // P for side in SIZE)
    along = h * w - (h - (quarters[0] != 0)) * (w - (quarters[1] != 0))  # cells at the edges
    fine, whole = (emitted_later(video, precision, on_motion=on_motion) for precision in (4, 1))
    assert fine <= 1.5 * along * (t - 1)
    assert whole > 2 * fine


@pytest.mark.parametrize("quarters", [(0, 1), (0, -1), (1, 0), (0, 3), (0, 5)])
def test_slow_pans_do_not_leave_the_token_ids_behind(quarters: tuple[int, int]) -> None:
    t = 61
    result = pushed(drift(SIZE, t, quarters, c=3), 4)
    born, row, column = (result.kind == CHANGED).nonzero().T  # per token
    moved = born[:, None] * torch.tensor(quarters) / 4  # [K, 2] pixels, of the camera by then
    stands = torch.stack([row, column], -1) * P + moved  # [K, 2] in the world
    grid = torch.cartesian_prod(*(torch.arange(n) for n in result.kind.shape[1:])) * P
    shows = grid.view(*result.kind.shape[1:], 2) + (t - 1) * torch.tensor(quarters) / 4
    assert float((result.kind[1:] == MOVED).float().mean()) > 0.5
    apart = (shows - stands[result.source[-1]]).abs().amax(-1)  # [h, w] pixels
    assert float(apart.max()) <= 1.25 * P


@precise
@pytest.mark.parametrize("on_motion", ["camera", "reuse"])
def test_errors_do_not_add_up_over_a_long_pan(on_motion: Any, precision: int) -> None:
    video = drift(SIZE, 60, (1, 2), c=3)
    result = pushed(video, precision, on_motion=on_motion, threshold=3)
    emitted = emitted_cells(video, result.kind, P)
    seen = rebuild(result.kind, result.motion, emitted, precision)
    worst = worst_sub_blocks(video, seen, P, P // 2)
    assert bool((worst <= result.limit[:, None, None]).all())
    kept = result.kind != CHANGED
    assert torch.equal(worst[kept], result.cost[kept])


@precise
def test_a_still_picture_costs_nothing_and_whole_pans_no_more_than_before(precision: int) -> None:
    kinds = pushed(still(SIZE, 5, c=3), precision).kind
    assert bool((kinds[1:] == STATIC).all())
    video = drift(SIZE, 8, (0, 8), c=3)  # two pixels a frame
    assert torch.equal(pushed(video, precision).kind, pushed(video, 1).kind)


def test_an_object_against_a_slow_camera_is_encoded() -> None:
    video = with_object(drift((12 * P, 12 * P), 4, (0, 1), c=3), (0, 5), 4 * P)
    kinds = pushed(video, 4).kind
    for t in range(1, 4):
        assert bool((kinds[t, 5:7, 6:7] == CHANGED).all())
    assert bool((kinds[1:, 1, 1:-1] != CHANGED).all())
