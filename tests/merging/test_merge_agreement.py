"""Which members of a group its mean is made of."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchgate.merging.agreement import agreeing


def groups(seed: int, tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features of a few looks with noise, sizes, and a grouping."""
    torch.manual_seed(seed)
    looks = torch.randn(3, 8)
    features = looks[torch.randint(0, 3, (tokens,))] + 0.1 * torch.randn(tokens, 8)
    root = torch.randint(0, min(tokens, 4), (tokens,))
    root[:4] = torch.arange(min(tokens, 4))  # representatives represent themselves
    return features, torch.randint(1, 9, (tokens,)).double(), root


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 30), st.sampled_from([0.0, 0.3, 1.0, 5.0]))
def test_all_count_if_near_the_mean_else_those_near_the_middle_one(seed, tokens, agreement) -> None:
    features, weight, root = groups(seed, tokens)
    got = agreeing(features, weight, root, agreement)
    for own in root.unique().tolist():
        member = (root == own).nonzero().flatten()
        rows, sizes = features[member].double(), weight[member]
        mean = (sizes[:, None] * rows).sum(0) / sizes.sum()
        away = (rows - mean).norm(dim=1)
        middle = rows[(away <= away.min() * 1.001).nonzero()[0, 0]]
        limit = agreement * middle.norm()
        counts = (rows - middle).norm(dim=1) <= limit
        assert torch.equal(got[member], sizes if away.max() <= limit else sizes * counts)


def test_a_mean_that_serves_both_is_taken_of_two_that_differ() -> None:
    features = torch.tensor([[10.0, 0], [10, 5], [10, 0], [0, 10]])
    root, weight = torch.tensor([0, 0, 2, 2]), torch.tensor([1.0, 1, 2, 1]).double()
    assert agreeing(features, weight, root, 0.3).tolist() == [1, 1, 2, 0]
    assert agreeing(features, weight, root, 0.2).tolist() == [1, 0, 2, 0]


def test_tokens_on_their_own_always_count() -> None:
    features, weight = torch.zeros(3, 2), torch.ones(3).double()
    assert torch.equal(agreeing(features, weight, torch.arange(3), 0.0), weight)
    same = torch.zeros(3, dtype=torch.int64)  # identical members, of no length
    assert torch.equal(agreeing(features, weight, same, 0.0), weight)


def test_many_rows_are_compared_piece_by_piece() -> None:
    features, weight, root = groups(0, 3000)
    some = agreeing(features, weight, root, 0.3)
    member = root == root[-1]
    alone = agreeing(features[member], weight[member], torch.zeros(int(member.sum())).long(), 0.3)
    assert torch.equal(some[member], alone)
    assert 0 < int((some == 0).sum()) < 3000
