"""Videos from servers on the loopback: HTTP, HTTPS, RTSP over UDP and TCP, plain TCP and UDP."""

from __future__ import annotations

import socket
import threading
import time

import clips
import numpy as np
import pytest
import servers
from decode_cases import joined
from servers import rtsp, web
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.decode import Problems
from patchgate.decode.source.protocols import trusted_certificates

LATE_INDEX = "h264.mp4"  # its index lies behind the frames: FFmpeg has to go back for them


@pytest.fixture
def trusted(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(servers.authority()))


def same(video, want, frames=None):
    """The same planes; of a transport stream over RTP, the last frame waits for its end."""
    planes, pts, _ = joined(video)
    count = len(want[1]) if frames is None else frames
    assert len(pts) >= count
    assert pts[:count].tolist() == want[1][:count].tolist()
    for got, plane in zip(planes, want[0], strict=True):
        np.testing.assert_array_equal(got[:count], plane[:count])


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("name", [LATE_INDEX, "faststart.mp4", "late.mkv", "late.ts"])
def test_http(name, version):
    data = clips.clip(name).read_bytes()
    want = joined(patchgate.open_video(data))
    with web({"/x": data}, version=version) as server:
        video = patchgate.open_video(f"{server.base}/x")
        for _ in range(2):
            same(video, want)
        assert video.problems == Problems()


def test_http_seeks_to_the_start():
    data = clips.clip(LATE_INDEX).read_bytes()
    want = joined(patchgate.open_video(data, start=1.0))
    with web({"/x": data}) as server:
        same(patchgate.open_video(f"{server.base}/x", start=1.0), want)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("name", [LATE_INDEX, "late.mkv"])
def test_a_redirect_to_http_or_https_is_followed(trusted, name, secure):
    data = clips.clip(name).read_bytes()
    want = joined(patchgate.open_video(data))
    with web({"/x": data}, secure=secure) as last, web({}) as first:
        same(patchgate.open_video(f"{first.base}/to/{last.base}/x"), want)
        assert last.asked


@pytest.mark.parametrize("to", ["file://{}", "concat:{}", "subfile,,start,0,end,0,,:{}", "data:x",
                                "tcp://127.0.0.1:{}", "ftp://127.0.0.1:{}", "unix:{}",
                                "rtmp://127.0.0.1:{}", "cache:file:{}"])  # fmt: skip
def test_a_redirect_leads_nowhere_else(to):
    path = clips.clip("late.mkv")
    with servers.tcp(path.read_bytes()) as port, web({}) as server:
        place = to.format(port if "127.0.0.1" in to else path)
        with pytest.raises((ValueError, OSError)):
            patchgate.open_video(f"{server.base}/to/{place}")


def test_redirects_without_an_end():
    with web({}) as server, pytest.raises(ConnectionError):
        patchgate.open_video(f"{server.base}/to/{server.base}" + f"/to/{server.base}" * 12)


def test_https_that_verifies(trusted):
    data = clips.clip(LATE_INDEX).read_bytes()
    want = joined(patchgate.open_video(data))
    with web({"/x": data}, secure=True) as server:
        for host in ("127.0.0.1", "localhost"):
            same(patchgate.open_video(f"{server.base.replace('127.0.0.1', host)}/x"), want)


def test_https_that_does_not_verify(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with web({"/x": clips.clip(LATE_INDEX).read_bytes()}, secure=True) as server:
        with pytest.raises(ConnectionError, match=r"certificate does not verify .*SSL_CERT_FILE"):
            patchgate.open_video(f"{server.base}/x")
        assert not server.asked
        with web({}) as first, pytest.raises(OSError):  # noqa: PT011  # FFmpeg's own words
            patchgate.open_video(f"{first.base}/to/{server.base}/x")
        assert not server.asked


def test_https_of_another_host(trusted):
    """The certificate is good, and for 127.0.0.1 and localhost only."""
    with web({"/x": b""}, secure=True, host="127.0.0.2") as server:
        with pytest.raises(ConnectionError, match="certificate does not verify"):
            patchgate.open_video(f"{server.base}/x")
        assert not server.asked


def test_there_are_certificates_to_trust(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert trusted_certificates()


@pytest.mark.parametrize(("status", "error", "message"), [
    (404, FileNotFoundError, r"nothing there \(404\)"), (403, PermissionError, "refuses it"),
    (401, PermissionError, "a name and password"), (410, OSError, "answered with an error"),
    (500, OSError, "answered with an error"), (503, OSError, "answered with an error"),
])  # fmt: skip
def test_what_a_server_answers_is_no_bad_file(status, error, message):
    with web({}) as server, pytest.raises(error, match=message) as told:
        patchgate.open_video(f"{server.base}/status/{status}")
    assert "video file" not in str(told.value)


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for scheme in ("http", "https", "tcp", "rtsp"):
        with pytest.raises(ConnectionRefusedError, match="nobody listens there"):
            patchgate.open_video(f"{scheme}://127.0.0.1:{port}/x")
    with pytest.raises(ConnectionError, match=r"no host called no\.such\.host\.invalid"):
        patchgate.open_video("http://no.such.host.invalid/x.mp4")


def test_a_page_is_no_video():
    page = b"<!DOCTYPE html><title>Sign in</title>" * 99
    with web({"/x.mp4": page}) as server, pytest.raises(ValueError, match="what came is"):
        patchgate.open_video(f"{server.base}/x.mp4")


def test_an_index_at_the_end_where_the_server_knows_no_ranges():
    data = clips.clip(LATE_INDEX).read_bytes()
    at = data.index(b"moov") - 4
    filler = (1 << 21).to_bytes(4, "big") + b"free" + bytes((1 << 21) - 8)  # further than it reads
    with (
        web({"/x": data[:at] + filler + data[at:]}, ranges=False) as server,
        pytest.raises(TimeoutError, match=r"open_timeout=1 .*a server that knows byte ranges"),
    ):
        patchgate.open_video(f"{server.base}/x", open_timeout=1.0)


def test_tcp():
    data = clips.clip("late.ts").read_bytes()
    want = joined(patchgate.open_video(data))
    with servers.tcp(data) as port:
        same(patchgate.open_video(f"tcp://127.0.0.1:{port}"), want)


def test_udp():
    """It has no beginning and no end."""
    data, over = clips.clip("mpeg2.ts").read_bytes(), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not over.is_set():
                for at in range(0, len(data), 7 * 188):
                    sender.sendto(data[at : at + 7 * 188], ("127.0.0.1", port))
                    time.sleep(0.001)

    threading.Thread(target=send, daemon=True).start()
    try:
        with patchgate.open_video(f"udp://127.0.0.1:{port}", errors="ignore") as video:
            batches = iter(video)
            seen = [next(batches) for _ in range(5)]
            assert {(batch.width, batch.height) for batch in seen} == {(64, 48)}
            video.stop()
            assert sum(map(len, batches)) < 100
    finally:
        over.set()


@pytest.fixture(scope="module")
def camera():
    """A transport stream whose pictures come in the order in which they are shown."""
    path = clips.write(clips.folder() / "camera.ts", frames=60, codec="mpeg2video",
                       tick=clips._25, options={"g": "12", "b": "400k"})  # fmt: skip
    return path.read_bytes()


@pytest.mark.parametrize(("udp", "transport"), [(True, "udp"), (False, "tcp")])
def test_rtsp(camera, udp, transport):
    want = joined(patchgate.open_video(camera))
    with rtsp(camera, udp=udp) as (port, taken):
        video = patchgate.open_video(f"rtsp://127.0.0.1:{port}/camera", errors="ignore")
        same(video, want, frames=59)
        same(video, want, frames=59)  # another session
        assert taken == [transport] * 2


def test_rtsp_begins_where_asked_by_reading_up_to_there(camera):
    want = joined(patchgate.open_video(camera, start=1.0, end=1.8))
    with rtsp(camera) as (port, _):
        video = patchgate.open_video(f"rtsp://127.0.0.1:{port}/x", start=1.0, end=1.8)
        same(video, want)


def test_rtsps(trusted, camera):
    want = joined(patchgate.open_video(camera))
    with rtsp(camera, secure=True) as (port, _):
        same(patchgate.open_video(f"rtsps://127.0.0.1:{port}/x"), want, frames=59)


def test_rtsps_that_does_not_verify(monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with rtsp(b"", secure=True) as (port, taken):
        with pytest.raises(ConnectionError, match="certificate does not verify"):
            patchgate.open_video(f"rtsps://127.0.0.1:{port}/x")
        assert not taken


def test_what_is_live_is_not_read_twice_for_a_page(tmp_path):
    page, address = str(tmp_path / "p.html"), "rtsp://127.0.0.1:9/x"
    few = ["--frames", "3"]
    for words in (["inspect", address, "-o", page], ["plan", address, *few, "-o", page],
                  ["plan", address, *few, "--grid", "qwen2.5-vl"]):  # fmt: skip
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 1
        assert "can be read only once; save it to a file first" in done.stderr
