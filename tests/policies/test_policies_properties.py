"""What every policy promises, whatever the scores."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from patchgate.policies import (
    POLICIES,
    Budget,
    Cells,
    Frames,
    diverse,
    llava_onevision,
    pick,
    pool,
    qwen3_vl,
    qwen25_vl,
    siglip,
)

GRIDS = (siglip(), llava_onevision(), Cells(4, 5, group=2), qwen25_vl(360, 640),
         qwen3_vl(720, 1280, "qwen_vl_utils"))  # fmt: skip
WHOLE_GROUPS = {"cvvae"}  # declared: as many frames as 1 + 4 j
PICKERS = {
    "top_k": pick.top_k,
    "inverse_cdf": lambda s, k: pick.inverse_cdf(s, k, power=3),
    "blocks": lambda s, k: pick.inverse_cdf(s, k, floor=1, blocks=True),
    "bins": pick.bins,
    "gap": lambda s, k: pick.gap(s, torch.arange(len(s)).double(), k),
    "peaks": pick.peaks,
    "basins": pick.basins,
}


@st.composite
def scores(draw, least=0):
    """Whole numbers, so that a s + b is exact: noise, plateaus, needles."""
    kind = draw(st.sampled_from(["noise", "steps", "needle", "constant"]))
    n = draw(st.integers(least, 150))
    seed = draw(st.integers(0, 2**16))
    chance = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 1000, (n,), generator=chance).double()
    if kind == "steps":
        return (noise // 400).repeat_interleave(5)[:n]
    if kind == "needle":
        return (torch.arange(n) == int(noise[0]) % n if n else noise).double() * 100
    return torch.full((n,), 3.0, dtype=torch.float64) if kind == "constant" else noise


def frames_of(s):
    n = len(s)
    chance = torch.Generator().manual_seed(n)
    feat = torch.randn(n, 6, generator=chance)
    key = torch.arange(n) % 12 == 0
    return Frames(pts=torch.arange(n) / 2.0, rel=s, delta=s / 1000, key=key, feat=feat)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25)
@given(s=scores(), k=st.integers(1, 70))
def test_as_many_frames_as_asked_for_each_once_in_order(name, s, k):
    clip = frames_of(s)
    plan = POLICIES[name].run(clip, Budget(frames=k))
    want = min(k, len(clip))
    if name in WHOLE_GROUPS and want:
        want = 1 + (want - 1) // 4 * 4
    assert len(plan) == want
    assert bool((plan.index.diff() > 0).all())
    assert torch.isin(plan.index, clip.index).all()
    assert plan.pts.equal(clip.pts[plan.index])
    again = POLICIES[name].run(clip, Budget(frames=k))
    assert again.index.equal(plan.index)
    assert again.scale.equal(plan.scale)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=25)
@given(
    s=scores(),
    tokens=st.integers(200, 20_000),
    k=st.one_of(st.none(), st.integers(1, 70)),
    grid=st.sampled_from(GRIDS),
)
def test_never_over_the_budget(name, s, tokens, k, grid):
    plan = POLICIES[name].run(frames_of(s), Budget(frames=k, tokens=tokens, grid=grid))
    assert plan.tokens(grid) <= tokens
    assert int(plan.cost(grid).sum()) + grid.extra == plan.tokens(grid)
    assert len(plan.index.unique()) == len(plan) <= (k or len(s))
    assert len(plan) > 0 or not len(s)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=15)
@given(s=scores(least=2), k=st.integers(1, 40), a=st.sampled_from([0.25, 2.0, 1024.0]),
       b=st.integers(-500, 500))  # fmt: skip
def test_only_the_order_and_spacing_of_scores_count(name, s, k, a, b):
    clip, other = frames_of(s), frames_of(a * s + b)
    one, two = (POLICIES[name].run(each, Budget(frames=k)) for each in (clip, other))
    assert one.index.equal(two.index)
    assert one.scale.allclose(two.scale)


@pytest.mark.parametrize("name", ["date", "aks", "bolt", "sevila", "q_frame", "slice", "focus",
                                  "chronoforge", "mgsampler", "f2c"])  # fmt: skip
@given(n=st.integers(0, 32), k=st.integers(1, 40))
def test_scores_that_say_nothing_choose_evenly(name, n, k):
    clip = frames_of(torch.full((n,), 7.0).double())
    clip = replace(clip, pts=torch.arange(n))  # one a second: every frame is in every pool
    plan = POLICIES[name].run(clip, Budget(frames=k))
    assert plan.index.equal(pool.uniform(n, k))


@pytest.mark.parametrize("name", PICKERS)
@given(s=scores(), k=st.integers(0, 160))
def test_pickers(name, s, k):
    at = PICKERS[name](s, k)
    assert at.dtype == torch.int64
    assert len(at) == min(k, len(s))
    assert bool((at.diff() > 0).all())
    if len(s) and len(s.unique()) == 1:
        assert at.equal(pool.uniform(len(s), k))


@pytest.mark.parametrize("name", ["top_k", "peaks"])
@given(s=scores(), k=st.integers(1, 100))
def test_nested_pickers_keep_what_they_had(name, s, k):
    if len(s.unique()) > 1 and k + 1 < len(s):
        assert set(PICKERS[name](s, k).tolist()) <= set(PICKERS[name](s, k + 1).tolist())


@given(s=scores(), k=st.integers(1, 20), tail=st.integers(1, 30))
def test_a_black_tail_changes_no_best_frame(s, k, tail):
    if len(s) > k and len(s.unique()) > 1 and k <= int((s > s.min()).sum()):
        longer = torch.cat([s, torch.full((tail,), float(s.min()), dtype=torch.float64)])
        assert pick.top_k(longer, k).equal(pick.top_k(s, k))


@given(n=st.integers(0, 200), k=st.integers(0, 220))
def test_uniform_is_even(n, k):
    for ends in (False, True):
        at = pool.uniform(n, k, ends=ends)
        assert len(at) == min(n, k)
        assert bool((at.diff() > 0).all())
        if len(at) > 2:
            assert int(at.diff().max() - at.diff().min()) <= 1
        if 1 < k <= n and ends:
            assert (int(at[0]), int(at[-1])) == (0, n - 1)


@settings(max_examples=60)
@given(n=st.integers(2, 14), k=st.integers(1, 5), seed=st.integers(0, 10_000))
def test_log_det_is_near_the_best_of_all_sets(n, k, seed):
    """Greedy is within 1 - 1/e of the best for a monotone function that is 0 of nothing."""
    chance = torch.Generator().manual_seed(seed)
    feat = torch.nn.functional.normalize(torch.randn(n, 5, generator=chance).double(), dim=1)
    kernel = torch.eye(n).double() + feat @ feat.T  # at least 1: log det rises with the set
    k = min(k, n)

    def value(chosen):
        chosen = list(chosen)
        return float(kernel[chosen][:, chosen].logdet())

    greedy = diverse.log_det(lambda i: kernel[:, i], kernel.diagonal(), k)
    best = max(value(chosen) for chosen in itertools.combinations(range(n), k))
    assert value(greedy.tolist()) >= (1 - 1 / 2.718281828) * best - 1e-9
    # Each step is the best one, which the incremental factor must not lose.
    chosen: list[int] = []
    for _ in range(min(k, n - 1)):
        rest = [i for i in range(n) if i not in chosen]
        chosen.append(max(rest, key=lambda i: value([*chosen, i])))
    if k < n:
        assert value(greedy.tolist()) == pytest.approx(value(chosen))


@given(n=st.integers(2, 40), k=st.integers(1, 20), seed=st.integers(0, 1000))
def test_log_det_is_nested(n, k, seed):
    chance = torch.Generator().manual_seed(seed)
    feat = torch.randn(n, 30, generator=chance)
    gain = torch.rand(n, generator=chance).double()
    few, more = (
        diverse.log_det(*diverse.cosine_kernel(feat), c, gain).tolist() for c in (k, k + 1)
    )
    assert set(few) <= set(more)


@given(n=st.integers(9, 60), seed=st.integers(0, 1000), tolerance=st.sampled_from([1.0, 0.5]))
def test_max_vol_bounds_the_coefficients(n, seed, tolerance):
    chance = torch.Generator().manual_seed(seed)
    feat = torch.randn(n, 12, generator=chance).double()
    at = diverse.max_vol(feat, n - 1, rank=6, tolerance=tolerance)
    rows = torch.linalg.svd(feat, full_matrices=False).U[:, :6]
    others = [i for i in range(n) if i not in at.tolist()]
    length = (rows @ torch.linalg.pinv(rows[at])).norm(dim=1)[others]
    assert len(at) == n - 1 or float(length.max()) <= tolerance + 1e-9
    assert len(diverse.max_vol(feat, 20, rank=6)) == min(20, n)


def test_frames_alike_are_chosen_evenly_by_their_features_too():
    same = torch.ones(50, 4)
    assert diverse.log_det(*diverse.cosine_kernel(same), 8).equal(
        pool.filled(torch.tensor([0]), 50, 8)
    )
    assert len(diverse.max_vol(same, 8)) == 8
    assert diverse.max_vol(torch.zeros(50, 4), 8).equal(pool.uniform(50, 8))


def test_twins_are_chosen_last():
    feat = torch.eye(6).repeat(2, 1)  # six frames, twice
    at = diverse.log_det(*diverse.cosine_kernel(feat), 6)
    assert sorted(i % 6 for i in at.tolist()) == list(range(6))
    at = diverse.max_vol(feat, 6, rank=6)
    assert sorted(i % 6 for i in at.tolist()) == list(range(6))
