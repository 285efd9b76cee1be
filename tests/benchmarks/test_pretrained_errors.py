"""benchmarks/pretrained: errors, equal work, cut-outs and their masks, by hand."""

import math

import pytest
import torch
from pretrained import cutouts, errors, scenes
from pretrained.cutouts import FAST, LARGE, SLOW
from pretrained.equal import between, sampled
from pretrained_cases import head
from torch import Tensor

# --- errors -----------------------------------------------------------------------------------


def still(frames: int = 7, cells: int = 9) -> Tensor:
    """Features that point along the first axis, CLS first."""
    return torch.tensor([1.0, 0.0]).repeat(frames, 1 + cells, 1)


def turning() -> Tensor:
    """Cell 3 turns by a right angle at frame 5."""
    features = still()
    features[5:, 1 + 3] = torch.tensor([0.0, 1.0])
    return features


def test_the_tenth_that_changed_most_in_five_frames() -> None:
    found = errors.changed(turning())
    assert found.nonzero().tolist() == [[5, 3], [6, 3]]


def test_errors_by_hand() -> None:
    truth = errors.Truth.of(turning(), head)
    features = turning()
    features[5, 1 + 3] *= -1  # the other way: 2; it is one of the two that changed most
    features[6, 1 + 0] = torch.tensor([0.0, 1.0])  # a right angle: 1
    features[2, 0] = torch.tensor([0.0, 1.0])  # CLS
    found = errors.measure(features, truth, head)
    assert found.every == pytest.approx((2 + 1) / 63)
    assert found.changed == pytest.approx((2 + 0) / 2)
    assert found.cls == pytest.approx(1 / 7)
    # The 99th percentile of 63 numbers, 1 and 2 at the end, lies at place 61.38 of 62.
    assert found.worst == pytest.approx(1.38, abs=1e-4)
    moved = abs(1 / (1 + math.exp(0.5)) - 1 / (1 + math.exp(-0.5)))  # the mean feature: +-0.5
    assert found.saliency == pytest.approx(moved / 63)


def test_the_dense_features_err_in_nothing() -> None:
    truth = errors.Truth.of(turning(), head)
    assert max(errors.measure(turning(), truth, head)) < 1e-6


def test_features_of_nan_or_of_another_length_are_refused() -> None:
    truth = errors.Truth.of(turning(), head)
    with pytest.raises(ValueError, match=r"expected 7 frames of 10 tokens, got \(6, 10, 2\)"):
        errors.measure(turning()[:6], truth, head)
    with pytest.raises(ValueError, match="features: expected finite numbers, got NaN"):
        errors.measure(turning() * torch.nan, truth, head)
    with pytest.raises(ValueError, match="expected more than 5 frames, got 5"):
        errors.changed(still(5))


def test_a_read_out_of_nan_or_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="saliency: expected finite numbers, got NaN"):
        errors.read(lambda x: head(x) * torch.nan, still())
    with pytest.raises(ValueError, match="saliency: expected 7 maps, got 1"):
        errors.read(lambda x: head(x)[:1], still())


# --- equal work -------------------------------------------------------------------------------


def test_between_points_the_line_is_straight_in_logarithms() -> None:
    points = [(0.4, 0.001), (0.1, 0.004), (0.1, 0.009)]
    assert between(points, 0.2) == pytest.approx(0.002)
    assert between(points, 0.1) == 0.004
    assert between(points, 0.05) is None
    assert between(points, 0.5) is None


def test_sampling_at_any_work() -> None:
    points = [(0.5, 0.02), (0.1, 0.1)]
    assert sampled(points, 0.5) == pytest.approx(0.02)
    assert sampled(points, 0.75) == pytest.approx(0.01)  # half as many frames are held
    assert sampled(points, 1.0) == 0
    assert sampled(points, 1.2) == 0
    assert sampled(points, 0.25) == pytest.approx(0.04)
    assert sampled(points, 0.01) == 0.1


# --- cut-outs ---------------------------------------------------------------------------------


def test_a_cut_out_is_solid_and_hides_what_is_behind() -> None:
    back = torch.randint(0, 100, (4, 3, 64, 64), dtype=torch.uint8)
    front = torch.randint(100, 200, (3, 64, 64), dtype=torch.uint8)
    made = cutouts.scene("s", front, back, FAST)
    assert made.mask.shape == (4, 64, 64)
    inside = made.mask[:, None].expand(-1, 3, -1, -1)
    assert (made.rgb[inside] >= 100).all()
    assert torch.equal(made.rgb[~inside], back[~inside])
    # It begins in the middle, at its own place, and takes its pixels along.
    assert torch.equal(made.rgb[0][inside[0]], front[inside[0]])
    middle = [float(each.float().mean()) for each in made.mask[3].nonzero().unbind(1)]
    moved = [64 * FAST.speed * 3 * part for part in (math.sin(FAST.angle), math.cos(FAST.angle))]
    assert middle == pytest.approx([31.5 + moved[0], 31.5 + moved[1]], abs=1)


@pytest.mark.parametrize("path", [SLOW, FAST, LARGE])
def test_a_cut_out_never_leaves_the_picture(path: cutouts.Path) -> None:
    blank = torch.zeros(1, 1, 1, 1, dtype=torch.uint8)
    made = cutouts.scene("s", blank[0].expand(3, 56, 56), blank.expand(90, 3, 56, 56), path)
    sizes = made.mask.flatten(1).sum(1)
    assert sizes.min() > 0.9 * sizes.max() > 0


def test_a_moving_camera_moves_in_parts_of_pixels() -> None:
    ramp = torch.arange(80, dtype=torch.uint8).expand(3, 80, 80) * 2  # two levels a pixel
    seen = cutouts.panned(ramp.repeat(3, 1, 1, 1), 64, 1.25 / 64)
    assert seen.shape == (3, 3, 64, 64)
    for t, first in enumerate((8, 9.25, 10.5)):  # 16 pixels of room, the middle first
        columns = (torch.arange(64) + first) * 2
        assert (seen[t].float() - columns).abs().max() <= 0.5


def test_a_mask_is_carried_by_features_that_tell_the_thing_from_the_rest() -> None:
    shape, side = (8, 8), 64
    masks = torch.zeros(4, side, side, dtype=torch.bool)
    for t in range(4):
        masks[t, 16:40, 8 * (t + 1) : 8 * (t + 4)] = True  # a cell further in each frame
    inside = torch.nn.functional.interpolate(masks[:, None].float(), shape, mode="area").flatten(1)
    features = torch.stack([inside, 1 - inside], 2)  # [T, N, 2]
    assert cutouts.j(cutouts.carried(features, masks[0], shape), masks) > 0.85
    blind = torch.ones_like(features)  # all cells are alike: nothing is known of the mask
    assert cutouts.j(cutouts.carried(blind, masks[0], shape), masks) < 0.5


def test_j_by_hand() -> None:
    truth = torch.zeros(3, 4, 4, dtype=torch.bool)
    truth[:, :2, :2] = True
    found = truth.clone()
    found[0] = False  # the first frame is given: it does not count
    found[2, :2, :4] = True  # 4 of 8
    assert cutouts.j(found, truth) == pytest.approx((1 + 0.5) / 2)


def test_enough_scenes_can_be_made_of_what_ships() -> None:
    import harness

    found = scenes.plans(harness.clips(harness.SHIPPED))
    assert len(found) >= 6
    assert {bool(plan.pan) for plan in found} == {True, False}
    assert {plan.path for plan in found} == {SLOW, FAST, LARGE}
    assert len({plan.name for plan in scenes.PLANS}) == len(scenes.PLANS)
    assert scenes.plans([]) == {}
