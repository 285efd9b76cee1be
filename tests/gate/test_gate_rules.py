"""The gate's optional rules one by one, at their exact borders."""

from typing import Any

import pytest
import torch
from gate_videos import noisy, pan, still, texture
from rebuild import CHANGED, MOVED, STATIC
from torch import Tensor

from patchgate import Gate, GateResult

P = 8
QUARTER = (P // 2) ** 2  # samples of a sub-block
INF = float("inf")


def push(video: Tensor, factors: Tensor | None = None, **config: Any) -> GateResult:
    return Gate(**{"patch": P, "search_radius": 0, **config}).push(video, factors)


def raised(frame: Tensor, cell: tuple[int, int], by: int, samples: int = QUARTER) -> None:
    """Raises some samples of the cell's first sub-block, in place."""
    top, left = cell[0] * P, cell[1] * P
    block = frame[0, top : top + P // 2, left : left + P // 2]
    block += (torch.arange(QUARTER).view(block.shape) < samples).byte() * by


def grey(t: int, h: int, w: int) -> Tensor:
    return torch.full((t, 1, h * P, w * P), 100, dtype=torch.uint8)


def changed_cells(result: GateResult, t: int) -> list[list[int]]:
    return (result.kind[t] == CHANGED).nonzero().tolist()


@pytest.mark.parametrize(("samples", "passes"), [(4, True), (5, False)])
def test_a_cost_equal_to_the_limit_passes_and_one_more_does_not(samples: int, passes: bool) -> None:
    video = grey(2, 2, 2)
    raised(video[1], (1, 0), 10, samples)  # limit: floor(2.55 * 16) = 40
    result = push(video, threshold=2.55)
    assert result.limit.tolist() == [40, 40]
    assert int(result.cost[1, 1, 0]) == 10 * samples
    assert changed_cells(result, 1) == ([] if passes else [[1, 0]])


def test_the_first_frame_is_a_key_frame_at_no_cost() -> None:
    result = push(texture((3 * P, 2 * P), 0)[None])
    assert bool((result.kind == CHANGED).all())
    assert bool((result.cost == -1).all())
    assert not bool(result.motion.any())
    assert result.source.flatten().tolist() == list(range(6))
    assert result.is_key.tolist() == [True]


def cut_and_pan() -> Tensor:
    """4 frames: a pan by 2, then other content; one flat cell in the corner never changes."""
    first = pan((5 * P, 5 * P), 2, (0, 2), seed=3)
    video = torch.cat([first, pan((5 * P, 5 * P), 2, (0, 2), seed=4)])
    video[..., :P, :P] = 50
    return video


def test_a_scene_cut_gives_a_key_frame_but_a_pan_is_no_cut() -> None:
    config: dict[str, Any] = {"search_radius": 4, "scene_cut": 0.8}
    for on_motion in ("encode", "camera", "reuse"):
        result = push(cut_and_pan(), on_motion=on_motion, **config)
        assert result.is_key.tolist() == [True, False, True, False]
        assert bool((result.kind[[1, 3], 0, 0] == STATIC).all())
    encoded = push(cut_and_pan(), on_motion="encode", **config)
    assert (encoded.kind[1] == CHANGED).sum() == 24
    uncut = push(cut_and_pan(), on_motion="camera", search_radius=4, scene_cut=None)
    assert uncut.is_key.tolist() == [True, False, False, False]


@pytest.mark.parametrize(("lost", "is_cut"), [(3, False), (4, True)])
def test_a_cut_takes_more_than_the_share_of_the_cells(lost: int, is_cut: bool) -> None:
    video = grey(2, 2, 3)
    for n in range(lost):
        raised(video[1], divmod(n, 3), 90)
    assert bool(push(video, scene_cut=0.6).is_key[1]) is is_cut  # floor(0.6 * 6) = 3


@pytest.mark.parametrize("max_age", [1, 2, 3, 5])
def test_max_age_refreshes_exactly_on_time(max_age: int) -> None:
    gate = Gate(patch=P, max_age=max_age)
    video = still((2 * P, 2 * P), 12)
    keys = torch.cat([gate.push(frame[None]).is_key for frame in video])
    assert keys.tolist() == [t % max_age == 0 for t in range(12)]


def test_max_age_counts_from_each_cells_own_source() -> None:
    video = grey(8, 2, 2)
    for frame in video[2:]:
        raised(frame, (0, 1), 90)
    result = push(video, max_age=4)
    ages = {t: changed_cells(result, t) for t in range(1, 8)}
    others = [[0, 0], [1, 0], [1, 1]]
    assert ages == {1: [], 2: [[0, 1]], 3: [], 4: others, 5: [], 6: [[0, 1]], 7: []}


def test_max_age_of_a_moved_cell_is_that_of_what_it_shows() -> None:
    video = pan((4 * P, 6 * P), 6, (0, P))  # content enters on the right, leaves on the left
    result = push(video, search_radius=P, max_age=3)
    assert bool((result.kind[1:3, :, :-1] == MOVED).all())
    aged = {3: [0, 1, 2], 4: [2], 5: [2]}  # columns: of frame 0, then what entered 3 frames ago
    for t, columns in aged.items():
        expected = torch.full((6,), MOVED, dtype=torch.uint8)
        expected[[*columns, 5]] = CHANGED
        assert torch.equal(result.kind[t], expected.expand(4, -1)), t


def faint_beside_strong() -> Tensor:
    """Cell (1, 1) changes; (0, 0) beside it and the far (1, 3), (3, 3) by 60 % of the limit."""
    video = grey(2, 4, 4)
    raised(video[1], (1, 1), 90)
    for cell in ((0, 0), (1, 2), (1, 3), (3, 3)):
        raised(video[1], cell, 6, 6)  # 36 of a limit of 64
    return video


def test_hysteresis_reaches_the_eight_neighbours_once_without_propagation() -> None:
    video = faint_beside_strong()
    assert changed_cells(push(video), 1) == [[1, 1]]
    assert changed_cells(push(video, hysteresis=0.5), 1) == [[0, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize(("factor", "beside"), [(36 / 64, False), (0.56, True), (0, True)])
def test_hysteresis_spares_a_cost_equal_to_its_limit(factor: float, beside: bool) -> None:
    kinds = push(faint_beside_strong(), hysteresis=factor).kind[1]
    assert bool(kinds[0, 0] == CHANGED) is beside
    assert bool(kinds[0, 1] == STATIC)  # a cost of 0 is never more


def test_hysteresis_applies_to_moved_cells_too() -> None:
    video = noisy(pan((4 * P, 5 * P), 2, (0, P)), 2)
    config: dict[str, Any] = {"search_radius": P}
    assert bool((push(video, **config).kind[1, :, :-1] == MOVED).all())
    tight = push(video, hysteresis=0.1, **config).kind[1]
    assert bool((tight[:, -2:] == CHANGED).all())  # beside the uncovered column
    assert bool((tight[:, :-2] == MOVED).all())


def test_a_threshold_map_scales_the_limit_of_each_cell() -> None:
    video = grey(2, 2, 3)
    for n, samples in enumerate((1, 1, 3, 4, 8, 16)):
        raised(video[1], divmod(n, 3), 10, samples)
    factors = torch.tensor([[0, 0.16, 0.45], [0.62, 2.0, INF]])  # limits 0 10 28 39 128 inf
    result = push(video, factors)
    assert changed_cells(result, 1) == [[0, 0], [0, 2], [1, 0]]
    assert result.limit.tolist() == [64, 64]  # before the map


def test_an_infinite_factor_changes_only_with_key_frames_and_max_age() -> None:
    video = torch.stack([texture((2 * P, 2 * P), seed) for seed in range(6)])
    factors = torch.ones(2, 2)
    factors[0, 0] = INF
    kinds = push(video, factors, scene_cut=None).kind[:, 0, 0]
    assert kinds.tolist() == [CHANGED, *[STATIC] * 5]
    aged = push(video, factors, scene_cut=None, max_age=3).kind[:, 0, 0]
    assert aged.tolist() == [CHANGED, STATIC, STATIC] * 2
    cut = push(video, factors, scene_cut=0.5).kind[:, 0, 0]
    assert cut.tolist() == [CHANGED] * 6


def test_a_threshold_map_holds_for_its_push_only() -> None:
    gate = Gate(patch=P, search_radius=0)
    video = noisy(still((2 * P, 2 * P), 3), 1)
    gate.push(video[:1])
    assert bool((gate.push(video[1:2], torch.zeros(2, 2)).kind == CHANGED).all())
    assert bool((gate.push(video[2:]).kind == STATIC).all())


def test_the_adaptive_limit_follows_the_noise_between_once_and_twice_the_limit() -> None:
    size = (6 * P, 6 * P)
    quiet, loud = noisy(still(size, 20), 2), noisy(still(size, 20), 40)
    assert set(push(quiet, noise="adaptive").limit.tolist()) == {64}
    limits = push(loud, noise="adaptive").limit.tolist()
    assert limits[0] == 64
    assert limits[1:] == [128] * 19


def test_sensor_noise_is_encoded_by_default_and_hardly_under_the_adaptive_rule() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = torch.full((30, 1, 12 * P, 12 * P), 120.0)
    video = (clean + 4 * torch.randn(clean.shape, generator=generator)).round().byte()
    fixed, adaptive = push(video, scene_cut=None), push(video, noise="adaptive", scene_cut=None)
    assert (fixed.kind[1:] == CHANGED).float().mean() > 0.5
    assert (adaptive.kind[1:] == CHANGED).float().mean() < 0.05
    assert bool((adaptive.limit[1:] > 64).all())


def test_motion_does_not_raise_the_adaptive_limit() -> None:
    still_half, moving_half = still((4 * P, 4 * P), 20), pan((4 * P, 4 * P), 20, (0, 3))
    video = torch.cat([still_half, moving_half], 3)
    assert set(push(video, noise="adaptive", search_radius=4).limit.tolist()) == {64}


def test_the_adaptive_limit_forgets_after_fifteen_frames() -> None:
    size = (4 * P, 4 * P)
    video = torch.cat([noisy(still(size, 20), 40), *[noisy(still(size, 1), 40)] * 30])
    limits = push(video, noise="adaptive").limit.tolist()
    assert limits[:20] == [64] + [128] * 19
    # Frame 20 still differs from the 19th; then the median of 15 falls with the 8th quiet frame.
    assert limits[20:] == [128] * 8 + [64] * 22


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(("contrast", "outvoted"), [(9, False), (10, True)])
def test_only_textured_still_cells_outvote_a_pan(f: int, contrast: int, outvoted: bool) -> None:
    """Four still cells against three that pan: those under 2 * 4 * 64 = 512 have no vote."""
    stripes = 100 + contrast * (torch.arange(P) % 2)  # 8 rows of 7 steps: 56 * contrast
    video = pan((2 * P, 4 * P), 2, (0, 2), seed=5)
    video[..., :P, :] = stripes.byte().repeat(4)
    result = push(video.repeat_interleave(f, 0), search_radius=2, temporal_patch=f)
    assert bool((result.kind[1, 0] == STATIC).all())
    assert bool((result.kind[1, 1, :3] == (CHANGED if outvoted else MOVED)).all())
