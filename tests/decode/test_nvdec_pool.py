"""NVDEC's decoders: used again, few, never after an error; and in which processes."""

from __future__ import annotations

import ctypes
import gc
import multiprocessing
import os
import threading
import weakref
from typing import Any

import av
import clips
import pytest
import torch
from fake_nvdec import CPU, FakeBackend
from nvdec_cases import assert_like_the_cpu, on_gpu, refused

import patchgate
from patchgate.decode import DecodeWarning, NvdecUnavailable
from patchgate.decode.nvdec import NvdecError
from patchgate.decode.nvdec.decoder import Kind
from patchgate.decode.nvdec.decoder_pool import IDLE, DecoderPool

# ---- processes


def test_a_video_opened_before_a_fork_says_so_in_the_child(nvdec: FakeBackend) -> None:
    video = on_gpu(clips.clip("h264.mp4"))
    child = os.fork()
    if child == 0:
        try:
            iter(video)
        except NvdecUnavailable as error:
            os._exit(7 if '"spawn"' in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_an_iteration_does_not_go_on_in_a_fork(nvdec: FakeBackend) -> None:
    """Nor does leaving it there touch the decoder, whose memory is the parent's."""
    video = on_gpu(clips.clip("h264.mp4"), chunk=3, threads=1)
    batches = iter(video)
    next(batches)
    child = os.fork()
    if child == 0:
        nvdec.nvc.decoders[0].Decode = lambda data: os._exit(3)  # type: ignore[method-assign]
        held = weakref.ref(nvdec.nvc.decoders.pop())
        try:
            next(batches)
        except NvdecUnavailable as error:
            video.close()
            os._exit(7 if '"spawn"' in str(error) and held() is not None else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert sum(map(len, batches)) == 37, "the parent's goes on"


def test_cuda_in_a_fork_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    refused('does not work in a fork; start workers with multiprocessing\'s "spawn"')


def _frames(path: str) -> int:
    """In a worker: a fake of its own, as a real worker has its own CUDA context."""
    fake = FakeBackend()
    patchgate.decode.opening.nvdec_backend = lambda device: fake
    return sum(len(batch) for batch in patchgate.open_video(path, device="cuda"))


@pytest.mark.slow
def test_spawned_workers_decode() -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_frames, [str(clips.clip("h264.mp4"))] * 4) == [40] * 4


# ---- the pool


def test_decoders_are_used_again_by_codec_and_size(nvdec: FakeBackend) -> None:
    for _ in range(3):
        assert_like_the_cpu(clips.clip("h264.mp4"))
        assert_like_the_cpu(clips.clip("late.ts"))  # the same codec and size
        assert_like_the_cpu(clips.clip("hevc.mp4"))
    assert len(nvdec.nvc.decoders) == 2


def test_a_video_left_early_leaves_a_clean_decoder(nvdec: FakeBackend) -> None:
    video = on_gpu(clips.clip("h264.mp4"), chunk=3)
    next(iter(video))
    gc.collect()
    assert_like_the_cpu(clips.clip("late.ts"))
    assert len(nvdec.nvc.decoders) == 1


def test_a_decoder_that_failed_is_not_used_again(nvdec: FakeBackend) -> None:
    list(on_gpu(clips.clip("h264.mp4")))
    nvdec.nvc.refuse = {nvdec.nvc.packets + 20}
    with pytest.warns(DecodeWarning, match="corrupt packet"):
        list(on_gpu(clips.clip("h264.mp4")))
    assert len(nvdec.nvc.decoders) == 2
    assert_like_the_cpu(clips.clip("h264.mp4"))
    assert len(nvdec.nvc.decoders) == 2


def test_a_closed_video_frees_its_decoder_for_the_next(nvdec: FakeBackend) -> None:
    with on_gpu(clips.clip("h264.mp4"), chunk=3) as video:
        batches = iter(video)
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)
    assert len(video._nvdec) == 1  # type: ignore[arg-type]


def test_opened_videos_hold_no_decoder(nvdec: FakeBackend) -> None:
    videos = [on_gpu(clips.clip("h264.mp4"), threads=1) for _ in range(50)]
    assert not nvdec.nvc.decoders
    for video in videos:
        list(video)
    assert len(nvdec.nvc.decoders) == 1


def test_the_pool_keeps_few_and_drops_the_longest_unused() -> None:
    pool = DecoderPool(FakeBackend())
    kinds = [Kind("h264", 64 + 2 * i, 48, 8) for i in range(IDLE + 3)]
    decoders = [pool.take(kind) for kind in kinds]
    assert len(pool) == 0
    for decoder in decoders:
        pool.give(decoder)
    assert len(pool) == IDLE
    assert [decoder._decoder is None for decoder in decoders] == [True] * 3 + [False] * IDLE
    assert pool.take(kinds[-1]) is decoders[-1]
    assert pool.take(kinds[0]) is not decoders[0]
    pool.clear()
    assert len(pool) == 0


def test_a_decoder_comes_back_wherever_the_collector_runs() -> None:
    """It may end an iteration while the same thread is inside of the pool."""
    pool = DecoderPool(FakeBackend())
    decoder = pool.take(Kind("h264", 64, 48, 8))

    def collected_inside() -> None:
        with pool._lock:
            pool.give(decoder)

    thread = threading.Thread(target=collected_inside, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for itself"
    assert pool.take(decoder.kind) is decoder


def test_where_memory_runs_out_idle_decoders_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend()
    pool = DecoderPool(backend)
    pool.give(pool.take(Kind("h264", 64, 48, 8)))
    create, failures = backend.nvc.CreateDecoder, iter([True, False, True, True])

    def scarce(**options: Any) -> Any:
        if next(failures):
            raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")
        return create(**options)

    monkeypatch.setattr(backend.nvc, "CreateDecoder", scarce)
    decoder = pool.take(Kind("h264", 128, 96, 8))
    assert len(pool) == 0
    decoder.close()
    with pytest.raises(NvdecError, match="OUT_OF_MEMORY"):
        pool.take(Kind("h264", 128, 96, 8))


def test_a_batch_goes_to_a_device_and_back() -> None:
    (batch, *_) = patchgate.open_video(clips.clip("h264.mp4"))
    assert batch.to(CPU) is batch
    moved = batch.to("meta")
    assert {plane.device.type for plane in moved.planes} == {"meta"}
    assert torch.equal(moved.pts_seconds, batch.pts_seconds)
    assert moved.colour == batch.colour


def test_the_vendors_package_reads_a_packet_where_pyav_has_it() -> None:
    """What PacketData is given: an address and a size that hold the packet's bytes."""
    with av.open(str(clips.clip("h264.mp4"))) as container:
        packet = next(container.demux(video=0))
        assert ctypes.string_at(packet.buffer_ptr, packet.buffer_size) == bytes(packet)
