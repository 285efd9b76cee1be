"""Policies and videos: what containers and the gate tell, caps on the gate, looking again."""

import gc
import weakref
from pathlib import Path

import clips
import pytest
import torch

import patchgate
from patchgate import Gate
from patchgate.gate import CHANGED
from patchgate.policies import (
    Budget,
    CappedGate,
    chronoforge,
    container_frames,
    frame_statistics,
    mgsampler,
    tokenize_with_statistics,
)
from patchgate.policies.video.statistics import of_frames, sharpness

BOOK = Path(__file__).parents[2] / "examples" / "clips" / "asl_book.mkv"
SIZE = (112, 112)


def gate(**more):
    return Gate(size=SIZE, **more)


# --- containers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["h264.mp4", "late.mkv", "hevc.ts", "vp9.webm", "mpeg4.avi", "mpeg4-b.mp4", "vfr.mkv"],
)
def test_a_container_tells_what_decoding_does(name):
    path = clips.clip(name)
    frames = container_frames(path)
    with patchgate.open_video(path) as video:
        batches = list(video)
    pts = torch.cat([batch.pts_seconds for batch in batches])
    assert frames.pts.equal(pts)
    keys = torch.cat([batch.key_frame for batch in batches])
    assert frames.key.equal(keys)
    assert container_frames(path.read_bytes()).pts.equal(pts)


# --- statistics ---------------------------------------------------------------------------------


def test_one_decoding_gives_statistics_and_the_same_tokens():
    plain = patchgate.tokenize(BOOK, gate=gate(), end=2.0)
    tokens, frames = tokenize_with_statistics(BOOK, gate=gate(), end=2.0)
    for name, tensor in plain.tensors().items():
        assert tensor.equal(tokens.tensors()[name]), name
    assert frames.pts.equal(tokens.pts_seconds)
    assert frames.index.tolist() == list(range(len(frames)))
    kept = (tokens.kind == CHANGED).flatten(1).double().mean(1)
    assert frames.keep.equal(kept)
    assert frames.cut.equal(tokens.is_key)
    assert float(frames.delta[0]) == 0
    assert float(frames.delta[1:].min()) > 0
    assert float(frames.sharp.min()) > 0
    for policy in (mgsampler, chronoforge):
        assert len(policy(frames, Budget(frames=6))) == 6


def test_statistics_of_known_pictures():
    """A square that jumps: change is where it jumps, and nowhere else."""
    planes = torch.full((6, 3, 56, 56), 60, dtype=torch.uint8)
    planes[3:, :, 14:28, 14:28] = 200
    cell_gate = Gate(patch=14, scene_cut=None)
    result = cell_gate.push(planes)
    seen = of_frames(result, cell_gate.settings)
    assert seen["keep"].tolist() == [1, 0, 0, 1 / 16, 0, 0]
    assert seen["cut"].tolist() == [True] + [False] * 5
    assert seen["delta"].nonzero().flatten().tolist() == [3]
    assert float(seen["delta"][3]) == pytest.approx(140 / 255 / 16)
    assert seen["motion"].tolist() == [0] * 6
    sharp = sharpness(planes[:, 0])
    assert sharp[:3].tolist() == [0, 0, 0]
    assert float(sharp[3]) > 0


@pytest.mark.parametrize("precision", [1, 4])
def test_motion_is_in_cells(precision):
    noise = torch.randint(0, 255, (1, 1, 80, 80), generator=torch.Generator().manual_seed(0))
    noise = noise.to(torch.uint8)
    still = noise[:, :, 8:64, 8:64]
    panned = noise[:, :, 8:64, 15:71]  # 7 pixels, half a cell
    pan_gate = Gate(patch=14, search_radius=8, motion_precision=precision)
    seen = of_frames(pan_gate.push(torch.cat([still, panned])), pan_gate.settings)
    moved = 1 - float(seen["keep"][1])
    assert moved >= 0.7
    assert float(seen["motion"][1]) == pytest.approx(moved * 0.5)


def test_numbers_of_frames_that_were_looked_at():
    tokens, frames = tokenize_with_statistics(BOOK, gate=gate(), fps=5, start=0.5, end=2.5)
    whole = container_frames(BOOK)
    assert len(frames) == tokens.shape.T == 10
    assert whole.pts[frames.index].equal(frames.pts)
    assert whole.key[frames.index].equal(frames.key)


@pytest.mark.parametrize("options", [{"end": 2.0}, {"fps": 5, "start": 0.5}, {"start": 3.0}])
@pytest.mark.parametrize("frames_of_a_tubelet", [1, 2])
def test_statistics_alone_are_the_same_and_keep_no_tokens(options, frames_of_a_tubelet):
    known = gate(temporal_patch=frames_of_a_tubelet)
    chunks = []
    alone = frame_statistics(
        BOOK, known, on_chunk=lambda chunk: chunks.append(weakref.ref(chunk.source)), **options
    )
    _, want = tokenize_with_statistics(BOOK, gate=known, **options)
    for name, value in vars(want).items():
        got = getattr(alone, name)
        assert (got is value is None) or (got.dtype == value.dtype and got.equal(value)), name
    assert len(chunks) >= 1
    gc.collect()
    assert not any(chunk() is not None for chunk in chunks)


def test_statistics_with_rules_given_here():
    _, want = tokenize_with_statistics(BOOK, gate=Gate(threshold=9), size=SIZE, end=1.0)
    for given in (tokenize_with_statistics, frame_statistics):
        found = given(BOOK, size=SIZE, end=1.0, threshold=9)
        got = found if given is frame_statistics else found[1]
        assert got.keep.equal(want.keep)
        with pytest.raises(ValueError, match=f"{given.__name__}: expected a gate or rules for one"):
            given(BOOK, gate=gate(), threshold=9)


def test_statistics_alone_of_what_is_open_already():
    with patchgate.open_video(BOOK, end=1.0) as video:
        frames = frame_statistics(video, size=SIZE)
    assert frames.keep.equal(frame_statistics(BOOK, size=SIZE, end=1.0).keep)
    assert frames.key is None
    with pytest.raises(TypeError, match="gate: expected a patchgate"):
        frame_statistics(BOOK, gate=14)


# --- the cap ------------------------------------------------------------------------------------


def planes_of(count=24):
    with patchgate.open_video(BOOK) as video:
        batches = list(video)[: count // 16 + 1]
    return torch.cat([patchgate.grid.to_grid(b, SIZE) for b in batches])[:count]


def test_a_gate_with_no_cap_is_the_gate():
    planes = planes_of()
    plain = Gate().push(planes)
    capped = CappedGate([1.0] * len(planes))
    parts = [capped.push(part) for part in planes.split(7)]
    for name, want in plain._asdict().items():
        assert torch.cat([getattr(part, name) for part in parts]).equal(want), name


@pytest.mark.parametrize("settings", [{}, {"on_motion": "encode", "search_radius": 0}])
@pytest.mark.parametrize("share", [0.25, 0.05, 0.001])
def test_a_cap_holds_and_no_more_is_dropped_than_it_asks(share, settings):
    planes = planes_of()
    capped = CappedGate([share] * len(planes), threshold=1, **settings)
    kept = (capped.push(planes).kind == CHANGED).flatten(1).sum(1)
    n = SIZE[0] // 14 * (SIZE[1] // 14)
    assert int(kept[0]) == n  # nothing to compare it with
    most = int(share * n)
    assert int(kept[1:].max()) <= most
    if most:  # the cap is used where the gate would keep more
        assert int(kept[1:].max()) == most


def test_a_cap_keeps_the_cells_of_largest_cost():
    planes = torch.full((2, 3, 56, 56), 60, dtype=torch.uint8)
    for row in range(4):
        for column in range(4):
            place = (slice(14 * row, 14 * row + 14), slice(14 * column, 14 * column + 14))
            planes[1, :, *place] = 70 + 4 * row + column
    kind = CappedGate([1, 0.25], scene_cut=None, search_radius=0).push(planes).kind[1]
    assert (kind == CHANGED).nonzero().tolist() == [[3, c] for c in range(4)]


def test_a_cap_begins_anew():
    planes = planes_of(6)
    capped = CappedGate([1, 0.2, 0.2, 1, 0.2, 0.2])
    first = capped.push(planes).kind
    assert capped.fresh().push(planes).kind.equal(first)
    capped.reset()
    assert capped.push(planes).kind.equal(first)


def test_a_cap_needs_a_threshold_to_raise():
    with pytest.raises(ValueError, match="threshold above 0"):
        CappedGate([1, 0.5], threshold=0)
    CappedGate([1.0, 1.0], threshold=0)
    with pytest.raises(ValueError, match="got more"):
        CappedGate([1.0]).push(planes_of(2))
    with pytest.raises(ValueError, match="no threshold_map"):
        CappedGate([1.0]).push(planes_of(1), torch.ones(8, 8))
