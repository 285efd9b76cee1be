"""Sources that say nothing, or stop saying anything: time limits, Ctrl-C, stopping, closing."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import clips
import pytest
import servers
from decode_cases import FRAMES, fifo
from decode_cases import camera as camera  # a fixture
from servers import rtsp, silent, web

import patchgate
from patchgate.pipeline import token_chunks
from patchgate.policies import container_frames

SLACK = 0.5  # seconds that a limit may be exceeded by
TRIES = 3  # on a machine that does other things, too


def holds(seconds, message, job):
    """TimeoutError, in time; it may be late once or twice, which is the machine's fault."""
    late = []
    for _ in range(TRIES):
        begin = time.monotonic()
        with pytest.raises(TimeoutError, match=message):
            job()
        late.append(time.monotonic() - begin - seconds)
        assert late[-1] > -0.05
        if late[-1] <= SLACK:
            return
    raise AssertionError(f"{late} seconds late")


def open_and_read(source, **options):
    """The time of the opening does not count."""
    with patchgate.open_video(source, errors="ignore", chunk=1, **options) as video:
        for _ in video:
            pass


# --- servers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "https", "tcp", "rtsp", "rtsps"])
def test_a_server_that_says_nothing(scheme):
    with silent() as port:
        address = f"{scheme}://127.0.0.1:{port}/x"
        message = (
            rf"^{address} was not opened within open_timeout=0\.5 seconds; give a larger open_"
        )
        holds(0.5, message, lambda: patchgate.open_video(address, open_timeout=0.5))
        holds(0.5, r"open_timeout=0\.5", lambda: container_frames(address, open_timeout=0.5))


def test_a_udp_port_where_nothing_comes():
    holds(0.5, r"open_timeout=0\.5",
          lambda: patchgate.open_video("udp://127.0.0.1:45999", open_timeout=0.5))  # fmt: skip


@pytest.mark.parametrize("request_name", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_an_rtsp_server_that_falls_silent(camera, request_name):
    with rtsp(camera, mute=request_name) as (port, _):
        address = f"rtsp://127.0.0.1:{port}/x"
        holds(0.5, r"open_timeout=0\.5", lambda: patchgate.open_video(address, open_timeout=0.5))


@pytest.mark.parametrize("share", [0.1, 0.9])
@pytest.mark.parametrize("scheme", ["http", "tcp", "rtsp", "rtsp+udp"])
def test_a_server_that_stops_in_the_middle(camera, scheme, share):
    stall = int(len(camera) * share) // 188 * 188
    with contextlib.ExitStack() as stack:
        if scheme == "http":
            address = stack.enter_context(web({"/x": camera}, stall=stall)).base + "/x"
        elif scheme == "tcp":
            port = stack.enter_context(servers.tcp(camera[:stall], stall=True))
            address = f"tcp://127.0.0.1:{port}"
        else:
            port, _ = stack.enter_context(
                rtsp(camera, udp=scheme == "rtsp+udp", stall=stall // 188 // 7)
            )
            address = f"rtsp://127.0.0.1:{port}/x"
        begin: list[float] = []

        def read():
            with patchgate.open_video(address, errors="ignore", chunk=1, open_timeout=2.0,
                                      read_timeout=0.5) as video:  # fmt: skip
                for _ in video:
                    begin[:] = [time.monotonic()]

        with pytest.raises(TimeoutError) as told:
            read()
        if begin:  # the last frame came, and then nothing
            assert "gave nothing within read_timeout=0.5 seconds" in str(told.value)
            assert time.monotonic() - begin[0] < 0.5 + SLACK + 1.0
        else:
            assert "open_timeout=2 seconds" in str(told.value)
        assert begin or share == 0.1


def test_a_seek_into_silence(camera):
    """The server answers until somebody wants to begin elsewhere."""
    with web({"/x": camera}) as server:
        video = patchgate.open_video(f"{server.base}/x", start=6.0, read_timeout=0.5)
        asked = len(server.asked)
        server.mute.set()
        begin = time.monotonic()
        with pytest.raises(TimeoutError, match=r"read_timeout=0\.5"):
            list(video)
        assert time.monotonic() - begin < 0.5 + 3 * SLACK
        assert len(server.asked) > asked


# --- pipes and file objects -------------------------------------------------------------------


def test_a_fifo_that_nobody_writes_to(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    holds(0.5, r"open_timeout=0\.5",
          lambda: patchgate.open_video(tmp_path / "fifo", open_timeout=0.5))  # fmt: skip
    ended()


@pytest.mark.parametrize("share", [0.0, 0.02, 0.8])
def test_a_fifo_whose_writer_stalls(tmp_path, camera, share):
    def read():
        with fifo(tmp_path, camera[: int(len(camera) * share)], stall=True) as path:
            open_and_read(path, open_timeout=0.5, read_timeout=0.5)

    if share < 0.5:
        holds(0.5, r"open_timeout=0\.5", read)
    else:
        with pytest.raises(TimeoutError, match=r"read_timeout=0\.5"):
            read()
    ended()


class Stalling(io.RawIOBase):
    """A file object of the user's own: it gives ``data``, and then waits until it is ``over``."""

    def __init__(self, data):
        self._data, self.over = io.BytesIO(data), threading.Event()

    def readable(self):
        return True

    def read(self, size=-1):
        data = self._data.read(size)
        if not data:
            self.over.wait(60)
        return data


@contextlib.contextmanager
def stalling_objects(kind, data):
    """File objects that give ``data`` and then nothing, not even their end."""
    if kind == "own":
        file = Stalling(data)
        yield file
        file.over.set()
        return
    reader, writer = (socket.socketpair() if "socket" in kind else os.pipe())  # fmt: skip
    if "socket" in kind:
        threading.Thread(target=writer.sendall, args=(data,), daemon=True).start()
        with reader, writer, reader.makefile("rb") as file:
            yield file
        return
    out = open(writer, "wb", buffering=0)  # noqa: SIM115
    threading.Thread(target=out.write, args=(data,), daemon=True).start()
    with open(reader, "rb", buffering=-1 if kind == "pipe" else 0) as file, out:
        yield file


@pytest.mark.parametrize("kind", ["own", "pipe", "raw pipe", "socket"])
@pytest.mark.parametrize("share", [0.0, 0.8])
def test_a_file_object_that_stalls(camera, kind, share):
    with stalling_objects(kind, camera[: int(len(camera) * share)]) as file:
        option = "read" if share else "open"
        with pytest.raises(TimeoutError, match=rf"{option}_timeout=0\.5"):
            open_and_read(file, open_timeout=0.5, read_timeout=0.5)
        if kind != "own":
            ended()


def test_a_read_of_the_users_that_has_not_come_back_is_not_joined_by_another():
    class Seekable(io.BytesIO):
        over, waiting = threading.Event(), False

        def read(self, size=-1):
            if self.waiting:
                self.over.wait(60)
            return super().read(size)

    file = Seekable(clips.clip("late.mkv").read_bytes())
    video = patchgate.open_video(file, read_timeout=0.3, open_timeout=0.3)
    assert sum(map(len, video)) == 40
    file.waiting = True
    with pytest.raises(TimeoutError, match="open_timeout"):
        list(video)
    with pytest.raises(RuntimeError, match=r"an earlier read\(\) .* has not returned"):
        list(video)
    file.waiting = False
    file.over.set()
    ended()
    assert sum(map(len, video)) == 40


def test_a_subprocess_is_read_as_it_writes(camera, tmp_path):
    (tmp_path / "x.ts").write_bytes(camera)
    slow = (
        "import sys, time; data = open(sys.argv[1], 'rb').read()\n"
        "for at in range(0, len(data), 9000):\n"
        "    sys.stdout.buffer.write(data[at:at + 9000]); sys.stdout.flush(); time.sleep(.005)"
    )
    with subprocess.Popen([sys.executable, "-c", slow, str(tmp_path / "x.ts")],
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert sum(map(len, patchgate.open_video(process.stdout))) == FRAMES


def test_none_waits(tmp_path, camera):
    os.mkfifo(tmp_path / "fifo")

    def write():
        time.sleep(1.0)
        (tmp_path / "fifo").write_bytes(camera)

    threading.Thread(target=write, daemon=True).start()
    video = patchgate.open_video(tmp_path / "fifo", open_timeout=None, read_timeout=None)
    assert sum(map(len, video)) == FRAMES


def test_plain_files_make_no_thread():
    path = clips.clip("late.mkv")
    with open(path, "rb") as file:
        for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes()), file):
            for batch in patchgate.open_video(source, chunk=1):
                assert not source_threads()
                del batch


def source_threads():
    return [thread for thread in threading.enumerate() if thread.name == "patchgate-source"]


def ended():
    """What was left is over soon, and its threads with it."""
    deadline = time.monotonic() + 60
    while source_threads():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- stopping and closing ---------------------------------------------------------------------


def later(job, seconds=0.3):
    thread = threading.Timer(seconds, job)
    thread.start()
    return thread


def test_stopping_gives_what_came(tmp_path, camera):
    with fifo(tmp_path, camera[: int(len(camera) * 0.8)], stall=True) as path:
        with patchgate.open_video(path, read_timeout=None) as video:
            later(video.stop, 1.0)
            pts = [t for batch in video for t in batch.pts_seconds.tolist()]
        assert video.problems.damage() == []
    assert FRAMES * 0.7 < len(pts) < FRAMES * 0.81
    assert pts == patchgate_times(camera)[: len(pts)]


def patchgate_times(data):
    return [t for batch in patchgate.open_video(data) for t in batch.pts_seconds.tolist()]


def test_stopping_a_plain_file():
    video = patchgate.open_video(clips.clip("h264.mp4"), chunk=1, threads=1)
    run = iter(video)
    next(run)
    video.stop()
    assert len(list(run)) < 10
    assert sum(map(len, video)) == 40


@pytest.mark.parametrize("read", [False, True])
def test_closing_from_another_thread(tmp_path, camera, read):
    with fifo(tmp_path, camera[: int(len(camera) * 0.8)], stall=True) as path:
        video = patchgate.open_video(path, read_timeout=None)
        seen: list[int] = []
        reader = threading.Thread(target=lambda: seen.extend(map(len, video)))
        if read:
            reader.start()
            time.sleep(0.5)
        begin = time.monotonic()
        video.close()
        assert time.monotonic() - begin < 2
        if read:
            reader.join(5)
            assert not reader.is_alive()
    ended()


def test_leaving_the_pipeline_early(tmp_path, camera):
    """Its thread waits for the source when the consumer goes."""
    with fifo(tmp_path, camera[: int(len(camera) * 0.8)], stall=True) as path:
        video = patchgate.open_video(path, read_timeout=None, chunk=4)
        chunks = token_chunks(video, patchgate.Gate(size=(42, 56)))
        next(chunks)
        time.sleep(0.5)
        begin = time.monotonic()
        chunks.close()
        assert time.monotonic() - begin < 2
    assert not [t for t in threading.enumerate() if t.name == "patchgate-prefetch"]


# --- Ctrl-C -----------------------------------------------------------------------------------


PRESSED = """
import signal, sys, patchgate
signal.signal(signal.SIGINT, signal.default_int_handler)
jobs = {
    "open": lambda source, limit: patchgate.open_video(source, open_timeout=limit),
    "read": lambda source, limit: list(patchgate.open_video(source, read_timeout=limit)),
    "tokenize": lambda source, limit: patchgate.tokenize(source, size=56, read_timeout=limit),
    "frames": lambda source, limit: patchgate.policies.container_frames(source, read_timeout=limit),
}
for line in sys.stdin:
    job, source, limit = line.split()
    print("begins", flush=True)
    try:
        jobs[job](source, None if limit == "None" else float(limit))
    except KeyboardInterrupt:
        print("pressed", flush=True)
"""
JOBS = ("open", "read", "tokenize", "frames")


@pytest.mark.parametrize("kind", ["http", "fifo"])
def test_ctrl_c_ends_what_waits(tmp_path, camera, kind):
    with subprocess.Popen([sys.executable, "-c", PRESSED], stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for job, limit in itertools.product(JOBS, ("None", "60")):
            with stalling_source(tmp_path, kind, camera, 0.0 if job == "open" else 0.8) as source:
                print(job, source, limit, file=process.stdin, flush=True)
                assert process.stdout.readline() == "begins\n", process.communicate()
                time.sleep(1.0)
                begin = time.monotonic()
                process.send_signal(signal.SIGINT)
                assert process.stdout.readline() == "pressed\n"
                assert time.monotonic() - begin < 2
        _, stderr = process.communicate()
    assert (process.returncode, stderr) == (0, "")


@contextlib.contextmanager
def stalling_source(folder, kind, data, share):
    part = data[: int(len(data) * share)]
    if kind == "fifo":
        with fifo(folder, part, stall=True) as path:
            yield path
    elif share:
        with web({"/x": data}, stall=len(part)) as server:
            yield f"{server.base}/x"
    else:
        with silent() as port:
            yield f"http://127.0.0.1:{port}/x"


ENDING = """
import sys, threading, time, patchgate
threading.Thread(target=lambda: patchgate.open_video(sys.argv[1], open_timeout=None),
                 daemon=True).start()
time.sleep(.3)
"""


def test_python_ends_while_a_read_waits():
    """It waits for no thread of ours, and none of them brings it down."""
    with silent() as port:
        words = [sys.executable, "-c", ENDING, f"http://127.0.0.1:{port}/x"]
        processes = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
        for process in processes:
            _, stderr = process.communicate(timeout=60)
            assert (process.returncode, stderr) == (0, "")
