"""merge: tokens of pixels, slices, files, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from merge_cases import random_tokens
from token_cases import kept_mask, video_tokens

import patchgate
from patchgate import VideoTokens, merge

T, GRID = 12, (4, 5)


def test_pixel_tokens_stay_pixels_and_can_be_looked_at() -> None:
    kept = kept_mask(T, GRID)
    pixels = torch.randint(0, 256, (int(kept.sum()), 4 * 4), dtype=torch.uint8)
    layout = patchgate.TokenLayout(cell=4, planes=1)
    tokens = replace(video_tokens(kept, pixels, 10.0), layout=layout)
    merged = merge(tokens, budget=40)
    assert merged.features.dtype == torch.uint8
    shown = merged.dense().view(T, *GRID, 4, 4).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)
    assert torch.equal(merged.reconstruct()[:, 0], shown)  # no cell moved: every one is its token
    cut = merged.slice(0.45, 0.95)
    assert torch.equal(cut.reconstruct(), merged.reconstruct()[4:10])
    assert torch.equal(cut.dense(), merged.dense()[4:10])


def test_a_slice_leaves_what_was_before_it_alone() -> None:
    cut = random_tokens(t=20).slice(0.95, 1.95)
    earlier = int(cut.cu_seqlens[0])
    assert earlier > 0
    merged = merge(cut, budget=15)
    assert len(merged) == earlier + 15
    assert torch.equal(merged.features[:earlier], cut.features[:earlier])
    assert torch.equal(merged.frame[:earlier], cut.frame[:earlier])
    assert int(merged.cu_seqlens[0]) == earlier
    assert torch.equal(merged.source[cut.source < earlier], cut.source[cut.source < earlier])


def test_merged_tokens_can_be_saved(tmp_path) -> None:
    merged = merge(random_tokens(), budget=40)
    merged.save(tmp_path / "merged")
    loaded = VideoTokens.load(tmp_path / "merged")
    for name, value in merged.tensors().items():
        assert torch.equal(getattr(loaded, name), value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("token", [3, 37])  # of a key frame, and of another
@pytest.mark.parametrize("window", [None, 1])
def test_features_that_are_no_numbers_are_named(value: float, token: int, window) -> None:
    tokens = random_tokens()
    tokens.features[token, 2] = value
    frame, (row, column) = int(tokens.frame[token]), tokens.cell[token].tolist()
    place = rf"token {token} \(frame {frame}, cell \({row}, {column}"
    with pytest.raises(ValueError, match=place):
        merge(tokens, threshold=0.1, window=window)


@pytest.mark.parametrize(
    "dtype", [torch.complex64, torch.bool, torch.float8_e4m3fn, torch.float8_e5m2]
)
def test_features_without_means_are_refused(dtype: torch.dtype) -> None:
    tokens = random_tokens()
    tokens.features = tokens.features.to(dtype)
    expected = "float32, float64, bfloat16, float16 or integers"
    with pytest.raises(TypeError, match=rf"expected features that are {expected}, got {dtype}"):
        merge(tokens, budget=40)


@pytest.mark.parametrize("window", [None, 5])
def test_a_grid_is_kept_twice_or_not_at_all(window: int | None) -> None:
    tokens = random_tokens()
    message = r"keep_grid: .* one block of 2 x 2; cell \(\d, \d\) of frame \d+ was merged before"
    with pytest.raises(ValueError, match=message):
        merge(merge(tokens, threshold=1e9), ratio=1.0, keep_grid=True, window=window)
    blocks = merge(tokens, budget=20, keep_grid=True)
    assert len(merge(blocks, threshold=1e9, keep_grid=True, window=window)) == 6
    with pytest.raises(ValueError, match="one block of 1 x 1"):
        merge(blocks, ratio=1.0, keep_grid=True, spatial=False, window=window)


@pytest.mark.parametrize(("ratio", "count", "left"), [(0.07, 100, 7), (0.1, 3, 1), (0.071, 100, 8)])
def test_a_share_that_is_whole_is_not_rounded_up(ratio: float, count: int, left: int) -> None:
    kept = torch.ones(1, 1, count, dtype=torch.bool)
    tokens = video_tokens(kept, torch.randn(count, 4), 10.0)
    assert len(merge(tokens, ratio=ratio)) == left


def test_seconds_far_apart_have_a_budget_each() -> None:
    tokens = random_tokens(t=4)
    tokens.pts_seconds = torch.tensor([0, 0.5, 1e12, 1e12 + 0.5], dtype=torch.float64)
    had = tokens.cu_seqlens[[2, 4]].diff(prepend=torch.zeros(1).int())
    for window in (None, 1, 3):
        merged = merge(tokens, budget=21, per="second", similar=True, window=window)
        left = merged.cu_seqlens[[2, 4]].diff(prepend=torch.zeros(1).int())
        assert torch.equal(left, had.clamp(max=21))


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("wrong", [0.15, -5.0, math.nan, math.inf])
def test_a_budget_for_each_second_needs_a_clock(wrong: float, window: int | None) -> None:
    tokens = random_tokens()
    tokens.pts_seconds[4] = wrong
    with pytest.raises(ValueError, match=r"pts_seconds: .* times that do not fall, got"):
        merge(tokens, budget=30, per="second", window=window)


def test_more_reach_and_memory_than_there_is_are_all_there_is() -> None:
    tokens = random_tokens()
    most = merge(tokens, threshold=0.7, reach=4, memory=T)
    for name, value in merge(tokens, threshold=0.7, reach=10**9, memory=10**9).tensors().items():
        assert torch.equal(getattr(most, name), value), name


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({}, ValueError, "expected one of budget, ratio and threshold, got 0"),
        ({"budget": 4, "ratio": 0.5}, ValueError, "got budget=4, ratio=0.5"),
        ({"budget": 4.5}, TypeError, "budget: expected a whole number"),
        ({"budget": -1}, ValueError, "budget: expected"),
        ({"ratio": 1.5}, ValueError, r"ratio: expected 0..1 of the tokens"),
        ({"threshold": -1}, ValueError, "threshold: expected"),
        ({"budget": 4, "delta": 2.0}, ValueError, "delta: expected"),
        ({"budget": 4, "memory": -1}, ValueError, "memory: expected at least 0"),
        ({"budget": 4, "per": "hour"}, ValueError, "per: expected one of"),
        ({"ratio": 0.5, "per": "frame"}, ValueError, "per: 'frame' goes with a budget"),
        ({"budget": 4, "window": 8}, ValueError, "window: a budget of the whole video"),
        ({"ratio": 0.5, "window": 0}, ValueError, "window: expected at least 1"),
        ({"budget": 4, "similar": True, "keep_grid": True}, ValueError, "keep_grid: similar"),
        ({"budget": 4, "spatial": 1}, TypeError, "spatial: expected True or False, got 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, error, message) -> None:
    with pytest.raises(error, match=message):
        merge(random_tokens(), **wrong)
    with pytest.raises(TypeError, match="tokens: expected VideoTokens, got Tensor"):
        merge(torch.randn(3, 4), budget=4)
