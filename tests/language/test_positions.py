"""Positions of packed tokens, against those that transformers gives whole videos."""

import clips
import pytest
import torch
from language_cases import BEGIN, END, PAD, qwen, qwen3_prompt
from qwen_cases import GRID, M, grid_thw, vision_utils
from since import language_models
from token_cases import kept_mask, video_tokens

import patchgate
from patchgate.language.onevision import check_patch_positions, patch_positions
from patchgate.language.positions import (
    qwen3_span,
    qwen25_span,
    split_deepstack,
    tubelet_seconds,
    vision_cu_seqlens,
    vision_position_ids,
)

N = GRID[0] * GRID[1]


def tokens_of(mask, fps, start=0.0):
    return video_tokens(mask, torch.zeros(int(mask.sum()), 1), fps, start)


def rope_index(model, ids, t, **more):
    thw = grid_thw(t)
    return model.model.get_rope_index(ids, (ids == PAD).int() * 2, video_grid_thw=thw, **more)[0]


@language_models
@pytest.mark.parametrize("fps", [0.5, 1, 2, 3, 6, 7.5, 12, 14.985, 15, 24, 30, 60])
def test_qwen25_counts_time_as_get_rope_index(fps):
    """``fps`` tubelets a second, and the offset of a video that does not begin at 0."""
    t, model = 70, qwen("qwen25")
    mask = kept_mask(t, GRID)
    rate = model.config.vision_config.tokens_per_second
    tokens = tokens_of(mask, fps, start=3.7)
    run = qwen25_span(tokens, tokens.frame, tokens.cell, rate)
    ids = torch.tensor([[5, 6, *[PAD] * (t * N), 7]])
    expected = rope_index(model, ids, t, second_per_grid_ts=torch.tensor([1 / fps]))
    assert torch.equal(run.place + 2, expected[:, 0, 2:-1][:, mask.flatten()])
    assert 2 + run.extent == int(expected[0, 0, -1])


def test_qwen25_follows_the_clock_of_uneven_frames():
    mask = torch.ones(4, 1, 2, dtype=torch.bool)
    tokens = tokens_of(mask, 1.0)
    tokens.pts_seconds = torch.tensor([10.0, 10.4, 12.6, 12.9999999], dtype=torch.float64)
    run = qwen25_span(tokens, tokens.frame, tokens.cell, 2)
    assert run.place[0].tolist() == [0, 0, 0, 0, 5, 5, 6, 6]
    assert run.place[1:].tolist() == [[0] * 8, [0, 1] * 4]
    assert run.extent == 2


@pytest.mark.parametrize("fps", [1, 7.5, 30])
def test_qwen3_places_each_frame_as_get_rope_index(fps):
    t, model = 5, qwen("qwen3")
    tokens = tokens_of(torch.ones(t, *GRID, dtype=torch.bool), fps)
    seconds = tubelet_seconds(tokens, 2).tolist()
    ids = qwen3_prompt(torch.tensor([5]), torch.tensor([6]), seconds, N)
    expected = rope_index(model, ids, t)[:, 0]
    begins = (ids[0] == BEGIN).nonzero().flatten() + 1
    ends = (ids[0] == END).nonzero().flatten()
    for frame, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        cell = tokens.cell[tokens.frame == frame]
        run, start = qwen3_span(tokens, cell), int(expected[0, begin - 1]) + 1
        assert torch.equal(run.place + start, expected[:, begin:end])
        assert start + run.extent == int(expected[0, end])


@pytest.mark.parametrize("fps", [1.0, 2.0, 23.976, 30.0])
def test_tubelets_are_told_as_by_the_processor(fps):
    """Positions of frames ``fps`` a second, two to a tubelet."""
    tokens = tokens_of(torch.ones(9, 1, 1, dtype=torch.bool), fps / 2)
    frames = [i / fps for i in range(18)]
    expected = [(a + b) / 2 for a, b in zip(frames[::2], frames[1::2], strict=True)]
    torch.testing.assert_close(tubelet_seconds(tokens, 2).tolist(), expected)
    assert torch.equal(tubelet_seconds(tokens, 1), tokens.pts_seconds)


def test_patches_of_kept_cells_are_where_the_tower_has_them():
    t = 3
    mask = kept_mask(t, GRID)
    tokens = tokens_of(mask, 1.0)
    every = vision_utils.get_vision_position_ids(grid_thw(t), M)
    kept = every[mask.flatten().repeat_interleave(M * M)]
    assert torch.equal(vision_position_ids(tokens.cell, M), kept)
    assert vision_position_ids(tokens.cell[:0], M).shape == (0, 2)


def test_frames_without_tokens_have_no_segment():
    mask = kept_mask(3, GRID)
    assert mask.flatten(1).sum(1)[1] == 0
    last = int(mask[2].sum())
    ends = vision_cu_seqlens(tokens_of(mask, 1.0).cu_seqlens, M)
    assert ends.dtype == torch.int32
    assert ends.tolist() == [0, N * M * M, (N + last) * M * M]
    dense = tokens_of(torch.ones(3, *GRID, dtype=torch.bool), 1.0)
    assert torch.equal(
        vision_cu_seqlens(dense.cu_seqlens, M), vision_utils.get_vision_cu_seqlens(grid_thw(3))
    )
    assert vision_cu_seqlens(torch.tensor([4, 4, 6]), 1).tolist() == [0, 2]


def test_deepstack_is_cut_from_the_features():
    features = torch.arange(24.0).view(2, 12)
    output, taps = split_deepstack(features, 2)
    assert torch.equal(output, features[:, :4])
    assert [torch.equal(tap, features[:, i : i + 4]) for tap, i in zip(taps, (4, 8), strict=True)]
    assert torch.equal(torch.cat([output, *taps], 1), features)
    with pytest.raises(ValueError, match="width of 5 equal parts"):
        split_deepstack(features, 4)


def test_onevision_is_told_frame_row_and_column():
    mask = kept_mask(5, GRID)
    tokens = tokens_of(mask, 1.0)
    assert torch.equal(patch_positions(tokens), mask.nonzero())
    merged = patch_positions(tokens, merge=2)
    every = torch.stack(
        [
            torch.tensor([t, 2 * y + dy, 2 * x + dx])
            for t, y, x in mask.nonzero().tolist()
            for dy in range(2)
            for dx in range(2)
        ]
    )
    assert torch.equal(merged, every)
    check_patch_positions(merged, (5, 2 * GRID[0], 2 * GRID[1]))
    check_patch_positions(merged[None], (5, 2 * GRID[0], 2 * GRID[1]))


@pytest.mark.parametrize(("t", "frames"), [(16, 64), (5, 64), (64, 64), (1, 64), (7, 3)])
def test_onevision_frames_are_spread_over_those_of_training(t, frames):
    mask = torch.ones(t, 1, 1, dtype=torch.bool)
    time = patch_positions(tokens_of(mask, 1.0), frames=frames)[:, 0]
    assert torch.equal(time, torch.linspace(0, frames - 1, t, dtype=torch.float64).long())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p: p.float(), TypeError, "expected integers, got torch.float32"),
        (lambda p: p.tolist(), TypeError, "expected integers, got list"),
        (lambda p: p[:, :2], ValueError, r"expected \[R, 3\] or \[1, R, 3\], got"),
        (lambda p: p + torch.tensor([0, 0, 1]), ValueError, "expected .t, h, w. within"),
        (lambda p: p - torch.tensor([1, 0, 0]), ValueError, "expected .t, h, w. within"),
        (lambda p: torch.cat([p, p[-1:]]), ValueError, "expected each patch once"),
        (lambda p: p.flip(0), ValueError, "expected frames in order"),
    ],
)
def test_onevision_positions_that_cannot_be_are_refused(change, error, message):
    positions = patch_positions(tokens_of(kept_mask(4, GRID), 1.0))
    check_patch_positions(positions, (4, *GRID))
    with pytest.raises(error, match=message):
        check_patch_positions(change(positions), (4, *GRID))


def test_a_slice_has_no_positions_of_what_was_before():
    tokens = tokens_of(kept_mask(4, GRID), 1.0)
    with pytest.raises(ValueError, match="a slice refers to tokens from before it"):
        patch_positions(tokens.slice(1.5, 9.0))


def test_tubelets_of_frames_at_a_rate_have_the_times_of_these_frames() -> None:
    whole = [float(seconds) for batch in patchgate.open_video(clips.clip("h264.mp4"), fps=5)
             for seconds in batch.pts_seconds]  # fmt: skip
    gate = patchgate.Gate(temporal_patch=2, size=(28, 28))
    tokens = patchgate.tokenize(clips.clip("h264.mp4"), gate=gate, fps=5)
    middle = [(a + b) / 2 for a, b in zip(whole[::2], whole[1::2], strict=False)]
    assert len(middle) >= 3
    found = tubelet_seconds(tokens, 2)[: len(middle)].tolist()
    assert found == pytest.approx(middle, abs=0.5 / 25)  # frames stand on the video's own grid
