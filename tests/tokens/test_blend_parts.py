"""Moved cells in slices, merged tokens and files, which carry what their means need."""

import copy
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from blend_cases import (
    DRIFTS,
    P,
    agrees,
    by_pixels,
    cells_of,
    cut,
    drifting,
    every_drift,
    gated_tokens,
)
from gate_videos import busy_video
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from token_cases import assert_same
from torch import Tensor

import patchgate
from patchgate import Gate, TokenGrid, VideoTokens
from patchgate.gate import MOVED
from patchgate.tokens import blend as blending
from patchgate.tokens import file as token_file

# ---- slices


@given(st.sampled_from(list(DRIFTS)), st.data())
@settings(max_examples=30)
def test_a_slice_shows_what_the_whole_does(name: str, data: st.DataObject) -> None:
    whole, ids = drifting(name)
    first = data.draw(st.integers(0, whole.shape.T - 1))
    last = data.draw(st.integers(first + 1, whole.shape.T))
    part = cut(whole, first, last)
    assert last - first == part.shape.T
    assert torch.equal(part.dense(), whole.dense()[first:last])
    assert torch.equal(part.dense(blend=False), whole.dense(blend=False)[first:last])
    earlier = int(part.cu_seqlens[0])
    shown = torch.stack(ids[first:last]).unique()
    assert earlier == int((shown < whole.cu_seqlens[first]).sum())  # each is needed
    again = data.draw(st.integers(0, last - first - 1))
    assert_same(cut(part, again, last - first), cut(whole, first + again, last))


def test_a_slice_without_motion_before_it_carries_no_ids() -> None:
    tokens, _ = gated_tokens(busy_video(0), Gate(patch=P))
    key = int(tokens.is_key.nonzero()[-1])
    part = cut(tokens, key, tokens.shape.T)
    assert part.start_ids is None
    assert part.grid == TokenGrid(P, frames_before=key)


def test_a_slice_of_a_half_moved_picture_is_saved_and_moved(tmp_path: Path) -> None:
    whole, _ = drifting("quarters")
    part = cut(whole, 9, 15)
    assert part.start_ids is not None
    part.save(tmp_path / "t")
    loaded = VideoTokens.load(tmp_path / "t")
    assert_same(loaded, part)
    assert torch.equal(loaded.dense(), part.dense())
    assert part.numpy()["start_ids"].shape == tuple(part.start_ids.shape)
    half = part.half()
    assert half.grid == part.grid
    assert torch.equal(half.start_ids, part.start_ids)
    torch.testing.assert_close(half.dense().float(), part.dense(), atol=3e-3, rtol=3e-3)
    assert torch.equal(copy.deepcopy(part).dense(), part.dense())
    batch = patchgate.collate([whole, part])
    assert len(batch.features) == len(whole) + len(part)


def test_a_token_of_which_only_parts_are_shown_has_no_size_and_a_span_of_its_own_frame() -> None:
    whole, _ = drifting("whole pixels")
    for first in range(1, whole.shape.T):
        part = cut(whole, first, whole.shape.T)
        hidden = part.size == 0
        if bool(hidden.any()):
            assert bool((part.frame[hidden] < 0).all())
            assert part.span[hidden].tolist() == [1] * int(hidden.sum())
            return
    pytest.fail("no slice has such a token")


# ---- merging


def renamed(tokens: VideoTokens, merged: VideoTokens) -> Tensor:
    """The merged token of each token, ``[K]``."""
    group = torch.full((len(tokens),), -1)
    group[tokens.source.flatten()] = merged.source.flatten()
    return group


@every_drift
@pytest.mark.parametrize("window", [None, 5])
def test_merged_tokens_are_blended_by_the_same_pixels(name: str, window: int | None) -> None:
    tokens, ids = drifting(name)
    merged = patchgate.merge(tokens, ratio=0.8, window=window)
    assert len(merged) < len(tokens)
    group = renamed(tokens, merged)
    agrees(merged, [group[each.long()] for each in ids])


def test_a_slice_may_be_merged() -> None:
    whole, _ = drifting("quarters")
    part = cut(whole, 9, whole.shape.T)
    merged = patchgate.merge(part, ratio=0.8)
    assert len(merged) < len(part)
    group = renamed(part, merged)
    hidden = group < 0  # earlier ones do not change
    group[hidden] = hidden.nonzero().flatten()
    shown = list(blending.ids_after(cells_of(part)))[-1]
    torch.testing.assert_close(
        merged.dense()[-1].double(), by_pixels(merged, [group[shown.long()]])[0],
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip


# ---- tokens that do not know


def test_tokens_that_do_not_know_show_their_source_and_say_so() -> None:
    old = replace(drifting("quarters")[0], grid=None)
    with pytest.warns(UserWarning, match="tokenize the video again"):
        dense = old.dense()
    assert torch.equal(dense, old.features[old.source])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(old.dense(blend=False), dense)
        still = replace(old, kind=torch.where(old.kind == MOVED, 0, old.kind).byte())
        assert torch.equal(still.dense(), dense)  # nothing moved: nothing to say


def test_a_file_of_an_older_version_loads(tmp_path: Path) -> None:
    old = replace(drifting("quarters")[0], grid=None)
    told = token_file.metadata(None)
    del told["grid"]
    save_file(old.tensors(), tmp_path / "old", told)
    assert_same(VideoTokens.load(tmp_path / "old"), old)


# ---- what a file may say


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"cell": 0}, "grid: expected cell 1..256, got 0"),
        ({"cell": 8, "motion_precision": 3}, "grid: expected motion_precision 1, 2, 4, got 3"),
        ({"cell": 8, "frames_before": -1}, "grid: expected frames_before 0.."),
        ({"cell": 8, "blends": 1}, "grid: expected blends False, True, got 1"),
        ({"cell": 8, "blends": False}, "start_ids has no meaning where every cell shows one"),
        ({"cell": 4}, r"expected start_ids int32 \[20, 24\]"),
        ({"cell": 8, "shear": 1}, "of another version .*shear"),
        ({"motion_precision": 4}, "grid without cell"),
        (None, "start_ids has no meaning without a grid"),
        (7, "expected fields or null as its grid, got 7"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(grid: Any, message: str, tmp_path: Path) -> None:
    whole, _ = drifting("quarters")
    part = cut(whole, 9, 15)
    save_file(part.tensors(), tmp_path / "t", token_file.metadata(None, grid=grid))
    with pytest.raises(ValueError, match=message):
        VideoTokens.load(tmp_path / "t")


def of_a_later_token(part: VideoTokens) -> None:
    assert part.start_ids is not None
    part.start_ids[0, 0] = int(part.cu_seqlens[0])


def of_none(part: VideoTokens) -> None:
    assert part.start_ids is not None
    part.start_ids.fill_(-1)


def of_another(part: VideoTokens) -> None:
    assert part.start_ids is not None
    part.start_ids.clamp_(max=0)


def not_shown(part: VideoTokens) -> None:
    """No pixel of the last of the earlier tokens is under the first frame."""
    assert part.start_ids is not None
    hidden = (part.size[: int(part.cu_seqlens[0])] == 0).nonzero()
    gone = part.start_ids == int(hidden[-1])
    part.start_ids[gone] = int(part.start_ids[~gone].max())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (of_a_later_token, "start_ids: expected -1 or one of the"),
        (of_none, "start_ids: expected a token under every pixel|earlier tokens to be shown"),
        (of_another, "earlier tokens to be shown|each cell's source"),
        (not_shown, "earlier tokens to be shown"),
    ],
)
def test_ids_that_cannot_be_are_refused(damage: Any, message: str, tmp_path: Path) -> None:
    whole, _ = drifting("whole pixels")
    firsts = range(1, whole.shape.T)
    part = next(
        part for t in firsts if bool(((part := cut(whole, t, whole.shape.T)).size == 0).any())
    )
    damage(part)
    with pytest.raises(ValueError, match=message):
        part.save(tmp_path / "t")
    assert part.grid is not None
    told = token_file.metadata(None, grid=asdict(part.grid))
    save_file(part.tensors(), tmp_path / "t", told)
    with pytest.raises(ValueError, match=message):
        VideoTokens.load(tmp_path / "t")


@pytest.mark.parametrize(
    "wrong",
    [{"cell": 0}, {"cell": 8, "motion_precision": 3}, {"cell": 8, "frames_before": -1}],
)
def test_a_grid_has_numbers_that_can_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="TokenGrid"):
        TokenGrid(**wrong)
