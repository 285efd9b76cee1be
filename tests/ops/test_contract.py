"""contract: the cheapest links are joined first, until there are few enough tokens."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from merge_cases import Links, make_links
from torch import Tensor

from patchgate import reference

op = torch.ops.patchgate.contract


def chain(*values: float, weight: float = 1.0, **more: float) -> Links:
    """Tokens of one number each, every one linked to the one before."""
    features = torch.tensor(values).float()[:, None]
    count = len(values)
    distance = torch.cat([torch.tensor([torch.inf]), features.diff(dim=0)[:, 0].square()])
    return Links(
        features, torch.full((count,), weight).double(), torch.arange(count) - 1, distance,
        torch.zeros(count).long(), torch.tensor([count]),
        int(more.get("most", count)), more.get("threshold", math.inf),
    )  # fmt: skip


def error(links: Links, root: Tensor) -> float:
    """The weighted squared error of a grouping, members against their group's mean."""
    features, weight = links.features.double(), links.weight[:, None]
    total = torch.zeros_like(weight).index_add_(0, root, weight)
    mean = torch.zeros_like(features).index_add_(0, root, weight * features) / total
    return float((weight * (features - mean[root]).square()).sum())


@st.composite
def forests(draw: st.DrawFn) -> Links:
    torch.manual_seed(draw(st.integers(0, 10_000)))
    tokens, width = draw(st.integers(1, 40)), draw(st.sampled_from([1, 3, 40, 300]))
    features = torch.randn(tokens, width)
    return make_links(
        features, draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(0, tokens)),
        draw(st.sampled_from([0.5, 1.0, 1e9, math.inf])),
    )  # fmt: skip


@given(forests())
def test_op_equals_reference(links: Links) -> None:
    assert torch.equal(op(*links), reference.contract(*links))


@given(forests())
def test_it_is_a_grouping_along_links_within_its_limits(links: Links) -> None:
    root = op(*links)
    every = torch.arange(len(root))
    assert torch.equal(root[root], root)  # a representative represents itself
    joined = root != every
    assert torch.equal(root[joined], root[links.link[joined]])  # joined to what it is linked to
    assert int(joined.sum()) <= links.most
    assert bool((links.bin[joined].bincount(minlength=len(links.room)) <= links.room).all())
    assert not bool(joined[links.weight == math.inf].any())


@given(forests(), st.integers(0, 40))
def test_as_many_are_joined_as_were_asked_for(links: Links, most: int) -> None:
    links = links._replace(threshold=math.inf, room=links.room + len(links.link), most=most)
    able = int((links.link >= 0).sum())
    assert int((op(*links) != torch.arange(len(links.link))).sum()) == min(most, able)


def test_a_slow_fade_is_cut_in_the_middle_and_not_chained_into_one() -> None:
    assert op(*chain(0, 1, 2, 3, 4, 5, 6, 7, most=6)).tolist() == [0] * 4 + [4] * 4


def test_what_is_joined_weighs_more_from_then_on() -> None:
    links = chain(0, 1, 1.9, most=1)
    assert op(*links).tolist() == [0, 1, 1]
    heavy = links._replace(weight=torch.tensor([1.0, 1, 100]).double())
    assert op(*heavy).tolist() == [0, 0, 2]


@given(st.integers(0, 1000))
def test_its_error_is_near_the_least_of_all_groupings_of_a_chain(seed: int) -> None:
    torch.manual_seed(seed)
    links = chain(*torch.randn(8).cumsum(0).tolist(), most=5)
    best = math.inf
    for cuts in torch.combinations(torch.arange(1, 8), 2).tolist():  # three groups
        root = torch.zeros(8).long()
        for cut in cuts:
            root[cut:] = cut
        best = min(best, error(links, root))
    assert best <= error(links, op(*links)) + 1e-5
    assert error(links, op(*links)) <= 4 * best + 1e-5


def test_ties_are_joined_in_order() -> None:
    assert op(*chain(5, 5, 5, 5, most=2)).tolist() == [0, 0, 0, 3]


def test_a_token_of_infinite_weight_stays_as_it_is() -> None:
    links = chain(0, 1, 2, 3, most=2)
    weight = links.weight.clone()
    weight[0] = torch.inf
    assert op(*links).tolist() == [0, 0, 2, 2]
    # To join what cannot meet it half way is twice as dear.
    assert op(*links._replace(weight=weight)).tolist() == [0, 1, 1, 1]
    assert op(*links._replace(weight=weight, most=3)).tolist() == [0, 0, 0, 0]


def test_a_link_above_the_threshold_is_not_joined() -> None:
    assert op(*chain(10, 10.9, 20, 21.9, threshold=0.1)).tolist() == [0, 0, 2, 2]
    assert op(*chain(10, 10.9, 20, 21.9, threshold=0.09)).tolist() == [0, 0, 2, 3]
    assert op(*chain(10, 10, 10, threshold=0.0)).tolist() == [0, 0, 0]


def test_links_that_lead_round_do_no_harm() -> None:
    links = chain(0, 1, 2)._replace(link=torch.tensor([2, 0, 1]), distance=torch.ones(3))
    assert op(*links).unique().numel() == 1


def test_opcheck() -> None:
    torch.library.opcheck(op.default, make_links(torch.randn(9, 5)))
    torch.library.opcheck(op.default, make_links(torch.randn(0, 5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"link": torch.tensor([-1, 0, 3])}, "link: expected -1..2, got 3 at 2"),
        ({"bin": torch.tensor([0, 0, 1])}, "bin: expected 0..0, got 1 at 2"),
        ({"weight": torch.ones(3)}, "weight: expected float64, got float32"),
        ({"distance": torch.ones(2)}, "for each of the 3 tokens"),
        ({"room": torch.tensor([-1])}, r"room: expected 0\.\..*, got -1 at 0"),
        ({"most": -1}, "most -1 must be at least 0"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Tensor], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        op(*chain(1, 2, 3)._replace(**change))
