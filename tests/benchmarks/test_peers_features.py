"""Peers that look at features, against values worked out by hand."""

import math

import pytest
import torch
from peers import dtd, evs, frame_fusion, tome, vidcom2
from peers.tome import Merging
from torch import Tensor


def directions(degrees: list[list[float]]) -> Tensor:
    """Unit vectors ``[T, N, 2]``."""
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], -1)


# --- EVS --------------------------------------------------------------------------------------


def test_evs_keeps_the_first_frame_and_the_farthest_of_the_others() -> None:
    features = directions([[0, 0], [30, 10], [30, 50]])  # turned by 30 10 | 0 40
    found = evs.dissimilarities(features)
    assert found[1:].flatten().tolist() == pytest.approx(
        [1 - math.cos(math.radians(a)) for a in (30, 10, 0, 40)]
    )
    assert evs.choose(found, 0.5).keep.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert evs.choose(found, 0.67).keep.tolist() == [[1, 1], [1, 0], [0, 1]]


def test_evs_rounds_down_and_never_drops_the_first_frame() -> None:
    found = evs.dissimilarities(torch.randn(5, 4, 3))
    assert evs.choose(found, 0.39).tokens == 7
    assert evs.choose(found, 0.1).tokens == 4


def test_evs_breaks_ties_to_the_earliest() -> None:
    found = evs.dissimilarities(torch.ones(4, 2, 3))
    assert evs.choose(found, 0.5).keep.flatten().tolist() == [1] * 4 + [0] * 4


# --- DTD --------------------------------------------------------------------------------------


def test_dtd_drops_what_is_more_alike_than_its_threshold() -> None:
    features = directions([[0, 0], [61, 59], [61, 0]])
    assert dtd.by_features(dtd.likenesses(features)).keep.tolist() == [[1, 1], [1, 0], [0, 0]]


# --- VidCom2 ----------------------------------------------------------------------------------


def test_vidcom2_likeness_is_a_sum_of_five_gaussians() -> None:
    tokens = torch.tensor([[[1.0, 0], [1, 0], [1, 0], [0, 1]]])
    found = vidcom2._likeness(tokens, tokens.mean(1, keepdim=True))  # centre (3/4, 1/4)
    near, far = (
        sum(math.exp(-d / (2 * a)) for a in (0.125, 0.25, 0.5, 1, 2)) for d in (1 / 8, 9 / 8)
    )
    assert found.flatten().tolist() == pytest.approx([near, near, near, far])


def test_vidcom2_gives_a_frame_that_stands_out_more() -> None:
    # Softmax at temperature 0.01 of scores that differ by 0.01 ln 3: 1/4 and 3/4, mean 1/2.
    likeness = torch.tensor([[1.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    likeness[1] -= 0.01 * math.log(3)
    assert vidcom2.frame_shares(likeness, 0.4).tolist() == pytest.approx([0.4 * 0.75, 0.4 * 1.25])
    assert vidcom2.frame_shares(likeness[:1], 0.4).tolist() == pytest.approx([0.4])
    assert vidcom2.frame_shares(likeness, 0.9).tolist() == pytest.approx([0.9 * 0.75, 1])


def test_vidcom2_keeps_the_least_typical_by_the_quiet_channels() -> None:
    features = torch.zeros(2, 4, 4)
    features[..., 0] = 1  # quiet
    features[:, 2] = torch.tensor([0.0, 1, 0, 0])  # the odd one of each frame
    features[..., 2:] = torch.randn(2, 4, 2) * 100  # loud channels say nothing
    choice = vidcom2.choose(vidcom2.likenesses(features), 0.25)
    assert choice.keep.tolist() == [[0, 0, 1, 0], [0, 0, 1, 0]]
    assert choice.source.tolist() == [[-1, -1, 2, -1], [-1, -1, 6, -1]]


# --- FrameFusion ------------------------------------------------------------------------------


def test_frame_fusion_merges_runs_into_their_mean() -> None:
    features = torch.tensor([1.0, 2, 6, -1, -2])[:, None, None]  # cosines 1 1 -1 1
    choice = frame_fusion.choose(dtd.likenesses(features), 0.4)  # 3 of 5 shall go
    assert choice.source.flatten().tolist() == [0, 0, 0, 3, 3]
    assert choice.shown(features).flatten().tolist() == [3, 3, 3, -1.5, -1.5]


def test_frame_fusion_takes_the_most_alike_first_and_none_below_its_least() -> None:
    features = directions([[0, 0], [20, 50], [20, 110]])  # turned by 20 50 | 0 60
    alike = dtd.likenesses(features)
    assert frame_fusion.choose(alike, 0.7).source.tolist() == [[0, 1], [0, 3], [0, 5]]
    assert frame_fusion.choose(alike, 0.4).source.tolist() == [[0, 1], [0, 1], [0, 5]]
    assert frame_fusion.choose(alike, 0.2).source.tolist() == [[0, 1], [0, 1], [0, 5]]
    assert frame_fusion.choose(alike, 0.2, least=-1).tokens == 2


# --- ToMe -------------------------------------------------------------------------------------


def test_tome_joins_the_most_alike_pair() -> None:
    tokens = directions([[0, 90, 80, 170]])  # A: 0 80, B: 90 170; nearest: 80 to 90
    merged = Merging.start(tokens).merged(tokens, 1)
    assert merged.owner.tolist() == [[0, 1, 1, 2]]  # left of A: 0; then B: 90, 170
    assert merged.size.tolist() == [[1, 2, 1]]
    assert torch.allclose(merged.tokens[0, 1], (tokens[0, 1] + tokens[0, 2]) / 2)
    assert merged.choice().source.tolist() == [[0, 1, 1, 3]]


def test_tome_weighs_by_size() -> None:
    tokens = torch.tensor([[[1.0], [4.0], [7.0], [10.0]]])
    once = Merging.start(tokens).merged(tokens, 2)  # all alike: both of A to the first of B
    assert once.size.tolist() == [[3, 1]]
    assert once.tokens.flatten().tolist() == [4, 10]
    twice = once.merged(once.tokens, 1)
    assert twice.tokens.flatten().tolist() == [pytest.approx((3 * 4 + 10) / 4)]
    assert twice.owner.tolist() == [[0, 0, 0, 0]]


def test_tome_merges_at_most_half_at_a_time_and_down_to_a_share() -> None:
    features = torch.randn(3, 17, 8)
    assert Merging.start(features).merged(features, 99).size.shape == (3, 9)
    for share, left in ((1.0, 17), (0.5, 8), (0.1, 2), (0.0, 1)):
        choice = tome.choose(features, share)
        assert choice.keep.sum(1).tolist() == [left] * 3
    shown = tome.choose(features, 0.0).shown(features)
    assert torch.allclose(shown, features.mean(1, keepdim=True).expand_as(features), atol=1e-6)


def test_tome_never_merges_across_frames() -> None:
    choice = tome.choose(torch.ones(4, 6, 2), 0.2)
    assert torch.equal(choice.source // 6, torch.arange(4)[:, None].expand(-1, 6))
