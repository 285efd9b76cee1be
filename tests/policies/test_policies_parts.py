"""The parts that policies are made of: frames, pools and picks."""

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
    kffocus,
    mgsampler,
    pick,
    pool,
    window,
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
        ({"pts": [0.0, 1.0], "feat": torch.ones(3, 2)}, r"\[2, D\]"),
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
    assert len(torch.cat(asked).unique()) == len(torch.cat(asked)) < 3600 / 2
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
