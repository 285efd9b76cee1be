"""Tokens of borrowed surfaces: the CPU path's, and every read done before the surface goes."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import av
import clips
import pytest
import torch
from fake_nvdec import FakeBackend, Watch, WatchedStream
from nvdec_cases import EXAMPLES, both, on_gpu, small_tower
from token_cases import KINDS, assert_same
from token_cases import path as moving_444

import patchgate
from patchgate import Gate, TokenChunk, _ops, grid
from patchgate.pipeline import StageSeconds, token_chunks
from patchgate.pipeline import surfaces as borrowed
from patchgate.pipeline.collect import assemble, empty_chunk
from patchgate.pipeline.features import PixelFeatures
from patchgate.pipeline.surfaces import PackedCells, surface_chunks


@functools.cache
def moving() -> Path:
    """The moving scene of test_tokens, as 4:2:0."""
    path = clips.folder() / "moving_420.mkv"
    with av.open(str(moving_444())) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=clips.RATE, options=dict(clips.LOSSLESS))
        stream.width, stream.height = source.streams.video[0].width, source.streams.video[0].height
        for frame in source.decode(video=0):
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_every_kind_of_gate_and_chunk(nvdec: FakeBackend, kind: str, chunk: int) -> None:
    tokens = both(moving(), Gate(patch=8, size=(48, 64), **KINDS[kind]), chunk=chunk)
    assert 0 < tokens.kept_share < 1


@pytest.mark.parametrize("temporal_patch", [1, 2])
@pytest.mark.parametrize("chunk", [1, 5, 16])
@pytest.mark.parametrize("name", ["h264.mp4", "late.mkv", "hevc.ts", "vfr.mp4", "size.ts"])
def test_b_frames_stamps_and_new_sizes(
    nvdec: FakeBackend,
    name: str,
    chunk: int,
    temporal_patch: int,
) -> None:
    gate = Gate(patch=8, size=(48, 64), threshold=60, temporal_patch=temporal_patch)
    both(clips.clip(name), gate, chunk=chunk, errors="ignore")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_real_clips(nvdec: FakeBackend, path: Path) -> None:
    tokens = both(path, Gate(size=(224, 224)), end=1.5)
    assert 0 < tokens.kept_share < 0.6
    assert torch.equal(
        tokens.reconstruct(), patchgate.tokenize(path, size=(224, 224), end=1.5).reconstruct()
    )


@pytest.mark.parametrize("frames", [1, 4, 5])
@pytest.mark.parametrize("options", [
    {"pixels": "yuv420p10le", "options": clips.LOSSLESS},
    {"rotation": (90, False, False)}, {"rotation": (0, True, False)}])  # fmt: skip
def test_deep_turned_and_half_tubelets(
    nvdec: FakeBackend,
    tmp_path: Path,
    options: dict[str, Any],
    frames: int,
) -> None:
    path = clips.write(tmp_path / "clip.mp4", frames=frames, **options)
    for temporal_patch in (1, 2):
        both(path, Gate(patch=8, size=(48, 48), temporal_patch=temporal_patch), chunk=4)


def test_a_part_and_fewer_frames(nvdec: FakeBackend) -> None:
    gate = Gate(patch=8, size=(48, 64))
    both(clips.clip("late.mkv"), gate, start=2.0, end=2.5)
    both(clips.clip("late.mkv"), gate, fps=7)
    with pytest.warns(patchgate.decode.DecodeWarning, match="no frame lies between"):
        tokens = patchgate.tokenize(clips.clip("late.mkv"), gate=gate, start=99, device="cuda")
    assert tokens.shape == (0, 6, 8)


@pytest.mark.parametrize("chunk", [1, 16])
def test_a_tower_sees_the_same_pixels(nvdec: FakeBackend, chunk: int) -> None:
    options = {"chunk": chunk, "tower": small_tower()}
    expected = patchgate.tokenize(moving(), **options)
    assert_same(patchgate.tokenize(moving(), device="cuda", **options), expected)


def chunks_of(video: Any, gate: Gate) -> list[TokenChunk]:
    return list(token_chunks(video, gate.fresh(), StageSeconds()))


@pytest.mark.parametrize("temporal_patch", [1, 2])
def test_surfaces_are_read_on_their_stream_with_one_wait_a_chunk(
    watched: FakeBackend,
    temporal_patch: int,
) -> None:
    video = on_gpu(clips.clip("h264.mp4"), chunk=16)
    gate = Gate(patch=8, size=(48, 64), temporal_patch=temporal_patch)
    with Watch(watched.nvc) as watch:
        chunks = chunks_of(video, gate)
    assert [len(chunk.kind) * temporal_patch for chunk in chunks] == [16, 16, 8]
    # Luma by the grid in place, and chroma copied once; all copied where a tubelet has to fill.
    assert watch.reads == 40 * 3
    assert watch.waits == 0, "a number of the device that the host read"
    assert WatchedStream.said == ["follow", "synchronize", "lead"] * len(chunks)
    assert WatchedStream.open == 0


@pytest.fixture
def strided(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ops that take samples of any strides, as on a GPU: how far apart those of Cb and Cr were."""
    apart: list[int] = []

    def taking(op: Any) -> Any:
        def run(y: Any, cb: Any, cr: Any, *rest: Any) -> Any:
            apart.extend((cb.stride(2), cr.stride(2)))
            return op(y, cb.contiguous(), cr.contiguous(), *rest)

        return run

    monkeypatch.setattr(grid, "takes_strides", lambda plane: True)
    for name in ("frame_grid", "gather"):
        monkeypatch.setattr(_ops, name, taking(getattr(_ops, name)))
    return apart


@pytest.mark.parametrize("temporal_patch", [1, 2])
def test_where_ops_take_strides_chroma_is_read_in_place(
    watched: FakeBackend, strided: list[int], tmp_path: Path, temporal_patch: int
) -> None:
    """Two samples apart, where they are; pictures that wait for others are copied."""
    gate = Gate(patch=8, size=(48, 48), temporal_patch=temporal_patch)
    odd = {"codec": "libvpx-vp9", "size": (65, 49), "options": {"deadline": "realtime"}}
    for options in ({}, {"pixels": "yuv420p10le", "options": clips.LOSSLESS}, odd):
        path = clips.write(tmp_path / "clip.mkv", frames=5, **options)
        expected = patchgate.tokenize(path, gate=gate, chunk=4)
        strided.clear()
        with Watch(watched.nvc):
            got = patchgate.tokenize(path, gate=gate, chunk=4, device="cuda")
        assert_same(got, expected)
        assert set(strided) == {2 if temporal_patch == 1 else 1}


def test_a_tower_reads_chroma_in_place_too(nvdec: FakeBackend, strided: list[int]) -> None:
    gated = small_tower()
    expected = patchgate.tokenize(moving(), gated)
    strided.clear()
    assert_same(patchgate.tokenize(moving(), gated, device="cuda"), expected)
    assert set(strided) == {2}, "by the grid and by gather"


def test_packed_cells_stay_on_one_stream(
    nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new size is another decoder's, on a stream of its own: memory goes from one to the other
    only when nobody needs it any more."""
    run, used = borrowed._Chunk._run, set()

    def watched_run(self: Any, frames: Any) -> None:
        used.add((self._packed, self._cuda_stream))
        run(self, frames)

    monkeypatch.setattr(borrowed._Chunk, "_run", watched_run)
    chunks_of(on_gpu(clips.clip("size.ts"), errors="ignore"), Gate(patch=8, size=(48, 64)))
    packed, lanes = (set(each) for each in zip(*used, strict=True))
    assert len(used) == len(packed) == len(lanes) > 1


def test_no_token_shares_memory_with_a_surface_or_another_chunk(nvdec: FakeBackend) -> None:
    video = on_gpu(clips.clip("h264.mp4"), chunk=8)
    chunks = chunks_of(video, Gate(patch=8, size=(48, 64)))
    own = [
        tensor.untyped_storage().data_ptr()
        for chunk in chunks
        for tensor in chunk.tensors().values()
    ]
    assert not set(own) & nvdec.nvc.buffers()
    features = [chunk.features.untyped_storage().data_ptr() for chunk in chunks]
    assert len(set(features)) == len(chunks)


def test_the_callers_stream_is_current_between_chunks(watched: FakeBackend) -> None:
    for _ in token_chunks(on_gpu(moving()), Gate(patch=8, size=(48, 64)), StageSeconds()):
        assert WatchedStream.open == 0


def test_leaving_early_gives_the_decoder_back(nvdec: FakeBackend) -> None:
    video = on_gpu(moving(), chunk=2)
    chunks = token_chunks(video, Gate(patch=8, size=(48, 64)), StageSeconds())
    next(chunks)
    chunks.close()
    assert len(video._nvdec) == 1  # type: ignore[arg-type]
    both(moving(), Gate(patch=8, size=(48, 64)))


def test_packed_cells_lie_one_behind_another() -> None:
    packed = PackedCells(3)
    rows = torch.arange(24).view(3, 4, 2)  # [T, N, E]
    for t, count in enumerate((4, 0, 3)):
        packed.add(rows[t : t + 1], torch.tensor([count]))
    expected = torch.cat([rows[0], rows[2, :3]])
    assert torch.equal(packed.take(7), expected)
    packed.add(rows[:2], torch.tensor([6]))
    packed.add(rows[2:], torch.tensor([4]))
    again = packed.take(10)
    expected = torch.cat([rows.view(-1, 2)[:6], rows[2]])
    assert torch.equal(again, expected)
    packed.add(rows[1:], torch.tensor([8]))
    assert torch.equal(again, expected), "it is a copy"


@pytest.mark.parametrize("together", [1, 3, 4, 99])
@pytest.mark.parametrize("temporal_patch", [1, 2])
def test_pictures_may_go_through_the_stages_together(
    watched: FakeBackend, together: int, temporal_patch: int
) -> None:
    gate = Gate(patch=8, size=(48, 64), threshold=60, temporal_patch=temporal_patch)
    expected = patchgate.tokenize(clips.clip("size.ts"), gate=gate, errors="ignore")
    features = PixelFeatures(gate.settings, (48, 64))
    video = on_gpu(clips.clip("size.ts"), errors="ignore", chunk=8)
    with Watch(watched.nvc) as watch:
        chunks = list(surface_chunks(video, gate, StageSeconds(), features, together))
    assert watch.waits == 0
    assert WatchedStream.said.count("synchronize") == len(chunks)
    assert_same(assemble(chunks, empty_chunk(gate), expected.layout), expected)


def test_stages_are_timed(nvdec: FakeBackend) -> None:
    stages = StageSeconds()
    list(token_chunks(on_gpu(moving()), Gate(patch=8, size=(48, 64)), stages))
    assert set(stages.seconds) == {"decode", "grid", "gate", "gather", "wait"}
