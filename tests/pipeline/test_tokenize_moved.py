"""Moved cells of a tower's tokens, from every place that makes them: the mean of what is there."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from blend_cases import agrees
from gate_videos import drift
from gated_cases import SIDE, P, normalised
from stream_cases import gated
from token_cases import assert_same
from torch import Tensor

import patchgate
from patchgate import GatedTower, TokenGrid, Tokenizer
from patchgate.gate import MERGED, MOVED
from patchgate.language.prompt import shown_cells
from patchgate.pipeline.collect import empty_chunk
from patchgate.tokens import grid_of
from patchgate.tokens.spill import TokenSpill

T, FPS = 14, 10.0
RULES = {"on_motion": "reuse", "motion_precision": 4, "threshold": 12, "scene_cut": None}


def frames() -> Tensor:
    """A page that moves by parts of a pixel, and stops: RGB ``[T, 3, H, W]``."""
    moving = drift((SIDE, SIDE), T - 2, (5, -3), c=3)
    return torch.cat([moving, moving[-1:], moving[-1:]])


@pytest.fixture(scope="module")
def tower() -> GatedTower:
    return gated("siglip", context="full", tolerance=float("inf"), **RULES)


def pushed(tokenizer: Tokenizer, rgb: Tensor) -> tuple[list[patchgate.TokenChunk], list[Tensor]]:
    """Frame by frame: the chunks, and the ids that the gate holds after each."""
    chunks, ids = [], []
    for frame in rgb:
        chunks.append(tokenizer.push(frame[None]))
        chunker = tokenizer._now.chunker
        assert chunker is not None
        assert chunker.gate.picture_ids is not None
        ids.append(chunker.gate.picture_ids[0].clone())
    return chunks, ids


def test_tokens_know_the_pixels_that_their_cells_moved_over(tower: GatedTower) -> None:
    tokens = patchgate.tokenize(frames(), tower, fps=FPS)
    assert tokens.grid == TokenGrid(P, motion_precision=4)
    assert bool((tokens.kind == MOVED).any())
    tokenizer = Tokenizer(tower, fps=FPS)
    chunks, ids = pushed(tokenizer, frames())
    agrees(tokens, ids)
    agrees(tokenizer.joined(chunks), ids)
    assert not torch.equal(tokens.dense(), tokens.dense(blend=False))


def test_rules_given_here_are_those_of_the_grid(tower: GatedTower) -> None:
    tokens = patchgate.tokenize(frames(), tower, fps=FPS, motion_precision=2)
    assert tokens.grid == TokenGrid(P, motion_precision=2)


def test_a_tokenizer_that_goes_on_elsewhere_joins_the_same(tower: GatedTower) -> None:
    whole = patchgate.tokenize(frames(), tower, fps=FPS)
    one, other = Tokenizer(tower, fps=FPS), Tokenizer(tower, fps=FPS)
    chunks = [one.push(frames()[:5])]
    other.load_state_dict(one.state_dict())
    tokens = other.joined([*chunks, other.push(frames()[5:])])
    assert tokens.grid == whole.grid
    torch.testing.assert_close(tokens.dense(), whole.dense(), atol=1e-9, rtol=1e-9)


def test_spilled_tokens_are_those_that_were_collected(tower: GatedTower, tmp_path: Path) -> None:
    chunks: list[patchgate.TokenChunk] = []
    whole = patchgate.tokenize(frames(), tower, fps=FPS, on_chunk=chunks.append)
    gate = patchgate.Gate.of(replace(tower.gate_settings, size=(SIDE, SIDE)))
    empty = empty_chunk(gate)._replace(features=chunks[0].features[:0])
    with TokenSpill(tmp_path / "t", empty, None, grid=grid_of(gate)) as spill:
        for chunk in chunks:
            spill.add(chunk)
        spill.finish()
    assert_same(patchgate.VideoTokens.load(tmp_path / "t"), whole)


@pytest.mark.parametrize("moved", ["own", "source", "lend"])
def test_tokens_of_a_towers_own_call_are_what_the_call_shows(moved: str) -> None:
    tower = gated("siglip", context="full", tolerance=0.05, moved=moved, **RULES)
    x, pts = normalised(frames()), torch.arange(T) / FPS
    tokens = tower.tokens(x, pts_seconds=pts)
    assert tokens.grid == TokenGrid(P, motion_precision=4, blends=False)
    assert bool((tokens.kind == MOVED).any())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(tokens.dense().flatten(1, 2), tower(x).last_hidden_state)
    stream = tower.stream()
    stream.tokens(x[:5], pts_seconds=pts[:5])
    part = stream.tokens(x[5:], pts_seconds=pts[5:])
    assert part.grid == replace(tokens.grid, frames_before=5)
    assert part.slice(0.7, 0.9).start_ids is None


def test_the_dense_layout_of_a_prompt_is_dense(tower: GatedTower) -> None:
    tokens = patchgate.tokenize(frames(), tower, fps=FPS)
    assert torch.equal(shown_cells(tokens, "dense").features, tokens.dense().flatten(0, 2))
    packed = shown_cells(tokens, "packed")
    assert torch.equal(packed.features, tokens.features)


@pytest.mark.parametrize("place", ["first", "mean"])
def test_a_packed_prompt_of_a_slice_leaves_out_what_no_cell_has_as_its_source(
    tower: GatedTower, place: str
) -> None:
    whole = patchgate.tokenize(frames(), tower, fps=FPS)
    parts = (whole.slice(t / FPS + 0.01, 2.0) for t in range(1, T))
    merged = (patchgate.merge(part, ratio=0.8) for part in parts)
    part = next(part for part in merged if bool((part.size == 0).any()))
    assert bool((part.kind == MERGED).any())  # so that each token is shown once
    shown = shown_cells(part, "packed", place)
    assert len(shown.features) == int((part.size > 0).sum())
    rows = part.features[part.size > 0]
    assert torch.equal(shown.features.sort(0).values, rows.sort(0).values)
