"""What policies are given that is not what they expect, and budgets at their ends."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchgate import Gate
from patchgate.policies import (
    POLICIES,
    Budget,
    Cells,
    Frames,
    Looker,
    Plan,
    aks,
    around,
    bolt,
    container_frames,
    date,
    diverse,
    f2c,
    frame_skip,
    mdp3,
    pick,
    pool,
    qwen3_vl,
    qwen25_vl,
    sevila,
    siglip,
    uniform,
    zoom,
)

BOOK = Path(__file__).parents[2] / "examples" / "clips" / "asl_book.mkv"
NAN = math.nan


def clip(n, seed=0, **more):
    chance = torch.Generator().manual_seed(seed)
    columns = {
        "rel": torch.rand(n, generator=chance),
        "delta": torch.rand(n, generator=chance),
        "feat": torch.randn(n, 6, generator=chance),
        "key": torch.arange(n) % 12 == 0,
    }
    return Frames(pts=torch.arange(n), **{**columns, **more})


# --- budgets ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=15)
@given(
    n=st.integers(1, 400),
    tokens=st.integers(1, 60),
    grid=st.sampled_from([siglip(), Cells(1, 1), qwen25_vl(360, 640), qwen3_vl(720, 1280)]),
)
def test_few_tokens_are_spent_on_few_frames(name, n, tokens, grid):
    plan = POLICIES[name].run(clip(n), Budget(tokens=tokens, grid=grid))
    assert len(plan) > 0
    assert plan.tokens(grid) <= tokens


def test_tokens_alone_ask_for_no_more_frames_than_the_processor_takes():
    """Qwen3-VL's pixels are those of the whole video: any number of frames fits, ever smaller."""
    grid = qwen3_vl(1080, 1920)
    budget = Budget(tokens=16_384, grid=grid)
    assert budget.count(36_000) == 768
    assert Budget(frames=2000, tokens=16_384, grid=grid).count(36_000) == 2000
    assert len(uniform(clip(2000), budget)) == 768
    assert Budget(tokens=20, grid=Cells(4, 5, most_frames=3)).count(100, 0.0) == 3


@pytest.mark.parametrize("temporal_patch", [1, 2])
@pytest.mark.parametrize("name", POLICIES)
def test_what_is_tokenized_keeps_to_the_budget(name, temporal_patch):
    gate = Gate(size=(112, 112), temporal_patch=temporal_patch)
    grid = Cells(8, 8, group=temporal_patch)
    known = container_frames(BOOK)
    frames = replace(clip(len(known)), pts=known.pts, key=known.key)
    plan = POLICIES[name].run(frames, Budget(tokens=300, grid=grid))
    looker = Looker(BOOK, gate=gate)
    assert 0 < sum(len(looker.look(part)) for part in plan.parts()) <= 300


def test_a_look_takes_no_more_from_the_decoder_than_it_needs():
    looker = Looker(BOOK, gate=Gate(size=(112, 112)), chunk=16)
    looker.look(Plan.of(looker.frames, torch.tensor([0, 2, 4])))
    assert looker.decoded == 5


# --- parts --------------------------------------------------------------------------------------


def test_more_directions_than_features_are_all_features():
    feat = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    assert diverse.max_vol(feat, 20, rank=9).equal(diverse.max_vol(feat, 20, rank=6))


def test_every_group_has_a_stamp():
    plan = Plan.of(clip(6), torch.arange(6), clip=torch.tensor([0, 0, 0, 1, 1, 1]))
    assert plan.stamps(2, "first").tolist() == [0, 2, 3, 5]
    assert plan.stamps(2, "last").tolist() == [1, 2, 4, 5]
    assert plan.stamps(2).tolist() == [0.5, 2, 3.5, 5]
    crossed = plan.replaced(clip=torch.tensor([0, 1, 0, 1, 0, 1]))
    assert crossed.stamps(2).tolist() == [1, 2, 4, 5]


@given(
    gaps=st.lists(st.sampled_from([0.04, 0.5, 1.0, 7.3]), max_size=40),
    fps=st.sampled_from([0.1, 1.0, 2.0, 29.97]),
)
def test_at_rate_is_what_is_shown_at_each_moment(gaps, fps):
    pts = torch.tensor([3.0, *gaps], dtype=torch.float64).cumsum(0)
    moments = 3 + torch.arange(math.floor(float(pts[-1] - 3) * fps + 1e-6) + 1).double() / fps
    shown = torch.searchsorted(pts, moments + 1e-3, right=True) - 1
    assert pool.at_rate(Frames(pts=pts), fps).equal(shown.unique())


def test_at_rate_does_not_count_moments():
    assert pool.at_rate(Frames(pts=[0.0, 1e12]), 2.0).tolist() == [0, 1]
    assert len(pool.at_rate(clip(50), 1e9)) == 50


def test_a_callable_is_not_asked_about_nothing():
    def score(candidates):
        assert len(candidates)
        return candidates.double() % 7

    for n in (0, 9, 16):  # where the second stage of focus has nothing new to score
        for name, policy in POLICIES.items():
            if "rel" in policy.needs:
                assert len(policy.run(clip(n, rel=score), Budget(frames=8))) == min(n, 8), name


def test_a_mask_of_frames_whose_scores_are_computed():
    some = clip(6, rel=lambda candidates: candidates.double()).at(torch.arange(6) % 3 == 2)
    assert some.number.tolist() == [2, 5]
    assert some.score(torch.tensor([0, 1])).tolist() == [2, 5]


@pytest.mark.parametrize("k", [1, 8, 30])
def test_pickers_take_scores_of_any_kind(k):
    scores = torch.rand(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    kinds = (scores.clone().requires_grad_(), scores.numpy(), scores.tolist())
    for kind in kinds:
        assert pick.bins(kind, k).equal(pick.bins(scores, k))
        want = pick.gap(scores, torch.arange(30.0), k)
        for pts in (torch.arange(30), list(range(30)), np.arange(30)):
            assert pick.gap(kind, pts, k).equal(want)


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda: Frames(pts=[0.0, 2.0, 1.0]), ValueError, "1.0 after 2.0 at position 2"),
        (lambda: Frames(pts=None), TypeError, "Frames.pts: expected numbers"),
        (lambda: Frames(pts=[0.0], rel=[1j]), TypeError, "real numbers"),
        (lambda: Frames(pts=[0.0, 1.0], feat=torch.zeros(2, 0)), ValueError, "D > 0"),
        (lambda: clip(3).at(torch.tensor([3])), ValueError, r"0\.\.2, got 3"),
        (lambda: Plan.of(clip(3), torch.tensor([-1])), ValueError, r"0\.\.2, got -1"),
        (lambda: Plan.of(clip(3), torch.tensor([0.5])), TypeError, "whole numbers"),
        (lambda: Plan([0], [NAN], [1.0], [1.0], [0]), ValueError, "finite seconds"),
        (lambda: Budget(tokens=9, grid="siglip"), TypeError, r"siglip\(\)"),
        (lambda: around(clip(9), [1.7], 3), TypeError, "whole numbers"),
        (lambda: bolt(clip(9, rel=lambda c: None), Budget(frames=3)), TypeError, "Frames.rel"),
        (lambda: bolt(clip(9, rel=lambda c: c[:2]), Budget(frames=3)), ValueError, r"\[9\]"),
        (lambda: bolt(clip(9), Budget(frames=3), power=NAN, strict=True), ValueError, "power"),
        (lambda: date(clip(9), Budget(frames=3), seconds=NAN, strict=True), ValueError, "seconds"),
        (lambda: mdp3(clip(9), Budget(frames=3), weight=0, strict=True), ValueError, "weight"),
        (lambda: f2c(clip(9), Budget(frames=3), anchors=0), ValueError, "anchors"),
        (lambda: f2c(clip(9), Budget(frames=3), redundancy=NAN), ValueError, "redundancy"),
        (lambda: frame_skip(clip(9), Budget(frames=3), clip=0), ValueError, "clip"),
        (lambda: sevila(clip(9), Budget(frames=3), pool_frames=-5), ValueError, "at least 1"),
        (lambda: aks(clip(9), Budget(frames=3), fps=0), ValueError, "fps"),
        (lambda: zoom(clip(9), 1, NAN), ValueError, "b: expected"),
        (lambda: zoom(clip(90), 30, 25), ValueError, "a <= b"),
        (lambda: pick.top_k([0.0, NAN], 1), ValueError, "got NaN"),
        (
            lambda: pick.gap([0.0, 1.0, 0.5], [0.0, 1.0], 1),
            ValueError,
            r"pts: expected shape \[3\]",
        ),
        (lambda: pick.gap([0.0, 1.0, 0.5], [0.0, 1.0, NAN], 2), ValueError, "pts"),
    ],
)
def test_says_what_was_expected_and_what_came(make, error, says):
    with pytest.raises(error, match=says):
        make()
