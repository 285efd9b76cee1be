"""Details, plans and their sets, labels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchgate.policies import (
    Budget,
    Cells,
    Frames,
    Plan,
    f2c,
    labels,
    love_r1,
    q_frame,
    siglip,
    spend,
    zoom,
)

GRID = Cells(16, 16)


def seconds(n, **more):
    """One frame a second."""
    return Frames(pts=torch.arange(n).double(), **more)


# --- spending -----------------------------------------------------------------------------------


def test_budget_identities_of_the_papers():
    frames = seconds(44, rel=torch.arange(44).double())
    plan = q_frame(frames, Budget(frames=44))
    assert float((1 / plan.scale**2).sum()) == 8  # 4 + 8 / 4 + 32 / 16
    assert sorted(plan.scale.tolist()) == [1] * 4 + [2] * 8 + [4] * 32
    streams = love_r1(seconds(100), Budget(), windows=[(30, 50)])
    assert set(streams.cost(Cells(16, 16)).tolist()) == {256, 36}  # 16 / sqrt(8) is 6 cells
    assert int((streams.scale == 1).sum()) == 21
    many = [(a, a + 5) for a in range(0, 90, 10)]
    assert len(love_r1(seconds(100), Budget(frames=4), windows=many)) == 4


def test_a_clip_costs_what_a_frame_does():
    rel = torch.rand(400, generator=torch.Generator().manual_seed(1)).double()
    for fixed in (1, 2, 4):
        plan = f2c(seconds(400, rel=rel), Budget(tokens=10 * 256, grid=GRID), fixed=fixed)
        share = float((1 / plan.scale**2).sum())
        assert share <= 10 + 1e-9
        assert len(plan) <= 10 * fixed
        assert plan.tokens(GRID) <= 10 * 256


def test_clip_lengths_are_the_best_of_all():
    chance = torch.Generator().manual_seed(3)
    rel, feat = torch.rand(40, generator=chance).double(), torch.randn(40, 5, generator=chance)
    anchors = torch.tensor([0, 7, 20, 39])
    got = spend.clip_lengths(rel, anchors, feat, 4)
    z = (rel - rel.mean()) / rel.std(unbiased=False)
    unit = torch.nn.functional.normalize(feat.double(), dim=1)
    for anchor, length in zip(anchors.tolist(), got.tolist(), strict=True):
        values = []
        for l in range(1, 5):
            begin = min(max(anchor - (l - 1) // 2, 0), 40 - l)
            own = list(range(begin, begin + l))
            like = sum(float(unit[i] @ unit[j]) for i in own for j in own) / l**2
            values.append(float(z[own].mean()) - 0.5 * like + 0.05 * l / 4)
        assert length == 1 + max(range(4), key=values.__getitem__)


@given(
    scales=st.lists(st.sampled_from([1.0, 1.5, 2.0, 4.0]), min_size=1, max_size=12),
    tokens=st.integers(12, 3000),
    group=st.integers(1, 2),
)
def test_within_takes_the_least_factor_that_fits(scales, tokens, group):
    grid = Cells(16, 12, group=group)
    clip = seconds(len(scales))
    plan = Plan.of(clip, torch.arange(len(scales)), torch.tensor(scales))
    fitted = plan.within(Budget(tokens=tokens, grid=grid))
    assert fitted.tokens(grid) <= tokens
    factor = float(fitted.scale[0] / plan.scale[0])
    # Every factor at which some side loses a cell, tried in turn.
    steps = {1.0} | {
        side / (cells + 0.5) / scale * rounded
        for scale in scales for side in (16, 12) for cells in range(side)
        for rounded in (1 - 1e-12, 1 + 1e-12)
    }  # fmt: skip
    able = [f for f in steps if f >= 1 and plan.tokens(grid, f) <= tokens]
    assert factor == pytest.approx(min(able), abs=1e-9)


def test_too_few_tokens_for_the_frames():
    plan = Plan.of(seconds(10), torch.arange(10))
    with pytest.raises(ValueError, match="not even one token"):
        plan.within(Budget(tokens=9, grid=GRID))
    assert plan.within(Budget(tokens=10, grid=GRID)).tokens(GRID) == 10


# --- plans --------------------------------------------------------------------------------------


def test_groups_share_their_tokens_inside_a_clip():
    clip = seconds(7)
    plan = Plan.of(clip, torch.arange(7), clip=torch.tensor([0, 0, 0, 1, 1, 1, 1]))
    grid = Cells(4, 5, group=2)
    assert plan.cost(grid).tolist() == [20, 0, 20, 20, 0, 20, 0]
    mixed = Plan.of(clip, torch.arange(4), torch.tensor([1.0, 2, 1, 2]), torch.tensor([1, 0.5, 0.5, 0.3]))  # fmt: skip # noqa: E501
    assert mixed.cost(grid).tolist() == [20, 2, 0, 0]  # 2 x 2 cells at scale 2, half of them
    assert [len(part) for part in mixed.parts()] == [2, 2]
    assert mixed.tokens(Cells(4, 5, group=2, extra=3)) == 25


def test_plans_add_and_subtract():
    clip = seconds(20)
    coarse = Plan.of(clip, torch.arange(0, 20, 4), 2.0)
    fine = Plan.of(clip, torch.arange(4, 12), 1.0, clip=1)
    both = coarse | fine
    assert both.index.tolist() == [0, *range(4, 12), 12, 16]
    assert both.scale.tolist() == [2.0] + [1.0] * 8 + [2.0, 2.0]
    assert (fine | coarse).scale.equal(both.scale)
    assert (both - coarse).index.tolist() == list(range(4, 12))  # finer than what is there
    assert (coarse - both).index.tolist() == []
    assert (coarse - fine).index.tolist() == [0, 12, 16]
    empty = coarse.at(torch.zeros(5, dtype=torch.bool))
    assert len(empty | coarse) == 5
    assert len(coarse - empty) == 5
    assert len(empty - coarse) == 0
    assert "no frames" in repr(empty)


@given(a=st.sets(st.integers(0, 19)), b=st.sets(st.integers(0, 19)), c=st.sets(st.integers(0, 19)))
def test_plans_are_sets(a, b, c):
    clip = seconds(20)
    one, two, three = (Plan.of(clip, torch.tensor(sorted(x), dtype=torch.int64)) for x in (a, b, c))
    assert set((one | two).index.tolist()) == a | b
    assert set((one - two).index.tolist()) == a - b
    assert ((one | two) | three).index.equal((one | (two | three)).index)
    assert ((one - two) | two).index.equal((one | two).index)


def test_stamps_of_temporal_patches():
    clip = Frames(pts=torch.arange(60) / 25)
    plan = Plan.of(clip, torch.tensor([0, 12, 25, 38, 50]))
    assert plan.stamps(2).tolist() == pytest.approx([0.24, 1.26, 2.0])  # as Qwen3-VL's processor
    assert plan.stamps(2, "first").tolist() == pytest.approx([0.0, 1.0, 2.0])
    assert plan.stamps(2, "last").tolist() == pytest.approx([0.48, 1.52, 2.0])
    assert plan.stamps().equal(plan.pts)
    assert len(plan.at(torch.zeros(5, dtype=torch.bool)).stamps(2)) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [({"scale": 0.5}, "at least 1"), ({"ratio": 0.0}, "more than 0"), ({"ratio": 1.5}, "at most")],
)
def test_plans_refuse(change, says):
    with pytest.raises(ValueError, match=says):
        Plan.of(seconds(3), torch.arange(3), **change)


def test_love_r1_tidies_windows():
    clip = seconds(800)
    assert zoom(clip, 100, 160) == (95, 165)
    assert zoom(clip, 100, 102) == (86, 116)  # 30 s around the middle
    assert zoom(clip, 798, 799) == (770, 800)
    assert zoom(clip, 100, 160, seen=[(90, 170)]) is None
    assert zoom(clip, 100, 160, seen=[(150, 250)]) == (95, 165)
    assert zoom(seconds(2), 0, 1) is None


def test_labels():
    times = torch.tensor([0.0, 12.34, 125.0, 3725.9])
    assert labels.seconds(times) == ["<0.0s>", "<12.3s>", "<125.0s>", "<3725.9s>"]
    assert labels.spelled([1.26]) == ["<1.3 seconds>"]
    assert labels.clock(times) == ["00:00", "00:12", "02:05", "1:02:05"]
    assert labels.frames(torch.tensor([0, 17])) == ["frame 0:", "frame 17:"]
    assert labels.spans([3.0], [5.04]) == ["3.0-5.0 seconds:"]
    assert [labels.seconds_of(t) for t in ("02:05", "1:02:05")] == [125, 3725]
    with pytest.raises(ValueError, match="mm:ss"):
        labels.seconds_of("12.5")
    assert siglip().cells(2, 1) == (14, 14)  # 27 / 2, halves to even
