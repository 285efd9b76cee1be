"""open_video(device="cuda") over a fake of PyNvVideoCodec: frame for frame what the CPU path gives.

The fake (fake_nvdec.py) decodes with PyAV but hands out its memory as NVDEC does, and poisons it.
"""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import av
import clips
import pytest
from decode_cases import TURNS, whole
from fake_nvdec import POISON, FakeBackend, Watch, WatchedStream
from hypothesis import given, settings
from hypothesis import strategies as st
from nvdec_cases import EXAMPLES, VIDEOS, assert_like_the_cpu, assert_same, on_gpu

import patchgate
from patchgate.decode import DecodeWarning, FrameBatch


@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("name", VIDEOS)
def test_frames_times_and_keys_equal_the_cpu(nvdec: FakeBackend, name: str, chunk: int) -> None:
    video = assert_like_the_cpu(clips.clip(name), chunk=chunk)
    assert not video.problems.damage()


@pytest.mark.parametrize("name", VIDEOS)
def test_a_decoder_that_never_waits_gives_the_same_durations(nvdec: FakeBackend, name: str) -> None:
    """Then the next picture may not have gone in when one comes out."""
    nvdec.nvc.held, nvdec.nvc.burst = 0, 1
    assert_like_the_cpu(clips.clip(name))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_real_clips_equal_the_cpu(nvdec: FakeBackend, path: Path) -> None:
    assert_like_the_cpu(path, end=2.0)


def test_what_the_video_tells_is_the_same(nvdec: FakeBackend) -> None:
    cpu, gpu = (patchgate.open_video(clips.clip("late.ts"), device=d) for d in ("cpu", "cuda"))
    told = ["width", "height", "codec", "colour", "rotation", "begin_stream_seconds",
            "duration_seconds", "average_fps", "num_frames"]  # fmt: skip
    assert [getattr(gpu, name) for name in told] == [getattr(cpu, name) for name in told]
    assert (cpu.decoder, gpu.decoder) == ("pyav", "nvdec")
    assert (cpu.device.type, gpu.device) == ("cpu", nvdec.device)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "hevc.mp4", "hevc.ts", "vp9.webm",
                                  "av1.mkv", "mpeg2.ts"])  # fmt: skip
@pytest.mark.parametrize("options", [
    {"start": 0.31}, {"start": 0.9}, {"start": 1.2, "end": 1.5}, {"end": 0.5}, {"fps": 10},
    {"start": 0.2, "fps": 7.5}])  # fmt: skip
def test_start_end_and_fps_equal_the_cpu(
    nvdec: FakeBackend, name: str, options: dict[str, Any]
) -> None:
    begin = patchgate.open_video(clips.clip(name)).begin_stream_seconds
    shifted = {k: v if k == "fps" else v + begin for k, v in options.items()}
    assert_like_the_cpu(clips.clip(name), **shifted)


@settings(max_examples=60)
@given(name=st.sampled_from(VIDEOS), a=st.floats(0, 0.98), length=st.floats(0.02, 1),
       fps=st.none() | st.floats(1, 40), chunk=st.integers(1, 20),
       late=st.tuples(st.integers(0, 9), st.integers(1, 4)))  # fmt: skip
def test_any_part_equals_the_cpu(
    nvdec: FakeBackend, name: str, a: float, length: float, fps: float | None, chunk: int,
    late: tuple[int, int],
) -> None:  # fmt: skip
    """All examples share one pool: each begins with the decoder that another left."""
    nvdec.nvc.held, nvdec.nvc.burst = late
    _, pts, durations = whole(name)
    begin, end = pts[0], pts[-1] + durations[-1]
    start = begin + a * (end - begin)
    assert_like_the_cpu(clips.clip(name), start=start, end=start + length, fps=fps, chunk=chunk,
                        errors="ignore")  # fmt: skip


def test_bytes_files_and_pipes_equal_a_path(nvdec: FakeBackend) -> None:
    path = clips.clip("late.ts")
    expected = list(patchgate.open_video(path))
    assert_same(list(on_gpu(path.read_bytes())), expected)
    with path.open("rb") as file:
        video = on_gpu(file)
        assert_same(list(video), expected)
        assert_same(list(video), expected)  # again, from the start
    pipe = io.BytesIO(path.read_bytes())
    pipe.seekable = lambda: False  # type: ignore[method-assign]
    assert_same(list(on_gpu(pipe)), expected)


def test_a_raw_stream_has_the_cpus_pictures(nvdec: FakeBackend, tmp_path: Path) -> None:
    """It has no stamps, and says so; pictures come in the order of showing all the same."""
    path = tmp_path / "raw.h264"
    with av.open(str(clips.clip("late.ts"))) as ts:
        path.write_bytes(b"".join(bytes(packet) for packet in ts.demux(video=0)))
    with pytest.warns(DecodeWarning, match="time stamp"):
        assert_like_the_cpu(path)


def test_an_edit_list_hides_what_it_hides_on_the_cpu(nvdec: FakeBackend, tmp_path: Path) -> None:
    """FFmpeg's demuxer marks the frames before the edit's start: decoded, not shown."""
    path = tmp_path / "cut.mp4"
    with av.open(str(clips.clip("h264.mp4"))) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - 3 * clips.STEP, packet.dts - 3 * clips.STEP
                packet.stream = stream
                out.mux(packet)
    with av.open(str(path)) as cut:
        assert any(packet.is_discard for packet in cut.demux(video=0)), "nothing is hidden"
    assert_like_the_cpu(path)


@pytest.mark.parametrize(("codec", "pixels", "size"), [
    ("libx264", "yuv420p", (66, 50)), ("libx264", "yuv420p10le", (64, 48)),
    ("libx265", "yuv420p10le", (66, 50)), ("libx265", "yuv420p12le", (64, 48)),
    ("libvpx-vp9", "yuv420p", (65, 49)), ("libvpx-vp9", "yuv420p", (64, 49)),
    ("libsvtav1", "yuv420p10le", (66, 66)), ("libx264", "yuvj420p", (64, 48)),
    ("libvpx", "yuv420p", (63, 47))])  # fmt: skip
def test_sizes_and_depths_equal_the_cpu(
    nvdec: FakeBackend, tmp_path: Path, codec: str, pixels: str, size: tuple[int, int]
) -> None:
    known = {"libx265": {"x265-params": "log-level=none:pools=1"}, "libsvtav1": {"preset": "10"}}
    options = known.get(codec, {})
    path = clips.write(tmp_path / "clip.mkv", codec=codec, pixels=pixels, size=size, frames=7,
                       options=options)  # fmt: skip
    video = assert_like_the_cpu(path)
    assert (video.width, video.height) == size
    assert next(iter(video)).planes[0].int().max() > POISON  # luma is seen


@pytest.mark.parametrize("rotation", TURNS)
def test_rotation_is_applied(
    nvdec: FakeBackend, tmp_path: Path, rotation: tuple[float, bool, bool]
) -> None:
    path = clips.write(tmp_path / "clip.mp4", frames=3, rotation=rotation, options=clips.LOSSLESS)
    assert_like_the_cpu(path)


@pytest.mark.parametrize(("space", "full"), [(1, False), (9, True), (6, True)])
def test_colour_is_the_containers(
    nvdec: FakeBackend, tmp_path: Path, space: int, full: bool
) -> None:
    path = clips.write(tmp_path / "clip.mkv", frames=3, space=space, full_range=full)
    video = assert_like_the_cpu(path)
    assert video.colour.full_range == full


def test_a_surface_is_gone_with_the_next_packet(nvdec: FakeBackend) -> None:
    pictures = on_gpu(clips.clip("h264.mp4"))._borrowed()
    first = next(pictures).picture.surface
    y = first.planes()[0]
    assert y.min() < POISON
    kept = [next(pictures).picture.surface for _ in range(8)]
    with pytest.raises(RuntimeError, match="this picture is not valid any more"):
        first.planes()
    assert kept[-1].planes()[0].data_ptr() in {y.data_ptr(), *nvdec.nvc.buffers()}


def test_no_batch_shares_memory_with_the_decoder(nvdec: FakeBackend) -> None:
    batches = list(on_gpu(clips.clip("h264.mp4"), chunk=7))
    own = {plane.untyped_storage().data_ptr() for batch in batches for plane in batch.planes}
    assert len(own) == 3 * len(batches)
    assert not own & nvdec.nvc.buffers()
    assert all(plane.is_contiguous() for batch in batches for plane in batch.planes)


def test_every_read_of_a_surface_is_on_its_decoders_stream(watched: FakeBackend) -> None:
    with Watch(watched.nvc) as watch:
        batches = list(on_gpu(clips.clip("h264.mp4"), chunk=16))
    assert watch.reads == 3 * 40  # each plane is read once
    assert watch.waits == 0
    assert WatchedStream.open == 0
    assert WatchedStream.said == ["lead"] * len(batches), "handed over with an event, and no wait"


def test_two_iterations_side_by_side_do_not_disturb_each_other(nvdec: FakeBackend) -> None:
    video = on_gpu(clips.clip("h264.mp4"), chunk=4)
    pairs = list(zip(video, video, strict=True))
    assert_same([a for a, _ in pairs], [b for _, b in pairs])
    assert len(nvdec.nvc.decoders) == 2


def test_streams_in_many_threads(nvdec: FakeBackend) -> None:
    names = VIDEOS[:8] * 2
    got: dict[int, list[FrameBatch]] = {}

    def read(i: int) -> None:
        got[i] = list(on_gpu(clips.clip(names[i]), threads=1))

    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(names))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, name in enumerate(names):
        assert_same(got[i], list(patchgate.open_video(clips.clip(name))))
