"""merge: tokens of pixels, slices, files, and what is refused."""

import math
from dataclasses import replace

import pytest
import torch
from merge_cases import random_tokens
from token_cases import kept_mask, video_tokens

import patchgate
from patchgate import VideoTokens, merge
from patchgate.merging.window import means

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


WHOLE = [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32]
WHOLE += [torch.int64, torch.uint64]


def ends(dtype: torch.dtype) -> tuple[int, int]:
    """The least and the largest feature of a dtype of integers."""
    return max(torch.iinfo(dtype).min, -(1 << 53)), min(torch.iinfo(dtype).max, 1 << 53)


@pytest.mark.parametrize("dtype", WHOLE, ids=str)
def test_integers_are_what_they_were_and_means_of_them_right(dtype: torch.dtype) -> None:
    least, most = ends(dtype)
    looks = [[most, least], [least, most - 1], [most - 3, 7], [most, least]]
    features = torch.tensor(looks, dtype=torch.int64).to(dtype)
    tokens = video_tokens(torch.ones(4, 1, 1, dtype=torch.bool), features, 10.0)
    same = merge(tokens, ratio=1.0)
    assert same.features.dtype == dtype
    assert same.features.tolist() == looks
    # The last joins the first: their mean is what they are. The others are on their own.
    assert merge(tokens, threshold=0.0, delta=None).features.tolist() == looks[:3]
    close = torch.tensor([[most - 5, least], [most - 2, least + 5]]).to(dtype)
    pair = video_tokens(torch.ones(2, 1, 1, dtype=torch.bool), close, 10.0)
    (mean,) = merge(pair, budget=1, delta=None, agreement=None).features.tolist()
    for got, *exact in zip(mean, *close.tolist(), strict=True):
        assert abs(2 * got - sum(exact)) <= 1  # half of a whole number, rounded


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint64])
@pytest.mark.parametrize("value", [(1 << 53) + 1, (1 << 63) - 1, -(1 << 53) - 1])
def test_integers_without_right_means_are_named(dtype: torch.dtype, value: int) -> None:
    features = torch.tensor([[3], [value]]).to(dtype)
    tokens = video_tokens(torch.ones(2, 1, 1, dtype=torch.bool), features, 10.0)
    expected = rf"{dtype} features within 2 \*\* 53, .* 1 of 2 tokens have others"
    with pytest.raises(ValueError, match=rf"{expected}, the first is token 1 \(frame 1"):
        merge(tokens, ratio=1.0)


def test_what_is_not_merged_keeps_its_bits() -> None:
    """Also the sign of nothing, and the one of a group that alone counts."""
    features = torch.tensor([[1e8, -0.0], [0.1, -0.0], [0.3, 5.0]])
    tokens = video_tokens(torch.ones(3, 1, 1, dtype=torch.bool), features, 10.0)
    bits = features.view(torch.int32)
    assert torch.equal(merge(tokens, ratio=1.0).features.view(torch.int32), bits)
    root, weight = torch.tensor([0, 0, 2]), torch.tensor([0.0, 1.0, 1.0]).double()
    assert torch.equal(means(features, weight, root).view(torch.int32), bits[1:])


def test_gradients_go_through_means_and_past_them() -> None:
    tokens = random_tokens()
    tokens.features.requires_grad_()
    merged = merge(tokens, budget=60, agreement=None)
    merged.features.sum().backward()
    joined = torch.full((len(tokens),), -1)
    joined[tokens.source.flatten()] = merged.source.flatten()
    total = merged.size[joined]  # [K]
    assert bool((total > tokens.size).any())
    expected = (tokens.size / total)[:, None].expand_as(tokens.features)
    torch.testing.assert_close(tokens.features.grad, expected)


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


@pytest.mark.parametrize(("asked", "name"), [({"ratio": 0}, "ratio"), ({"budget": 0}, "budget")])
def test_nothing_at_all_is_refused_without_advice(asked, name: str) -> None:
    message = rf"^{name}: of \d+ tokens .* would have to; the first .* always stays$"
    for more in ({}, {"keep_grid": True}, {"similar": True}, {"spatial": False, "delta": None}):
        with pytest.raises(ValueError, match=message):
            merge(random_tokens(), **asked, **more)


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
        ({"budget": 4, "bogus": 2}, TypeError, "merge: expected settings of .*, got 'bogus'"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, error, message) -> None:
    with pytest.raises(error, match=message):
        merge(random_tokens(), **wrong)
    with pytest.raises(TypeError, match="tokens: expected VideoTokens, got Tensor"):
        merge(torch.randn(3, 4), budget=4)
