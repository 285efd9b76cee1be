"""Everything that ``open_live`` takes, and in whose words it refuses the rest."""

from __future__ import annotations

import asyncio
import io
import itertools
import os
import socket
import subprocess
import sys
import threading
import traceback

import av
import clips
import numpy as np
import pytest
import torch
from decode_cases import camera as long_clip  # noqa: F401  # a fixture
from decode_cases import fifo
from live_cases import (
    PATIENCE,
    assert_same_tokens,
    camera,
    planes_of,
    plays,
    seconds_of,
    taken,
    tokens_of,
    ts,
    until,
)
from servers import rtsp, silent, web

import patchgate
from patchgate.decode.source.names import shown_source


def want(data):
    """What ``open_video`` makes of the same bytes."""
    return list(patchgate.open_video(data, chunk=1))


def assert_begins_like(got, expected):
    frames = sum(map(len, got))
    assert seconds_of(got) == seconds_of(expected)[:frames]
    for one, other in zip(planes_of(got), planes_of(expected[:frames]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_transport_stream_over_tcp_is_what_a_file_of_it_is():
    data = ts(40)
    with camera(plays(data)) as (port, _):
        live = patchgate.open_live(f"tcp://127.0.0.1:{port}", policy="all", open_timeout=PATIENCE)
        with live:
            got = taken(live, 30)
            assert_begins_like(got, want(data))
            assert all(batch.duration_seconds.isnan().all() for batch in got)
            arrived = torch.cat([batch.arrived for batch in got])
            assert (arrived.diff() >= 0).all()
            assert not any(batch.gap for batch in got)
            stats = live.stats
            assert (stats.state, stats.reconnects, stats.corrupt) == ("live", 0, 0)
            assert stats.delivered == 30 <= stats.decoded <= stats.received
            assert (stats.size, stats.error) == ((48, 64), None)
            assert 0 <= stats.delay_p50 <= stats.delay_p99
    assert live.stats.state == "closed"


@pytest.mark.parametrize("udp", [False, True])
def test_rtsp(long_clip, udp):  # noqa: F811
    with rtsp(long_clip, udp=udp) as (port, taken_as):
        address = f"rtsp://somebody:hunter2@127.0.0.1:{port}/x"
        with patchgate.open_live(address, policy="all", open_timeout=PATIENCE) as live:
            got = taken(live, 20)
        assert "hunter2" not in repr(live)
        assert taken_as[-1] == ("udp" if udp else "tcp")
    assert_begins_like(got, want(long_clip))


def test_rtsp_by_the_transport_that_is_asked_for(long_clip):  # noqa: F811
    with rtsp(long_clip) as (port, taken_as):
        address = f"rtsp://127.0.0.1:{port}/x"
        with patchgate.open_live(address, transport="udp", open_timeout=PATIENCE) as live:
            next(live)
    assert taken_as == ["udp"]


def test_motion_jpeg_over_http():
    """It has no times: those of arrival count."""
    parts = b""
    for i in range(8):
        frame = av.VideoFrame(64, 48, "yuvj420p")
        clips.picture(i, frame)
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuvj420p"
        encoder.time_base = clips._25
        [packet] = [*encoder.encode(frame), *encoder.encode(None)]
        data = bytes(packet)
        parts += b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data)
        parts += data + b"\r\n"
    with web({"/cam?token=hunter2": parts}, stall=len(parts) - 1) as server:
        live = patchgate.open_live(f"{server.base}/cam?token=hunter2", policy="all",
                                   open_timeout=PATIENCE)  # fmt: skip
        with live:
            got = taken(live, 6)
        assert live.name == f"{server.base}/cam?***"
    seconds = seconds_of(got)
    assert all(b > a for a, b in itertools.pairwise(seconds))
    assert seconds[0] == 0.0
    for i, batch in enumerate(got):
        y = clips.content(i, (64, 48), "yuvj420p")[0]
        assert np.abs(batch.planes[0][0].numpy().astype(int) - y).mean() < 6


def test_udp():
    data = ts(40)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
    over = threading.Event()

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not over.is_set():
                for at in range(0, len(data), 7 * 188):
                    out.sendto(data[at : at + 7 * 188], ("127.0.0.1", port))
                    over.wait(0.001)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        with patchgate.open_live(f"udp://127.0.0.1:{port}", open_timeout=PATIENCE) as live:
            first = next(live)
            assert (first.height, first.width) == (48, 64)
            seconds = seconds_of(taken(live, 5))
            assert all(b > a for a, b in itertools.pairwise(seconds))
    finally:
        over.set()
        sender.join(10)


def test_a_fifo_ends(tmp_path):
    data = ts(40)
    with fifo(tmp_path, data, stall=False) as path:
        got = list(patchgate.open_live(path, policy="all", chunk=5, open_timeout=PATIENCE))
    assert_begins_like(got, want(data))
    assert sum(map(len, got)) == 40
    assert max(map(len, got)) <= 5


def test_standard_input_and_a_process():
    data = ts(40)
    program = "import patchgate; print(sum(len(b) for b in patchgate.open_live('-', policy='all')))"
    done = subprocess.run([sys.executable, "-c", program], input=data, capture_output=True)
    assert done.stdout.strip() == b"40", done.stderr.decode()
    writer = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdout.buffer.write("
                               "sys.stdin.buffer.read())"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    writer.stdin.write(data)
    writer.stdin.close()
    got = list(patchgate.open_live(writer.stdout, policy="all", open_timeout=PATIENCE))
    writer.wait()
    assert_begins_like(got, want(data))


# --- iterables


def shown(count, step=0.04):
    for i in range(count):
        yield np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8), i * step


def test_an_iterable_of_pictures_and_its_end():
    got = list(patchgate.open_live(shown(9), policy="all"))
    assert seconds_of(got) == [i * 0.04 for i in range(9)]
    for batch, (picture, _) in zip(got, shown(9), strict=True):
        other = patchgate.FrameBatch.from_rgb(picture)
        assert all(a.equal(b) for a, b in zip(batch.planes, other.planes, strict=True))
    bgr = list(patchgate.open_live(shown(2), policy="all", channels="bgr"))
    flipped = patchgate.FrameBatch.from_bgr(next(shown(1))[0])
    assert bgr[0].planes[0].equal(flipped.planes[0])


def test_what_an_iterable_writes_to_again_was_copied():
    def same_buffer():
        buffer = np.zeros((48, 64, 3), np.uint8)
        for i in range(4):
            buffer[:] = 60 * i
            yield buffer, None

    got = list(patchgate.open_live(same_buffer(), policy="all"))
    assert [int(batch.planes[0][0, 0, 0]) for batch in got] == [0, 60, 120, 180]


def test_frames_of_pyav_and_tensors_and_a_lower_rate():
    frames = list(av.open(io.BytesIO(ts(40))).decode(video=0))
    want_ = want(ts(40))
    got = list(patchgate.open_live(((f, f.time) for f in frames), policy="all"))
    assert_begins_like(got, want_)
    again = [(torch.full((3, 48, 64), i, dtype=torch.uint8), i / 25) for i in range(26)]
    slow = list(patchgate.open_live(again, policy="all", fps=5))
    assert seconds_of(slow) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (("text", 1.0), TypeError, "FrameBatch.from_rgb: expected pictures"),
        ((np.zeros((4, 4)), 1.0), TypeError, "expected uint8 in 0..255, got float64"),
        ((np.zeros((4, 4, 3), np.uint8), "now"), TypeError, "got 'now' as the time"),
        (7, TypeError, r"expected \(picture, seconds\) from the iterator.* got int"),
        (RuntimeError("my camera broke"), RuntimeError, "my camera broke"),
    ],
)
def test_what_is_no_picture(item, error, message):
    def items():
        if isinstance(item, Exception):
            raise item
        yield item

    live = patchgate.open_live(items())
    with pytest.raises(error, match=message):
        next(live)
    assert list(live) == []


def test_async_for():
    async def collect():
        return [batch async for batch in patchgate.open_live(shown(9), policy="all")]

    assert seconds_of(asyncio.run(collect())) == [i * 0.04 for i in range(9)]

    async def late():
        with silent() as port:
            live = patchgate.open_live(f"tcp://127.0.0.1:{port}", open_timeout=0.3)
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            beside = asyncio.create_task(tick())
            with pytest.raises(TimeoutError, match=r"open_timeout=0\.3"):
                await anext(live)
            beside.cancel()
            return ticks

    assert asyncio.run(late()) > 3


# --- dropped pictures


def assert_like_a_file_of_what_was_left(got, frames, folder, **options):
    """The tokens of these batches, and those of a lossless file that has only their frames."""
    path = folder / "left.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = clips.TICK
        for second in seconds_of(got):
            frame = frames[second].reformat(format="yuv420p")
            frame.pts, frame.time_base = round(second / float(clips.TICK)), clips.TICK
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    tokens = patchgate.tokenize(path, **options)
    live = tokens_of(got, **options)
    assert (live.pts_seconds - tokens.pts_seconds).abs().max() < 0.6e-3  # Matroska's are rounded
    live.pts_seconds = tokens.pts_seconds
    assert_same_tokens(live, tokens)


def test_tokens_of_a_stream_with_dropped_frames_are_those_of_a_file_without_them(tmp_path):
    """Over TCP, to a consumer that is slower than the camera, whatever it drops."""
    data = ts(60)
    frames = {f.time: f for f in av.open(io.BytesIO(data)).decode(video=0)}
    with camera(plays(data)) as (port, _):
        live = patchgate.open_live(f"tcp://127.0.0.1:{port}", open_timeout=PATIENCE)
        got = []
        with live:
            while (seen := live.stats.decoded) < 55:
                got.append(next(live))
                until(lambda: live.stats.decoded >= min(55, seen + 4))
        assert live.stats.dropped["newer"] > 0
    assert 2 <= len(got) < 50
    assert_like_a_file_of_what_was_left(got, frames, tmp_path, size=(42, 56), threshold=6)


def test_the_same_by_a_rate_and_by_a_delay(tmp_path):
    data = ts(60)
    frames = {f.time: f for f in av.open(io.BytesIO(data)).decode(video=0)}
    with camera(plays(data)) as (port, _):
        address = f"tcp://127.0.0.1:{port}"
        with patchgate.open_live(address, policy="all", fps=7, open_timeout=PATIENCE) as live:
            got = taken(live, 10)
        assert_like_a_file_of_what_was_left(got, frames, tmp_path, size=(42, 56))
        live = patchgate.open_live(address, policy="all", max_delay=0.05, open_timeout=PATIENCE)
        with live:
            got = taken(live, 1)
            until(lambda: live.stats.decoded >= 55)
            threading.Event().wait(0.1)  # they all are late now
            got += taken(live, 1)
        assert live.stats.dropped["delay"] >= 50
    assert_like_a_file_of_what_was_left(got, frames, tmp_path, size=(42, 56))


# --- what is refused


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("ftp://a:b@host/x", ValueError, r"ftp://\*\*\*@host/x: there is no such file, and addr"),
        (b"12", ValueError, "<2 bytes> is a file: it does not happen now"),
        (io.BytesIO(b"12"), ValueError, "is a file: it does not happen now"),
        (7, TypeError, "open_live takes an address, .* got int"),
        ("no-such-thing.mp4", FileNotFoundError, "no such file"),
    ],
)
def test_what_is_no_live_source(source, error, message):
    with pytest.raises(error, match=message):
        patchgate.open_live(source)


def test_a_file_where_a_stream_is_meant():
    with pytest.raises(ValueError, match=r"h264.mp4 is a file: .*open_video and tokenize read"):
        patchgate.open_live(clips.clip("h264.mp4"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"policy": "some"}, "policy: expected one of 'newest', 'all', got 'some'"),
        ({"fps": 0}, "fps: expected 1e-09"),
        ({"max_delay": -1}, "max_delay: expected 0"),
        ({"transport": "quic"}, "transport: expected one of"),
        ({"open_timeout": 0}, "open_timeout: expected a positive number"),
        ({"reconnect": 5}, "reconnect: expected True, False or patchgate.Backoff"),
        ({"options": {"protocol_whitelist": "file"}}, "options: protocol_whitelist is what keeps"),
        ({"options": {"a": 1}}, "options: expected texts by name"),
        ({"chunk": 0}, "chunk: expected at least 1"),
    ],
)
def test_options_out_of_range(option, message):
    with pytest.raises((ValueError, TypeError), match=message):
        patchgate.open_live("tcp://127.0.0.1:1", **option)


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_what_is_found_out_when_it_is_opened():
    """It returns at once; the first iteration says what is wrong, and hides what is secret."""
    said, sound = {}, clips.clip("audio.m4a").read_bytes()
    with web({"/a?key=hunter2": sound, "/t?key=hunter2": b"words " * 99}) as server:
        base = server.base.replace("://", "://u:hunter2@")
        for name, address in {
            "closed": f"tcp://u:hunter2@127.0.0.1:{closed_port()}",
            "401": f"{base}/status/401?key=hunter2",
            "404": f"{base}/nothing?key=hunter2",
            "sound": f"{base}/a?key=hunter2",
            "text": f"{base}/t?key=hunter2",
            "unknown": "rtsp://u:hunter2@no-such-host.invalid/x?key=hunter2",
        }.items():
            live = patchgate.open_live(address, open_timeout=PATIENCE)
            with pytest.raises((OSError, ValueError)) as told:
                next(live)
            said[name] = str(told.value)
            whole = "".join(traceback.format_exception(told.value))
            assert "hunter2" not in whole, whole
            assert "hunter2" not in repr(live) + str(live.stats)
            assert list(live) == []
    assert "nobody listens there" in said["closed"]
    assert "name and password (401)" in said["401"]
    assert "nothing there (404)" in said["404"]
    assert "has no video stream: it holds audio" in said["sound"]
    assert "not a video" in said["text"] or "is a playlist" in said["text"]
    assert "no-such-host.invalid" in said["unknown"]


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("rtsp://cam/1", "rtsp://cam/1"),
        ("rtsp://u:p@cam:554/1?k=v#f", "rtsp://***@cam:554/1?***"),
        ("http://u:p@ss@cam/a@b.mp4", "http://***@cam/a@b.mp4"),
        ("rtsp://u:pa/ss@cam/1", "rtsp://***@cam/1"),
        ("rtsp://u:pa?ss@cam/1", "rtsp://***@cam/1"),
        ("http://[::1]:80/x?a", "http://[::1]:80/x?***"),
        ("a?b@c.mp4", "a?b@c.mp4"),
        ("pipe:0", "pipe:0"),
    ],
)
def test_names_without_what_is_secret(name, seen):
    assert shown_source(name) == seen


def test_a_device_that_is_not_there():
    live = patchgate.open_live("v4l2:/dev/video99", open_timeout=PATIENCE)
    with pytest.raises((OSError, ValueError), match="/dev/video99"):
        next(live)


def test_a_fork_cannot_read_it():
    live = patchgate.open_live(shown(3), policy="all")
    live._process = os.getpid() + 1
    with pytest.raises(RuntimeError, match="before this process was forked"):
        next(live)
