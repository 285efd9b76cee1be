"""NVDEC itself: bit for bit PyAV's pictures, no leak, many streams, nothing to the host."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import clips
import pytest
import torch
from nvdec_cases import EXAMPLES
from token_cases import assert_same as assert_same_tokens

import patchgate
from patchgate import Gate
from patchgate.decode import FrameBatch, NvdecUnavailable, Video
from patchgate.decode.nvdec.decoder import backend

pytestmark = pytest.mark.needs_cuda
SIZE = (320, 240)  # HEVC and VP9 start at about 144 x 144
CHUNK = 16


@pytest.fixture(autouse=True)
def _nvdec() -> None:
    """Skips, with the reason, where the machine has no PyNvVideoCodec or no video libraries."""
    try:
        backend(torch.device("cuda"))
    except NvdecUnavailable as error:
        if os.environ.get("PATCHGATE_REQUIRE_CUDA") == "1":
            raise
        pytest.skip(str(error))


def on_gpu(source: Any, **options: Any) -> Video:
    return patchgate.open_video(source, device="cuda", fallback=False, **options)


def assert_like_pyav(source: Any, **options: Any) -> None:
    expected = list(patchgate.open_video(source, **options))
    got: list[FrameBatch] = list(on_gpu(source, **options))
    assert [len(batch) for batch in got] == [len(batch) for batch in expected]
    for ours, theirs in zip(got, expected, strict=True):
        assert ours.planes[0].is_cuda
        assert ours.colour == theirs.colour
        for name in ("pts_seconds", "duration_seconds", "key_frame"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        for plane, other in zip(ours.planes, theirs.planes, strict=True):
            assert torch.equal(plane.cpu(), other)


B_FRAMES = {"preset": "veryfast", "crf": "25", "bf": "3", "g": "12"}
CLIPS: dict[str, dict[str, Any]] = {
    "b.mp4": {"options": B_FRAMES},
    "b.mkv": {"options": B_FRAMES},
    "b.ts": {"options": B_FRAMES, "pts": [clips.STEP * i + 20_000 for i in range(24)]},
    "vfr.mp4": {"options": B_FRAMES, "pts": clips.VFR},
    "open.mkv": {"options": clips.B_FRAMES, "frames": 40},
    "full.mp4": {"pixels": "yuvj420p"},
    "turned.mp4": {"rotation": (90, False, False)},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "deep.mkv": {"codec": "libx265", "pixels": "yuv420p10le",
                 "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}},
    "odd.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime"}, "size": (321, 241)},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "8", "bf": "2", "b": "4M"},
                 "tick": clips._25},
}  # fmt: skip


def made(folder: Path, name: str) -> Path:
    return clips.write(folder / name, **{"size": SIZE, **CLIPS[name]})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_real_clips_equal_pyav(path: Path) -> None:
    assert_like_pyav(path)


@pytest.mark.parametrize("name", CLIPS)
def test_every_codec_and_container_equals_pyav(tmp_path: Path, name: str) -> None:
    assert_like_pyav(made(tmp_path, name))


@pytest.mark.parametrize("name", ["b.mp4", "open.mkv", "hevc.mp4", "vp9.webm"])
@pytest.mark.parametrize("options", [{"start": 0.6}, {"start": 0.3, "end": 0.7}, {"fps": 7}])
def test_a_part_equals_pyav(tmp_path: Path, name: str, options: dict[str, float]) -> None:
    assert_like_pyav(made(tmp_path, name), **options)


def test_bytes_equal_pyav(tmp_path: Path) -> None:
    assert_like_pyav(made(tmp_path, "b.mp4").read_bytes())


def test_a_new_size_in_the_middle_equals_pyav(tmp_path: Path) -> None:
    path = clips.size_change(tmp_path / "size.ts", (480, 320), first=SIZE)
    assert_like_pyav(path, errors="ignore")


@pytest.mark.parametrize("temporal_patch", [1, 2])
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_tokens_equal_the_cpus(path: Path, temporal_patch: int) -> None:
    gate = Gate(size=(224, 224), temporal_patch=temporal_patch)
    got = patchgate.tokenize(path, gate=gate, device="cuda", fallback=False)
    assert got.features.is_cuda
    features = got.features.cpu()
    expected = patchgate.tokenize(path, gate=gate)
    assert torch.equal(features, expected.features)
    for name in ("source", "kind", "motion", "frame", "cell", "pts_seconds"):
        assert torch.equal(getattr(got, name), getattr(expected, name)), name


def test_many_streams_at_once_equal_pyav(tmp_path: Path) -> None:
    paths = [made(tmp_path, name) for name in ("b.mp4", "hevc.mp4", "vp9.webm", "b.ts")] * 4
    failures: list[BaseException] = []

    def read(path: Path) -> None:
        try:
            assert_like_pyav(path, threads=1)
        except BaseException as error:  # to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=read, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_a_thousand_opens_leak_nothing(tmp_path: Path) -> None:
    """Read to the end, left in the middle, and never read."""
    path = made(tmp_path, "b.mp4")

    def opened(i: int) -> None:
        with on_gpu(path, threads=1) as video:
            if i % 3 == 0:
                list(video)
            elif i % 3 == 1:
                next(iter(video))

    for i in range(30):
        opened(i)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.mem_get_info()[0]
    for i in range(1000):
        opened(i)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    assert before - torch.cuda.mem_get_info()[0] < 32 << 20


def test_nothing_but_the_gates_words_crosses_to_the_host() -> None:
    """One wait a chunk, and per frame fewer bytes than the gate's answer takes."""
    from gpu.nvdec import SIDE, tokens
    from gpu.traces import traced

    frames: list[int] = []

    def read() -> None:
        with on_gpu(EXAMPLES[0], chunk=CHUNK) as video:
            frames.append(tokens(video))

    read()  # the tables are copied to the device, once
    trace = traced(read)
    cells = (SIDE // 14) ** 2
    words = cells * (8 + 8 + 1 + 2) + 64  # index, source, kind, motion; cu_seqlens
    assert trace.waits == -(-frames[-1] // CHUNK)
    assert sum(trace.to_host) <= frames[-1] * words


def test_batches_are_ready_for_the_callers_stream(tmp_path: Path) -> None:
    """No wait between taking a batch and reading it on another stream."""
    path = made(tmp_path, "b.mp4")
    expected = torch.cat([batch.planes[0] for batch in patchgate.open_video(path)])
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        sums = [batch.planes[0].long().sum((1, 2)) for batch in on_gpu(path, chunk=2)]
    stream.synchronize()
    assert torch.equal(torch.cat(sums).cpu(), expected.long().sum((1, 2)))


def test_a_fallback_lands_on_the_gpu(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "clip.mkv", pixels="yuv444p", size=SIZE, frames=4)
    with pytest.warns(patchgate.decode.DecodeWarning, match="by PyAV"):
        video = patchgate.open_video(path, device="cuda")
    (batch,) = video
    assert batch.planes[0].is_cuda
    tokens = patchgate.tokenize(video, size=112)
    on_cpu = replace(tokens, features=tokens.features.cpu())
    assert_same_tokens(on_cpu, patchgate.tokenize(path, size=112))
