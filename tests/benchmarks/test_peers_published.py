"""What public code was seen to choose, its known defects, and the policies that have none."""

import json
from pathlib import Path

import pytest
import torch
from peers.published import PUBLISHED, tass

from patchgate.policies import POLICIES, Budget, Frames, aks, bolt, date, pick

GOLDEN = json.loads((Path(__file__).parent / "policies_golden.json").read_text())["chosen"]
N = 256


def scores(name):
    i = torch.arange(N)
    if name == "hash":
        return (i * 7919 % 1009).double() / 1008
    i = i.double()
    return torch.exp(-(((i - 90) / 14) ** 2)) + 0.6 * torch.exp(-(((i - 200) / 5) ** 2))


CASES = [
    (name, k, GOLDEN[f"{name}/{k}"]) for name in ("hash", "bump") for k in (8, 16, 32, 64)
]  # fmt: skip


def frames(name):
    return Frames(pts=torch.arange(N).double(), rel=scores(name))  # one a second


@pytest.mark.parametrize(("name", "k", "want"), CASES, ids=lambda v: str(v)[:8])
def test_it_is_what_public_code_chose(name, k, want):
    clip, budget = frames(name), Budget(frames=k)
    assert PUBLISHED["aks"](clip, budget).index.tolist() == want["aks_public"]
    chosen = PUBLISHED["bolt"](clip, budget).index
    assert chosen.tolist() == want["bolt_public_p3"]
    assert k - len(chosen.unique()) == want["bolt_dups"]
    assert PUBLISHED["date"](clip, budget).index.tolist() == want["tass_public_sorted"]


@pytest.mark.parametrize(("name", "k", "want"), CASES, ids=lambda v: str(v)[:8])
def test_the_default_is_the_same_where_that_was_right(name, k, want):
    clip, budget = frames(name), Budget(frames=k)
    assert aks(clip, budget).index.tolist() == want["aks_exact_k"]
    spaced = date(clip, budget).index.tolist()
    assert len(spaced) == k
    if len(want["tass_public_sorted"]) == k:
        assert spaced == want["tass_public_sorted"]
    else:
        assert set(want["tass_public_sorted"]) <= set(spaced)


def test_date_asks_for_the_best_first():
    want = tass(scores("bump"), torch.arange(N).double(), 8)
    best = scores("bump")[want]
    assert want[0] == 90
    assert sorted(want) != want
    assert bool((best.diff() <= 0).any())


@pytest.mark.parametrize("k", [4, 8])
def test_mdp3_of_one_segment(k):
    a = 0.11 * torch.arange(96).double()
    feat = torch.stack(
        [a.cos(), a.sin(), (2.7 * a).cos(), (2.7 * a).sin(), 0.5 * (0.31 * a).cos()], 1
    )
    feat = feat / feat.norm(dim=1, keepdim=True)
    text = torch.tensor([0.3, 0.8, -0.2, 0.4, 0.1]).double()
    clip = Frames(pts=torch.arange(96).double(), feat=feat, rel=feat @ (text / text.norm()))
    want = GOLDEN[f"mdp3/{k}"]["mdp3_public_single_segment"]
    assert PUBLISHED["mdp3"](clip, Budget(frames=k)).index.tolist() == want


def test_the_defects_are_there_and_the_default_has_none():
    flat = Frames(pts=torch.arange(300).double(), rel=torch.ones(300))
    needle = Frames(pts=torch.arange(300).double(), rel=(torch.arange(300) // 3 == 50).double())
    budget = Budget(frames=8)
    assert len(PUBLISHED["aks"](flat, budget)) == 0
    assert len(PUBLISHED["aks"](needle, budget)) == 0
    assert PUBLISHED["bolt"](flat, budget).index.tolist() == [0] * 8
    for clip in (flat, needle):
        for policy in (aks, bolt, date):
            assert len(policy(clip, budget).index.unique()) == 8
    assert {150, 151, 152} <= set(bolt(needle, budget).index.tolist())


def test_the_repaired_inverse_cdf_is_bolt_where_no_frame_has_too_much_weight():
    """BOLT's targets are inset by 1 / n; ours stand in the middle of equal parts."""
    s = scores("hash")
    weights = s**3 / (s**3).sum()
    assert float(weights.max()) < 1 / 8
    middles = (torch.arange(8) + 0.5) / 8
    want = torch.searchsorted(weights.cumsum(0), middles.double())
    assert pick.inverse_cdf(s, 8, power=3).tolist() == want.tolist()


def test_strict_is_the_same_until_it_goes_and_says_that_it_goes():
    strict = {name for name, policy in POLICIES.items() if policy.has_strict}
    assert strict == {"aks", "apollo", "bolt", "date", "focus", "maxinfo", "mdp3"} == set(PUBLISHED)
    i = torch.arange(N).double()
    feat = torch.stack([(0.11 * i).cos(), (0.11 * i).sin(), (0.31 * i).cos()], 1)
    for name, run in PUBLISHED.items():
        clip = Frames(pts=2 * i, rel=0.9 * scores("hash"), feat=feat)
        for k in (5, 16, 64):
            with pytest.warns(DeprecationWarning, match=r"benchmarks/peers/published\.py") as said:
                chosen = POLICIES[name].run(clip, Budget(frames=k), strict=True)
            assert said[0].filename == __file__, "it names the line that has to change"
            want = run(clip, Budget(frames=k))
            assert chosen.index.tolist() == want.index.tolist(), (name, k)
