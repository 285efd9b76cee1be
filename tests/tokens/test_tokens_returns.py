"""Tokens of a gate that remembers pictures: rebuilt, sliced, saved, merged, played in a report."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gate_videos import texture
from gated_cases import SIDE
from rebuild import worst_sub_blocks
from safetensors import safe_open
from safetensors.torch import save_file
from stream_cases import gated
from torch import Tensor

import patchgate
from patchgate import FrameBatch, Gate, MergeStream, Tokenizer, VideoTokens, merge
from patchgate.decode import Colour
from patchgate.gate import CHANGED, RETURNED
from patchgate.language.prompt import shown_mask
from patchgate.report.earlier import Earlier
from patchgate.tokens import TokenChunk, layout_of, reconstruct
from patchgate.tokens.spill import TokenSpill

P, SIZE = 8, (24, 32)
LENGTH = 3  # frames of a shot


def frames_of(order: str, size: tuple[int, int] = SIZE) -> FrameBatch:
    """Held pictures, one for each letter, at 25 frames a second; a window in the last shot."""
    parts = [texture(size, ord(one), 3).expand(LENGTH, -1, -1, -1) for one in order]
    planes = torch.cat(parts).clone()
    planes[-2:, :, :8, 16:] = texture(size, 7, 3)[:, :8, 16:]
    y, cb, cr = (plane.contiguous() for plane in planes.unbind(1))
    pts = torch.arange(len(planes), dtype=torch.float64) / 25
    return FrameBatch((y, cb, cr), pts, torch.full_like(pts, 0.04), Colour("bt709", True))


def planes_of(batch: FrameBatch) -> Tensor:
    return torch.stack(batch.planes, 1)


def part(batch: FrameBatch, begin: int, end: int) -> FrameBatch:
    y, cb, cr = (plane[begin:end] for plane in batch.planes)
    times = batch.pts_seconds[begin:end], batch.duration_seconds[begin:end]
    return FrameBatch((y, cb, cr), *times, batch.colour)


def gate(memory: int | None = 2) -> Gate:
    return Gate(patch=P, size=SIZE, memory=memory)


def tokens(order: str = "ABABA", memory: int | None = 2) -> VideoTokens:
    tokenizer = Tokenizer(gate=gate(memory))
    return tokenizer.joined([tokenizer.push(frames_of(order))])


def assert_rebuilt(planes: Tensor, rebuilt: Tensor) -> None:
    assert bool((worst_sub_blocks(planes, rebuilt, P, P // 2) <= 4 * 16).all())


def test_they_rebuild_the_video() -> None:
    video = tokens()
    assert bool((video.kind == RETURNED).any())
    assert len(video) < len(tokens(memory=None))
    assert_rebuilt(planes_of(frames_of("ABABA")), video.reconstruct())


@pytest.mark.parametrize(("first", "last"), [(0, 5), (4, 9), (5, 15), (7, 8), (10, 15)])
def test_a_slice_has_what_its_cells_return_to(first: int, last: int) -> None:
    video = tokens()
    own = video.frames(first, last)
    assert torch.equal(own.reconstruct(), video.reconstruct()[first:last])
    assert torch.equal(own.dense(), video.dense()[first:last])
    shown = shown_mask(own)
    assert int(shown.sum()) == int((own.size > 0).sum()) or not bool((own.kind == RETURNED).any())


def test_a_file_with_returns_has_a_version_of_its_own(tmp_path: Path) -> None:
    for memory, version in ((2, 2), (None, 1)):
        video, path = tokens(memory=memory), tmp_path / str(memory)
        video.save(path)
        with safe_open(path, "pt") as file:
            assert file.metadata()["format"] == f"patchgate.VideoTokens/{version}"
        again = VideoTokens.load(path)
        for name, tensor in video.tensors().items():
            assert torch.equal(getattr(again, name), tensor)


def test_a_file_of_version_1_has_no_returns(tmp_path: Path) -> None:
    tokens().save(tmp_path / "new")
    with safe_open(tmp_path / "new", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = {**file.metadata(), "format": "patchgate.VideoTokens/1"}
    save_file(tensors, tmp_path / "lies", about)
    with pytest.raises(ValueError, match="no cells that return"):
        VideoTokens.load(tmp_path / "lies")
    tensors["kind"][tensors["kind"] == RETURNED] = 5
    save_file(tensors, tmp_path / "lies", about)
    with pytest.raises(ValueError, match="kind"):
        VideoTokens.load(tmp_path / "lies")


def test_a_spill_writes_the_same_file(tmp_path: Path) -> None:
    tokenizer, video = Tokenizer(gate=gate()), frames_of("ABABA")
    chunks = [tokenizer.push(part(video, t, t + 4)) for t in range(0, 15, 4)]
    empty = TokenChunk(**{name: field[:0] for name, field in chunks[0].tensors().items()})
    with TokenSpill(tmp_path / "spilt", empty, layout_of(gate(), "bt709")) as spill:
        for chunk in chunks:
            spill.add(chunk)
        spill.finish()
    spilt, whole = VideoTokens.load(tmp_path / "spilt"), tokens()
    for name, tensor in whole.tensors().items():
        assert torch.equal(getattr(spilt, name), tensor), name


@pytest.mark.parametrize("cut", [1, 4, 7])
def test_chunks_of_a_tokenizer_join_to_the_same(cut: int, tmp_path: Path) -> None:
    video, tokenizer = frames_of("ABABA"), Tokenizer(gate=gate())
    chunks = [tokenizer.push(part(video, 0, cut))]
    tokenizer.save(tmp_path / "state")
    tokenizer = Tokenizer(gate=gate())
    tokenizer.restore(tmp_path / "state")
    chunks.append(tokenizer.push(part(video, cut, 15)))
    joined, whole = tokenizer.joined(chunks), tokens()
    for name, tensor in whole.tensors().items():
        assert torch.equal(getattr(joined, name), tensor), name


@pytest.mark.parametrize("cut", [2, 7, 9])
def test_a_tokenizer_with_a_tower_goes_on(cut: int) -> None:
    video = frames_of("ABABA", (SIDE, SIDE))
    tower = gated("clip", context="full", tolerance=0.05, memory=2)
    one, other, whole = (Tokenizer(tower) for _ in range(3))
    expected = whole.push(video)
    first = one.push(part(video, 0, cut))
    other.load_state_dict(one.state_dict())
    second = other.push(part(video, cut, 15))
    assert bool((expected.kind == RETURNED).any())
    assert torch.equal(torch.cat([first.source, second.source]), expected.source)
    features = torch.cat([first.features, second.features])
    torch.testing.assert_close(features, expected.features, rtol=0, atol=1e-9)


def test_merging_takes_them() -> None:
    video = frames_of("ABABA", (SIDE, SIDE))
    tower = gated("clip", context="full", tolerance=0.05, memory=2)
    tokenizer = Tokenizer(tower)
    whole = tokenizer.joined([tokenizer.push(video)])
    merged = merge(whole, ratio=0.5)
    assert len(merged) < len(whole)
    assert merged.dense().shape == whole.dense().shape


def test_a_merge_stream_remembers_what_may_return() -> None:
    video = frames_of("ABABA", (SIDE, SIDE))
    tower = gated("clip", context="full", tolerance=0.05, memory=2)
    tokenizer, stream, out = Tokenizer(tower), MergeStream(window=3, ratio=0.7), []
    for t in range(0, 15, 3):
        chunk = tokenizer.push(part(video, t, t + 3))
        assert tokenizer.gate is not None
        assert tokenizer.gate.memory_ids is not None
        ids = tokenizer.gate.memory_ids
        names = torch.cat([tokenizer.gate.picture_ids.flatten().long(), ids[ids >= 0]])
        out += stream.push(chunk, names)
    out += stream.flush()
    assert sum(len(chunk.kind) for chunk in out) == 15


def test_a_report_rebuilds_chunk_by_chunk() -> None:
    video, tokenizer, before = frames_of("ABABA"), Tokenizer(gate=gate()), None
    layout, pictures = layout_of(gate(), "bt709"), []
    with Earlier() as earlier:
        for t in range(0, 15, 2):
            chunk = earlier.completed(tokenizer.push(part(video, t, t + 2)))
            shown = reconstruct.planes(chunk, layout, before)
            pictures.append(shown)
            before = shown[-1:]
    assert torch.equal(torch.cat(pictures), tokens().reconstruct())


def test_the_first_chunk_names_nothing_earlier() -> None:
    chunk = Tokenizer(gate=gate()).push(frames_of("A"))
    with Earlier() as earlier:
        assert earlier.completed(chunk) is chunk


def test_overlays_have_a_colour_for_it() -> None:
    from patchgate.report.cells import overlay

    grey = torch.full((3, 16, 16), 99, dtype=torch.uint8)
    kinds = [overlay(grey, torch.full((2, 2), k, dtype=torch.uint8)) for k in (0, CHANGED, 4)]
    assert not np.array_equal(kinds[0], kinds[2])
    assert not np.array_equal(kinds[1], kinds[2])


def test_a_plan_with_a_share_refuses_it() -> None:
    from patchgate.policies.video.capped_gate import CappedGate

    with pytest.raises(ValueError, match="memory"):
        CappedGate([0.5], memory=2)


def test_tokenize_has_the_rule() -> None:
    video = patchgate.tokenize(frames_of("ABABA"), size=SIZE, gate=gate())
    assert torch.equal(video.kind, tokens().kind)
