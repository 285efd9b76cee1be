"""Limits: no small file asks for gigabytes or for ever, and what people have passes."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import warnings
import zlib
from fractions import Fraction

import clips
import numpy as np
import odd_clips
import pytest
import torch
from decode_cases import joined

import patchgate
from patchgate.decode import Limits
from patchgate.decode.pool import Pool
from patchgate.report.history import History

PIXELS = r"limits\.pixels is 67,108,864.*limits=patchgate\.Limits\(pixels=\.\.\.\).*--max-pixels"


def png(width, height):
    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * 64))  # the decoder never gets so far
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_the_defaults_pass_what_people_have():
    limits = Limits()
    limits.check_picture("8K", 7680, 4320)
    assert limits.frames("8K", 16, 7680 * 4320 * 3 * 2) >= 1  # 4:4:4, 16 bit
    assert limits.frames("4K", 16, 3840 * 2160 * 3 // 2) == 16
    for limit, value in (("duration", 48 * 3600), ("gap", 24 * 3600 + 1), ("streams", 200)):
        limits.check("a day", limit, value, "it")


@pytest.mark.parametrize(("field", "value"), [
    ("pixels", 0), ("pixels", -1), ("gap", float("nan")), ("duration", float("inf")),
    ("chunk_bytes", 0)])  # fmt: skip
def test_limits_out_of_range(field, value):
    with pytest.raises(ValueError, match=rf"Limits\.{field}: expected more than 0, or None"):
        Limits(**{field: value})


@pytest.mark.parametrize(("field", "value"), [
    ("pixels", 1.5), ("pixels", True), ("streams", "9"), ("gap", "a day"), ("duration", [1]),
])  # fmt: skip
def test_limits_of_another_kind(field, value):
    with pytest.raises(TypeError, match=rf"Limits\.{field}: expected a"):
        Limits(**{field: value})
    with pytest.raises(TypeError, match=r"limits: expected patchgate\.Limits"):
        patchgate.open_video(clips.clip("h264.mp4"), limits={"pixels": 1})


def test_limits_take_numbers_of_numpy():
    limits = Limits(pixels=np.int64(100), gap=np.float32(2.5))
    assert limits == Limits(pixels=100, gap=2.5)
    assert (type(limits.pixels), type(limits.gap)) == (int, float)


@pytest.mark.parametrize("data", [
    odd_clips.gif(16_000, 8_000, 40), odd_clips.gif(65_535, 65_535, 3), png(60_000, 30_000),
    b"YUV4MPEG2 W65535 H65535 F25:1 C420\nFRAME\n" + bytes(1000)])  # fmt: skip
def test_pictures_of_too_many_pixels(tmp_path, data):
    (tmp_path / "bomb").write_bytes(data)
    for source in (tmp_path / "bomb", data):
        with pytest.raises(ValueError, match=PIXELS):
            patchgate.open_video(source)


FORMATS = [("a.ts", "libx264", clips.SMALL), ("a.mp4", "libx264", clips.SMALL),
           ("a.avi", "mjpeg", {}), ("a.webm", "libvpx-vp9", {"deadline": "realtime"}),
           ("b.ts", "mpeg2video", {}), ("a.mkv", "ffv1", {"level": "3"}),
           ("a.gif", "gif", {})]  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "options"), FORMATS)
def test_too_many_pixels_in_every_format(tmp_path, name, codec, options):
    pixels = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
    tick = Fraction(1, clips.RATE) if codec == "mpeg2video" else clips.TICK  # it knows no other
    path = clips.write(tmp_path / name, codec=codec, pixels=pixels, size=(128, 96), frames=3,
                       options=options, tick=tick)  # fmt: skip
    with pytest.raises(ValueError, match=r"limits\.pixels is 12,287.*--max-pixels"):
        patchgate.open_video(path, limits=Limits(pixels=128 * 96 - 1))
    for most in (128 * 96, None):
        assert len(joined(patchgate.open_video(path, limits=Limits(pixels=most)))[1]) == 3


def test_a_picture_that_grows_beyond_the_limit(tmp_path):
    path = clips.size_change(tmp_path / "size.ts", (128, 96))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for threads in (1, 3):
            video = patchgate.open_video(path, limits=Limits(pixels=5000), threads=threads)
            with pytest.raises(ValueError, match=r"limits\.pixels is 5,000"):
                list(video)


def test_bytes_of_a_picture():
    size = 64 * 48 * 3 // 2
    with pytest.raises(ValueError, match=r"a picture of 4,608 bytes.*frame_bytes is 4,607"):
        list(patchgate.open_video(clips.clip("h264.mp4"), limits=Limits(frame_bytes=size - 1)))
    list(patchgate.open_video(clips.clip("h264.mp4"), limits=Limits(frame_bytes=size)))


@pytest.mark.parametrize(("most", "frames"), [(1, 1), (3 * 4608, 3), (4 * 4608 - 1, 3), (None, 16)])
def test_batches_are_bounded_by_bytes(most, frames):
    want = joined(patchgate.open_video(clips.clip("h264.mp4")))
    batches = list(patchgate.open_video(clips.clip("h264.mp4"), limits=Limits(chunk_bytes=most)))
    assert [len(batch) for batch in batches[:-1]] == [frames] * (len(batches) - 1)
    np.testing.assert_array_equal(joined(batches)[0][0], want[0][0])


def test_streams_of_a_file(tmp_path):
    path = odd_clips.tracks(tmp_path / "many.mkv", [("gray", 2)] * 6)
    with pytest.raises(ValueError, match=r"a file of 6 streams.*limits\.streams is 5.*max-streams"):
        patchgate.open_video(path, limits=Limits(streams=5))
    patchgate.open_video(path, limits=Limits(streams=6))


def test_a_stamp_far_ahead_asks_for_nothing(tmp_path):
    """Three pictures, the last of which is said to be shown in thirty years."""
    path = odd_clips.forward(tmp_path / "far.mkv", pts=[0, 1, 25 * 10**9], tick=clips._25)
    video = patchgate.open_video(path, errors="ignore")
    assert joined(video)[1].tolist() == pytest.approx([0, 0.04, 0.08], abs=1e-3)
    assert video.duration_seconds is None  # what the header says is no length of a video
    assert video.num_frames is None or video.num_frames < 10


MEMORY = """
import resource, sys, warnings
import patchgate
warnings.simplefilter("ignore")
with patchgate.open_video(sys.argv[1], limits=patchgate.Limits(pixels=None)) as video:
    print(sum(len(batch) for batch in video))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_memory_follows_bytes_and_not_frames(tmp_path):
    """Some 40 MiB a frame: sixteen of them in each of several batches would be gigabytes."""
    (tmp_path / "large.gif").write_bytes(odd_clips.gif(4000, 3500, 20))
    done = subprocess.run([sys.executable, "-c", MEMORY, str(tmp_path / "large.gif")], check=True,
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    frames, peak = map(int, done.stdout.split())
    assert frames == 20
    assert peak < 2000, "MiB"


def test_no_memory_is_called_that(monkeypatch):
    def refused(self, shape, dtype):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1")

    monkeypatch.setattr(Pool, "empty", refused)
    with pytest.raises(MemoryError, match=r"16 frame\(s\) of 4,608 bytes; free some, or take a sm"):
        list(patchgate.open_video(clips.clip("h264.mp4")))


def history(pts, durations, tubelet=1):
    counts = torch.ones(len(pts), dtype=torch.int64)
    times = (torch.tensor(values, dtype=torch.float64) for values in (pts, durations))
    return History(4, *times, counts, counts, tubelet)


def test_frames_at_a_rate_cost_no_more_than_frames():
    far = history([0.0, 0.04, 1e9], [0.04, 1e9 - 0.04, 0.04])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert far.frames_at(2) == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "KiB"


@pytest.mark.parametrize("tubelet", [1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_frames_at_a_rate_are_those_shown_at_its_moments(seed, tubelet):
    rng = np.random.default_rng(seed)
    durations = rng.choice([0.033, 0.04, 0.2, 1.7], 40)
    pts = 3.5 + np.concatenate([[0], np.cumsum(durations)[:-1]])
    made = history(pts, durations, tubelet)
    shown = (pts[:, None] + durations[:, None] * np.arange(tubelet) / tubelet).ravel()
    for fps in (1, 2.5, 7):
        moments = 3.5 + np.arange(0, durations.sum(), 1 / fps)
        seen = {int(np.flatnonzero(shown <= moment + 1e-3)[-1]) for moment in moments}
        assert made.frames_at(fps) == len(seen)
