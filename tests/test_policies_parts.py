"""The parts that policies are made of: pools, details, plans and their sets, labels."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from patchgate.policies import (
    POLICIES,
    Budget,
    Cells,
    Frames,
    Plan,
    around,
    f2c,
    kffocus,
    labels,
    love_r1,
    mgsampler,
    pick,
    pool,
    q_frame,
    siglip,
    spend,
    window,
    zoom,
)
from patchgate.policies import slice as slice_

GRID = Cells(16, 16)


def seconds(n, **more):
    """One frame a second."""
    return Frames(pts=torch.arange(n).double(), **more)


# --- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"pts": [0.0, 1.0, 1.0]}, "rise"),
        ({"pts": [0.0, 1.0], "rel": [1.0, math.nan]}, "finite"),
        ({"pts": [0.0, 1.0], "rel": [1.0]}, r"expected shape \[2\]"),
        ({"pts": [0.0, 1.0], "index": [0.5, 1.0]}, "whole numbers"),
        ({"pts": [0.0, 1.0], "feat": torch.ones(3, 2)}, r"\[2, C\]"),
        ({"pts": [[0.0]]}, r"expected shape \[N\]"),
    ],
)
def test_frames_refuse(fields, says):
    with pytest.raises((ValueError, TypeError), match=says):
        Frames(**fields)


def test_a_policy_says_what_it_lacks():
    for name, policy in POLICIES.items():
        if policy.needs:
            with pytest.raises(ValueError, match=r"needs Frames\.\w+.*comes from"):
                policy.run(seconds(50), Budget(frames=4))
        else:
            assert len(policy.run(seconds(50), Budget(frames=5))) == 5, name


def test_a_callable_score_is_asked_for_the_pool_only():
    asked = []

    def score(at):
        asked.append(at)
        return at.double()

    plan = POLICIES["sevila"].run(seconds(1000, rel=score), Budget(frames=4))
    assert len(torch.cat(asked)) == 32
    assert plan.index.equal(pool.uniform(1000, 32)[-4:])
    asked.clear()
    POLICIES["focus"].run(seconds(3600, rel=score), Budget(frames=32))
    assert len(torch.cat(asked).unique()) < 3600 / 2
    with pytest.raises(ValueError, match=r"expected shape \[32\]"):
        POLICIES["sevila"].run(seconds(99, rel=lambda at: at[:3]), Budget(frames=4))


def test_part_of_the_frames():
    clip = seconds(10, rel=lambda at: at.double(), delta=torch.arange(10).double())
    part = clip.at(torch.tensor([2, 5, 7]))
    assert part.score(torch.tensor([1, 2])).tolist() == [5, 7]
    assert part.number.tolist() == part.delta.tolist() == [2, 5, 7]


# --- pools --------------------------------------------------------------------------------------


def test_at_rate_takes_what_is_shown_then():
    clip = Frames(pts=torch.tensor([0.0, 0.04, 0.4, 0.5, 1.0005, 2.9]))
    assert pool.at_rate(clip, 1).tolist() == [0, 4]  # at 2 s that of 1.0005 is still shown
    assert pool.at_rate(clip, 2).tolist() == [0, 3, 4]
    assert pool.at_rate(clip, 1000, most=2).tolist() == [1, 4]


def test_every_nth_and_clips():
    assert pool.every_nth(10, 4).tolist() == [0, 4, 8]
    assert pool.every_nth(10, 4, 3).tolist() == [0, 3, 4, 7, 8]
    assert pool.every_nth(5, 1).tolist() == [0, 1, 2, 3, 4]
    assert pool.clips(100, 4, 2).tolist() == [[23, 24, 25, 26], [73, 74, 75, 76]]
    assert pool.clips(6, 4, 2).shape == (1, 4)


def test_a_window_of_time():
    clip = Frames(pts=torch.arange(100) / 10, index=torch.arange(100) * 3)
    assert window(clip, 2, 4).pts.tolist() == (torch.arange(20, 41) / 10).double().tolist()
    plan = window(clip, 2.0, 4.0, 5, scale=2)
    assert len(plan) == 5
    assert plan.scale.tolist() == [2] * 5
    inner = window(clip, 2.0, 4.0, 3, open_ends=True)
    assert inner.index.tolist() == [63, 90, 117]  # neither 60 nor 120, which were seen
    assert len(window(clip, 50, 60, 3)) == 0
    with pytest.raises(ValueError, match="a <= b"):
        window(clip, 4, 2)


def test_around_what_was_picked():
    clip = seconds(100)
    first = Plan.of(clip, torch.tensor([0, 20, 40, 60, 80]))
    more = around(clip, [40], 8, seen=first)
    assert len(more) == 8
    assert all(20 < i < 60 and i != 40 for i in more.index.tolist())
    assert int((more.index < 40).sum()) == 4
    assert len(around(clip, [40], 1000, seen=first)) == 38
    assert len(first - more) == 5
    with pytest.raises(ValueError, match="numbers of candidates"):
        around(clip, [100], 2)


def test_key_frames_and_what_lies_between():
    key = torch.zeros(100, dtype=torch.bool)
    key[[0, 50]] = True
    at, is_key = pool.key_frames(seconds(100, key=key), 0.1)
    assert at[is_key].tolist() == [0, 50]
    assert len(at) == 2 + 5 + 4  # gaps of 50 and 49 s; one frame for every 10 s
    plan = kffocus(seconds(100, key=key), Budget(frames=11), delta=0.1)
    assert plan.index.equal(at)
    assert plan.ratio[is_key].tolist() == [1, 1]
    assert plan.ratio[~is_key].tolist() == [0.25] * 9


@given(n=st.integers(0, 60), chosen=st.sets(st.integers(0, 59)), k=st.integers(0, 70))
def test_filled(n, chosen, k):
    chosen = torch.tensor(sorted(i for i in chosen if i < n), dtype=torch.int64)
    at = pool.filled(chosen, n, k)
    assert len(at) == max(len(chosen), min(n, k))
    assert set(chosen.tolist()) <= set(at.tolist())
    assert bool((at.diff() > 0).all())


# --- picks with a known answer ------------------------------------------------------------------


def test_peaks_are_events():
    delta = torch.full((60,), 0.01).double()
    delta[[10, 30, 50]] = torch.tensor([0.5, 0.9, 0.7]).double()
    delta[31] = 0.6  # beside a higher one: no peak
    assert pick.peaks(delta, 3).tolist() == [10, 30, 50]
    assert pick.peaks(delta, 4).tolist() == [10, 30, 31, 50]
    assert pick.local_maxima(torch.tensor([3.0, 1, 2, 2, 2, 0, 5])).tolist() == [
        True, False, True, False, False, False, True,
    ]  # fmt: skip


def test_basins_have_a_peak_each():
    t = torch.arange(300).double()
    three = sum(torch.exp(-(((t - c) / 8) ** 2)) for c in (40, 150, 260))
    assert pick.basins(three, 3).tolist() == [40, 150, 260]
    ripples = three + 0.05 * torch.cos(t)
    assert len(pick.basins(ripples, 3)) == 3


def test_a_gap_is_kept_as_long_as_it_can_be():
    s = torch.zeros(200).double()
    s[95:105] = torch.arange(10).double() + 1
    at = pick.gap(s, torch.arange(200).double(), 2, seconds=20)
    assert at.tolist() == [99, 104]  # of 10 s of frames above the mean, those 5 s apart
    twice = pick.gap(s, torch.arange(200).double() * 10, 2, seconds=20)
    assert twice.tolist() == [102, 104]


def test_needles_are_found():
    for width in (3, 10):
        s = torch.rand(1000, generator=torch.Generator().manual_seed(0)).double() * 0.1
        s[500 : 500 + width] = 1.0
        needle = set(range(500, 500 + width))
        for name in ("date", "sevila", "aks", "bolt", "slice", "f2c"):
            pools = {"pool_frames": 1000} if name == "sevila" else {}
            plan = POLICIES[name].run(seconds(1000, rel=s), Budget(frames=16), **pools)
            assert needle & set(plan.index.tolist()), (name, width)


def test_motion_gets_the_frames():
    delta = torch.full((100,), 0.01).double()
    delta[60:80] = 0.25
    plan = mgsampler(seconds(100, delta=delta), Budget(frames=20))
    moving = int(((plan.index >= 60) & (plan.index < 80)).sum())
    assert moving == 20  # the least is 0 after its own minimum
    spread = slice_(seconds(100, delta=delta), Budget(frames=20))
    inside = int(((spread.index >= 60) & (spread.index < 80)).sum())
    assert 8 <= inside < 20  # its floor keeps looking elsewhere
    assert int(spread.index.diff().max()) <= 20


# --- spending -----------------------------------------------------------------------------------


def test_budget_identities_of_the_papers():
    frames = seconds(44, rel=torch.arange(44).double())
    plan = q_frame(frames, Budget(frames=44))
    assert float((1 / plan.scale**2).sum()) == 8  # 4 + 8 / 4 + 32 / 16
    assert sorted(plan.scale.tolist()) == [1] * 4 + [2] * 8 + [4] * 32
    streams = love_r1(seconds(100), Budget(), windows=[(30, 50)])
    assert set(streams.cost(Cells(16, 16)).tolist()) == {256, 36}  # 16 / sqrt(8) is 6 cells
    assert int((streams.scale == 1).sum()) == 21


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
