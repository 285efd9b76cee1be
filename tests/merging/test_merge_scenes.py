"""Scenes: where a video is cut, and which scenes show the same place."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from merge_cases import WIDTH, N, shots
from torch import Tensor

from patchgate import merge, scenes
from patchgate.merging.scenes import jensen_shannon


def test_a_video_is_cut_where_the_place_changes() -> None:
    found = scenes(shots(0, 1, 2))
    assert found.start.tolist() == [0, 3, 6]
    assert found.label.tolist() == [0, 1, 2]
    assert found.of_frame.tolist() == [0] * 3 + [1] * 3 + [2] * 3


def test_a_key_frame_of_the_same_place_is_no_cut() -> None:
    found = scenes(shots(0, 0, 1, 1))
    assert found.start.tolist() == [0, 6]
    assert found.of_frame.tolist() == [0] * 6 + [1] * 6


def test_a_place_that_returns_is_the_same_semantic_scene() -> None:
    tokens = shots(0, 1, 0, 2, 1)
    assert scenes(tokens).label.tolist() == [0, 1, 0, 2, 1]
    assert scenes(tokens, memory=1).label.tolist() == [0, 1, 0, 2, 3]  # too long ago
    assert scenes(tokens, memory=0).label.tolist() == [0, 1, 2, 3, 4]
    assert scenes(tokens, delta=None).start.tolist() == [0]


def test_a_head_decides_what_a_scene_is() -> None:
    tokens = shots(0, 1, 2)
    assert scenes(tokens, head=lambda mean: mean[:1] * 0).start.tolist() == [0]
    weights = torch.randn(50, WIDTH)
    assert scenes(tokens, head=lambda mean: weights @ mean).start.tolist() == [0, 3, 6]


def test_tokens_join_within_a_semantic_scene_only() -> None:
    tokens = shots(0, 1, 0, noise=0.0)
    merged = merge(tokens, threshold=1e9, spatial=False)
    label = scenes(tokens).label[scenes(tokens).of_frame]
    pairs = torch.stack([merged.source.flatten(), label.repeat_interleave(N)], 1).unique(dim=0)
    assert len(pairs) == len(merged) == 2 * N
    assert len(merge(tokens, threshold=1e9, spatial=False, delta=None)) == N


@pytest.mark.parametrize("window", [None, 1, 3, 4])
def test_a_returning_background_is_not_emitted_again(window: int | None) -> None:
    tokens = shots(0, 1, 2, 0, noise=0.0)
    merged = merge(tokens, threshold=1e-3, window=window)
    assert len(merged) == 3 * N
    assert bool((merged.frame < 9).all())
    assert torch.equal(merged.dense(), tokens.dense())
    forgets = merge(tokens, threshold=1e-3, window=window, memory=1)
    assert len(forgets) == 4 * N


def distributions(seed: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    p, q = (4 * torch.randn(2, 30).double()).softmax(1)
    return p, q


@given(st.integers(0, 10_000))
def test_the_divergence_is_symmetric_and_between_0_and_log_2(seed: int) -> None:
    p, q = distributions(seed)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert 0 < jensen_shannon(p, q) < math.log(2)
    assert jensen_shannon(p, p) == 0
    m = (p + q) / 2
    definition = ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
    assert jensen_shannon(p, q) == pytest.approx(float(definition))
    apart = torch.tensor([1.0, 0]), torch.tensor([0, 1.0])
    assert jensen_shannon(*apart) == pytest.approx(math.log(2))


def test_a_slice_that_begins_between_key_frames_has_a_scene() -> None:
    found = scenes(shots(0, 1).slice(0.15, 0.55))
    assert found.start.tolist() == [0, 2]
    assert found.label.tolist() == [0, 1]


@pytest.mark.parametrize("window", [None, 1, 3])
def test_scenes_of_merged_tokens_are_those_of_the_video(window: int | None) -> None:
    """Also where a key frame has no token left, or few that are unlike the others."""
    tokens = shots(0, 0, 1, 0, 1)
    for asked in ({"threshold": 0.1}, {"threshold": 0.1, "spatial": False}, {"ratio": 0.7}):
        merged = merge(tokens, window=window, **asked)
        for found, expected in zip(scenes(merged), scenes(tokens), strict=True):
            assert torch.equal(found, expected)
        again = merge(merged, threshold=0.0, window=window)
        assert torch.equal(again.dense(), merged.dense())


@pytest.mark.filterwarnings("error")  # its weights want gradients, scenes do not
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_head_gets_features_as_they_came(dtype: torch.dtype) -> None:
    tokens = shots(0, 1)
    tokens.features = tokens.features.to(dtype)
    head = torch.nn.Linear(WIDTH, 20, dtype=dtype)
    assert scenes(tokens, head=head).start.tolist() == [0, 3]
    assert len(merge(tokens, threshold=1e9, head=head)) == 2


def test_bad_input_is_refused() -> None:
    tokens = shots(0, 1)
    with pytest.raises(ValueError, match=r"delta: expected 0..0.693147 nats, got 1"):
        scenes(tokens, delta=1)
    tokens.features[2] = math.nan
    with pytest.raises(ValueError, match="features of a key frame are not finite"):
        scenes(tokens)
