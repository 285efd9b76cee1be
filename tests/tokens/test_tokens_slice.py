"""VideoTokens.slice: a part of the video with the earlier tokens that it leans on."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuild import CHANGED
from token_cases import FRAMES, KINDS, SECOND, SIZE, assert_same, every_kind, path, tokens_of

import patchgate
from patchgate import VideoTokens


def frames_of(tokens: VideoTokens) -> int:
    """f: frames of a tubelet."""
    assert tokens.layout is not None
    return tokens.layout.temporal_patch


def check(part: VideoTokens, whole: VideoTokens, first: int, last: int) -> None:
    """``part`` holds frames first..last of ``whole``, and no token too many."""
    f = frames_of(whole)
    assert part.shape == (last - first, *whole.shape[1:])
    assert torch.equal(part.pts_seconds, whole.pts_seconds[first:last])
    assert torch.equal(part.duration_seconds, whole.duration_seconds[first:last])
    assert torch.equal(part.kind, whole.kind[first:last])
    assert torch.equal(part.motion, whole.motion[first:last])
    assert torch.equal(part.dense(), whole.dense()[first:last])
    assert torch.equal(part.reconstruct(), whole.reconstruct()[first * f : last * f])
    carried = int(part.cu_seqlens[0])
    assert bool((part.frame[:carried] < 0).all())
    assert bool((part.frame[carried:] >= 0).all())
    assert torch.equal(part.cu_seqlens.diff(), whole.cu_seqlens[first : last + 1].diff())
    assert int(part.cu_seqlens[-1]) == len(part)
    assert torch.equal(part.source.unique(), torch.arange(len(part)))  # each is needed
    assert torch.equal(part.source[part.kind == CHANGED], torch.arange(carried, len(part)))
    kept = (part.kind == CHANGED).sum().item() / part.kind.numel()
    assert part.kept_share == kept


@given(st.sampled_from(list(KINDS)), st.data())
@settings(max_examples=60)
def test_a_slice_is_that_part_of_the_whole(name: str, data: st.DataObject) -> None:
    whole = tokens_of(name)
    first = data.draw(st.integers(0, whole.shape.T - 1))
    last = data.draw(st.integers(first + 1, whole.shape.T))
    ends = (whole.pts_seconds + whole.duration_seconds).tolist()
    start, end = float(whole.pts_seconds[first]) + SECOND / 4, ends[last - 1] - SECOND / 4
    check(whole.slice(start, end), whole, first, last)


@every_kind
@pytest.mark.parametrize(("first", "last"), [(0, 3), (2, 9), (5, 11)])
def test_a_span_in_a_slice_ends_with_the_last_frame_there_that_it_explains(
    name: str, first: int, last: int
) -> None:
    whole = tokens_of(name)
    end = float(whole.pts_seconds[last - 1]) + SECOND / 4
    part = whole.slice(float(whole.pts_seconds[first]) + SECOND / 4, end)
    for k in range(len(part)):
        explained = (part.source == k).flatten(1).any(1).nonzero().flatten()
        assert int(part.frame[k] + part.span[k] - 1) == int(explained[-1]), k


@every_kind
def test_a_slice_of_a_slice_is_a_slice(name: str) -> None:
    whole = tokens_of(name)
    outer, inner = whole.slice(0.1, 0.8), whole.slice(0.3, 0.6)
    assert_same(outer.slice(0.3, 0.6), inner)


@every_kind
def test_a_slice_of_everything_is_everything(name: str) -> None:
    whole = tokens_of(name)
    assert_same(whole.slice(-5, 100), whole)


def test_a_frame_belongs_to_the_slice_if_it_is_shown_at_any_time_of_it() -> None:
    whole = tokens_of("camera")
    second, third = (float(t) for t in whole.pts_seconds[1:3])
    assert whole.slice(second, third).shape.T == 1  # [start, end)
    assert whole.slice(second - 1e-6, third).shape.T == 2
    assert whole.slice(second, third + 1e-6).shape.T == 2
    assert whole.slice(second + 0.01, second + 0.011).shape.T == 1


def test_a_slice_from_a_key_frame_carries_nothing() -> None:
    whole = tokens_of("camera")
    keys = whole.is_key.nonzero().flatten().tolist()
    assert len(keys) >= 2  # the clip has a cut
    part = whole.slice(float(whole.pts_seconds[keys[1]]), 100)
    assert int(part.cu_seqlens[0]) == 0
    assert int(part.frame.min()) == 0
    assert part.is_key[0]


def test_slicing_leaves_the_whole_as_it_was(tmp_path: Path) -> None:
    whole = tokens_of("reuse")
    whole.save(tmp_path / "before")
    part = whole.slice(0.2, 0.5)
    part.features.zero_()
    part.source.zero_()
    assert_same(whole, VideoTokens.load(tmp_path / "before"))


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (0.5, 0.5, r"slice: expected start < end, got 0.5 and 0.5 seconds"),
        (0.5, 0.2, "slice: expected start < end"),
        (float("nan"), 1, "start_seconds: expected .*, got nan"),
        (0, float("nan"), "end_seconds: expected .*, got nan"),
        (9.0, 10.0, r"slice: no frame between 9.0 and 10.0 seconds; it shows 0..0.84 s"),
        (-2.0, -1.0, r"slice: no frame between -2.0 and -1.0 seconds"),
    ],
)
def test_a_slice_of_no_frame_is_an_error(start: float, end: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tokens_of("camera").slice(start, end)
    assert tokens_of("camera").shape.T == FRAMES


def test_times_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="start_seconds: expected a number, got '0'"):
        tokens_of("camera").slice("0", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("rate", [30, 25, 1000, 30000 / 1001])
def test_a_slice_between_two_borders_is_one_frame(rate: float) -> None:
    """Stamps as containers give them: rounded to a tick of 1/1000 s, or not."""
    tokens = tokens_of("camera")
    stamps = torch.arange(tokens.shape.T, dtype=torch.float64) / rate
    for pts in (stamps, (stamps * 1000).round() / 1000):
        ticked = replace(
            tokens, pts_seconds=pts, duration_seconds=torch.full_like(pts, round(1 / rate, 3))
        )
        borders = pts.tolist()
        for t in range(len(borders) - 1):
            if borders[t] < borders[t + 1]:
                part = ticked.slice(borders[t], borders[t + 1])
                assert part.pts_seconds.tolist() == [borders[t]]


def test_a_frame_is_shown_until_the_next_one_also_where_frames_were_skipped() -> None:
    tokens = patchgate.tokenize(path(), gate=patchgate.Gate(patch=8), size=SIZE, fps=5)
    between = float(tokens.pts_seconds[1] + tokens.pts_seconds[2]) / 2
    assert tokens.slice(between, between + 0.001).pts_seconds.tolist() == [
        float(tokens.pts_seconds[1])
    ]
