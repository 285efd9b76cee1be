"""merge: a budget that holds, tokens that stand for all their cells, and nothing else changed."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_cases import check, check_places, random_tokens, still_tokens
from token_cases import video_tokens

from patchgate import merge

T, GRID = 12, (4, 5)
N = GRID[0] * GRID[1]
FREE: list[dict[str, Any]] = [{}, {"spatial": False}, {"similar": True}, {"keep_grid": True}]
FREE += [{"spatial": False, "keep_grid": True}, {"spatial": False, "similar": True}]
free = pytest.mark.parametrize("free", FREE, ids=str)


@free
@pytest.mark.parametrize("budget", [21, 40, 70, 92])
def test_a_budget_is_met_exactly(free: dict[str, Any], budget: int) -> None:
    tokens = random_tokens()
    merged = merge(tokens, budget=budget, **free)
    assert len(merged) == budget
    check(tokens, merged)


@free
@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(0, 10**6))
def test_a_ratio_and_a_threshold_are_met(free: dict[str, Any], seed: int, millionths: int) -> None:
    torch.manual_seed(seed)
    share = millionths / 10**6  # a rounding above a whole number of tokens is that number
    tokens = random_tokens()
    least = len(merge(tokens, threshold=1e9, **free))
    check(tokens, merge(tokens, threshold=2 * share, **free))
    if math.ceil(share * len(tokens)) >= least:
        merged = merge(tokens, ratio=share, **free)
        assert len(merged) == math.ceil(share * len(tokens))
        check(tokens, merged)


def test_more_budget_than_tokens_changes_nothing() -> None:
    tokens = random_tokens()
    for much in ({"budget": len(tokens)}, {"budget": 10**6}, {"ratio": 1.0}):
        merged = merge(tokens, **much)
        for name, value in tokens.tensors().items():
            assert torch.equal(getattr(merged, name), value), name


@free
def test_a_budget_below_what_links_allow_is_refused_with_what_would_help(free) -> None:
    tokens = random_tokens()
    if free.get("similar"):
        assert len(merge(tokens, budget=1, **free)) == 1
        return
    least = 1 if free.get("spatial", True) else N
    if free == {"keep_grid": True}:
        least = math.ceil(GRID[0] / 2) * math.ceil(GRID[1] / 2)
    assert len(merge(tokens, budget=least, **free)) == least
    with pytest.raises(ValueError, match=f"at most {len(tokens) - least} can join another, but"):
        merge(tokens, budget=least - 1, **free)


def test_a_budget_for_each_frame() -> None:
    tokens = random_tokens()
    merged = merge(tokens, budget=3, per="frame", similar=True)
    check(tokens, merged)
    assert torch.equal(merged.cu_seqlens.diff(), tokens.cu_seqlens.diff().clamp(max=3))


@pytest.mark.parametrize("window", [None, 1, 3, 5])
def test_a_budget_for_each_second(window: int | None) -> None:
    tokens = random_tokens(t=25)  # of 10 frames a second, the last half
    second = torch.arange(25) // 10
    merged = merge(tokens, budget=25, per="second", similar=True, window=window)
    had, left = (
        torch.zeros(3).long().index_add_(0, second, x.cu_seqlens.diff().long())
        for x in (tokens, merged)
    )
    assert left.tolist() == had.clamp(max=25).tolist()


def test_every_frame_keeps_a_token_if_it_had_one() -> None:
    tokens = random_tokens()
    had = tokens.cu_seqlens.diff() > 0
    merged = merge(tokens, budget=11, every_frame=True)
    assert merged.cu_seqlens.diff().tolist() == had.int().tolist()
    assert not torch.equal(merge(tokens, budget=11).cu_seqlens.diff() > 0, had)
    with pytest.raises(ValueError, match="every_frame=False leaves frames without"):
        merge(tokens, budget=10, every_frame=True)
    check(tokens, merge(tokens, budget=30, every_frame=True, spatial=False))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_features_keep_their_dtype(dtype: torch.dtype) -> None:
    tokens = random_tokens()
    tokens.features = tokens.features.to(dtype)
    merged = merge(tokens, budget=50)
    assert merged.features.dtype == dtype
    alike = merge(replace(tokens, features=tokens.features.float()), budget=50)
    assert torch.equal(merged.source, alike.source)
    torch.testing.assert_close(merged.features.float(), alike.features, rtol=1e-2, atol=1e-2)


@free
def test_frames_that_are_the_same_are_merged_without_loss(free: dict[str, Any]) -> None:
    tokens = still_tokens()
    merged = merge(tokens, threshold=0.0, **free)
    assert len(merged) == N
    assert torch.equal(merged.dense(), tokens.dense())
    assert merged.size.tolist() == [T] * N
    assert merged.span.tolist() == [T] * N
    assert torch.equal(merge(tokens, budget=N, **free).dense(), tokens.dense())


def test_one_frame_one_cell_and_no_frame() -> None:
    one = video_tokens(torch.ones(1, *GRID, dtype=torch.bool), torch.randn(N, 3), 10.0)
    assert len(merge(one, threshold=1e9, spatial=False)) == N
    assert len(merge(one, budget=4)) == 4
    cell = video_tokens(torch.ones(3, 1, 1, dtype=torch.bool), torch.randn(3, 2), 10.0)
    assert len(merge(cell, budget=1, delta=None)) == 1
    none = video_tokens(torch.ones(0, *GRID, dtype=torch.bool), torch.randn(0, 3), 10.0)
    assert len(merge(none, budget=5)) == 0
    narrow = video_tokens(torch.ones(3, 1, 1, dtype=torch.bool), torch.randn(3, 0), 10.0)
    assert len(merge(narrow, budget=1, delta=None)) == 1


def test_merging_twice_is_weighed_like_merging_once() -> None:
    tokens = random_tokens()
    once = merge(tokens, budget=60, agreement=None)
    twice = merge(once, budget=40, agreement=None)
    assert len(twice) == 40
    check_places(twice)
    dense = tokens.dense().flatten(0, 2).double()
    total = torch.zeros(40, dense.shape[1]).double().index_add_(0, twice.source.flatten(), dense)
    torch.testing.assert_close(
        twice.features.double(), total / twice.size[:, None], rtol=1e-5, atol=1e-5
    )


def test_it_is_deterministic_and_leaves_its_input_alone() -> None:
    tokens = random_tokens()
    before = {name: value.clone() for name, value in tokens.tensors().items()}
    a, b = (merge(tokens, budget=45, spatial=True) for _ in range(2))
    for name, value in before.items():
        assert torch.equal(getattr(tokens, name), value)
        assert torch.equal(getattr(a, name), getattr(b, name))


def test_the_budget_goes_where_the_video_changes_most() -> None:
    """Tokens that differ little from what they replace go first, however many they are."""
    kept = torch.ones(3, 1, 4, dtype=torch.bool)
    features = torch.tensor([[0.0], [10], [20], [30]]).repeat(3, 1)
    features[4:8] += torch.tensor([[0.1], [5], [0.2], [0.3]])
    features[8:] += torch.tensor([[0.2], [0], [0.1], [0]])
    merged = merge(video_tokens(kept, features, 10.0), budget=5)
    assert merged.frame.tolist() == [0, 0, 0, 0, 1]
    assert merged.features[4].item() == 15  # the second cell's other look
    assert merged.features[1].item() == 10


def test_a_look_that_returns_is_recognised() -> None:
    """A window opens and closes: what was behind it is not emitted again."""
    features = torch.tensor([[1.0, 0], [0, 1], [1, 0]])
    tokens = video_tokens(torch.ones(3, 1, 1, dtype=torch.bool), features, 10.0)
    merged = merge(tokens, threshold=0.01)
    assert merged.source.flatten().tolist() == [0, 1, 0]
    assert torch.equal(merged.dense(), tokens.dense())
    assert len(merge(tokens, threshold=0.01, memory=0)) == 3


def test_what_moves_by_a_cell_may_join_its_neighbour() -> None:
    kept = torch.ones(2, 1, 3, dtype=torch.bool)
    features = torch.tensor([[5.0], [9], [1], [5], [5], [9]])  # shifted to the right
    tokens = video_tokens(kept, features, 10.0)
    merged = merge(tokens, threshold=0.01)
    assert merged.source.flatten().tolist() == [0, 1, 2, 0, 0, 1]
    assert len(merge(tokens, threshold=0.01, keep_grid=True, spatial=False)) == 5


@pytest.mark.parametrize("spatial", [False, True])
@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_keep_grid_never_joins_cells_of_two_blocks(spatial: bool, seed: int) -> None:
    torch.manual_seed(seed)
    merged = merge(random_tokens(), threshold=1e9, keep_grid=True, spatial=spatial)
    side = 2 if spatial else 1
    row, column = torch.meshgrid(*(torch.arange(n) // side for n in GRID), indexing="ij")
    block = (row * GRID[1] + column).expand(T, -1, -1).flatten()
    pairs = torch.stack([merged.source.flatten(), block], 1).unique(dim=0)
    assert len(pairs) == len(merged)


def test_what_does_not_agree_with_the_middle_is_no_part_of_the_mean() -> None:
    features = torch.tensor([[3.0, 0], [3.1, 0], [2.9, 0], [0, 8]])
    tokens = video_tokens(torch.ones(4, 1, 1, dtype=torch.bool), features, 10.0)
    merged = merge(tokens, budget=1, delta=None)
    torch.testing.assert_close(merged.features, torch.tensor([[3.0, 0]]))
    assert merged.size.tolist() == [4]
    everything = merge(tokens, budget=1, delta=None, agreement=None)
    torch.testing.assert_close(everything.features, torch.tensor([[2.25, 2]]))
