"""Sources and lifetimes: bytes, file objects, iterating again, stopping early, closing."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
import time

import clips
import numpy as np
import pytest
from decode_cases import joined

import patchgate
from patchgate.decode.planes import native
from patchgate.pipeline import token_chunks


class Pipe(io.RawIOBase):
    """Reads forward only, as from a socket."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def read(self, size=-1):
        return self._data.read(size)

    def readable(self):
        return True


NAME = "late.mkv"


@pytest.fixture(scope="module")
def want():
    return joined(patchgate.open_video(clips.clip(NAME)))


def same(video, want):
    planes, pts, durations = joined(video)
    assert pts.tolist() == want[1].tolist()
    assert durations.tolist() == want[2].tolist()
    for got, plane in zip(planes, want[0], strict=True):
        np.testing.assert_array_equal(got, plane)


@pytest.mark.parametrize("make", [str, lambda p: p, lambda p: p.read_bytes(),
                                  lambda p: memoryview(p.read_bytes()),
                                  lambda p: io.BytesIO(p.read_bytes())])  # fmt: skip
def test_every_source_gives_the_same_twice(make, want):
    video = patchgate.open_video(make(clips.clip(NAME)))
    same(video, want)
    same(video, want)


def test_an_open_file_is_read_from_its_first_byte_and_stays_open(want):
    with open(clips.clip(NAME), "rb") as file:
        file.seek(100)
        with patchgate.open_video(file) as video:
            same(video, want)
            same(video, want)
        assert not file.closed


def test_a_pipe_is_read_once(want):
    video = patchgate.open_video(Pipe(clips.clip(NAME).read_bytes()))
    same(video, want)
    with pytest.raises(RuntimeError, match="read only once"):
        list(video)


def test_an_error_of_the_users_file_is_the_users():
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 9000:
                raise OSError("the network is down")
            return super().read(size)

    with pytest.raises(OSError, match="the network is down"):
        list(patchgate.open_video(Broken(clips.clip(NAME).read_bytes())))


def test_two_iterations_side_by_side(want):
    video = patchgate.open_video(clips.clip(NAME), chunk=4)
    for a, b in zip(video, video, strict=True):
        np.testing.assert_array_equal(a.planes[0].numpy(), b.planes[0].numpy())


def test_a_new_iteration_of_a_file_object_ends_the_old(want):
    video = patchgate.open_video(io.BytesIO(clips.clip(NAME).read_bytes()), chunk=4)
    old = iter(video)
    next(old)
    same(video, want)
    with pytest.raises(StopIteration):
        next(old)


def test_iterating_again_counts_problems_anew(tmp_path):
    path = clips.damaged(clips.clip("faststart.mp4"), tmp_path / "bad.mp4")
    video = patchgate.open_video(path, threads=1, errors="ignore")
    seen = []
    for _ in range(2):
        list(video)
        seen.append(video.problems)
    assert seen[0] == seen[1]
    assert seen[0].damage()


def test_a_closed_video_says_so():
    with patchgate.open_video(clips.clip(NAME), chunk=4) as video:
        run = iter(video)
        next(run)
    with pytest.raises(ValueError, match="is closed"):
        iter(video)
    with pytest.raises(StopIteration):
        next(run)
    video.close()


def test_closing_while_another_thread_decodes(monkeypatch):
    decoding, taken = threading.Event(), []

    def slow(picture):
        decoding.set()
        time.sleep(0.2)
        return native(picture)

    video = patchgate.open_video(clips.clip("h264.mp4"), chunk=1)
    run = iter(video)
    next(run)
    monkeypatch.setattr("patchgate.decode.video.native", slow)
    thread = threading.Thread(target=lambda: taken.extend(run))
    thread.start()
    assert decoding.wait(10)
    video.close()  # waits for the one batch
    thread.join(10)
    assert not thread.is_alive()
    assert len(taken) <= 1
    assert next(run, None) is None


def test_closing_while_the_pipeline_decodes_ahead():
    for _ in range(5):
        video = patchgate.open_video(clips.clip("h264.mp4"), chunk=1)
        chunks = token_chunks(video, patchgate.Gate(size=(42, 56)))
        next(chunks)
        video.close()
        assert len(list(chunks)) < 39
    assert not [t for t in threading.enumerate() if t.name == "patchgate-prefetch"]


STOP_EARLY = """
import sys, patchgate
for _ in range(5):
    for threads in (1, 2, 4):
        for path in sys.argv[1:]:
            for batch in patchgate.open_video(path, chunk=1, threads=threads):
                break                                # the generator is dropped half-way
            patchgate.open_video(path)               # opened and dropped
            left = iter(patchgate.open_video(path, chunk=3)); next(left)
print(len(batch))                                    # the last ones are left to the interpreter
"""


def test_stopping_early_never_hangs():
    paths = [str(clips.clip(n)) for n in ("h264.mp4", "hevc.mp4", "vp9.webm", "av1.mkv")]
    done = subprocess.run([sys.executable, "-c", STOP_EARLY, *paths], timeout=60, check=False,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_stopping_early_frees_the_decoder():
    """FFmpeg's threads end with the iteration: they are none of Python's, so count the OS's."""

    def threads():
        gc.collect()
        return len(os.listdir("/proc/self/task"))

    if not os.path.isdir("/proc/self/task"):
        pytest.skip("no /proc here")
    before = threads()
    runs = [iter(patchgate.open_video(clips.clip("h264.mp4"), chunk=1, threads=4))
            for _ in range(5)]  # fmt: skip
    for run in runs:
        next(run)
    assert threads() >= before + 5
    del runs, run
    assert threads() == before


def test_decoding_beside_other_threads(want):
    failures = []

    def work():
        try:
            same(patchgate.open_video(clips.clip(NAME), chunk=3, threads=2), want)
        except AssertionError as error:
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not failures
    assert not any(worker.is_alive() for worker in workers)


@pytest.mark.parametrize(("option", "value"), [("fps", "2"), ("start", "1"), ("end", True)])
def test_times_that_are_no_numbers_are_refused(option: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{option}: expected a number, got"):
        patchgate.open_video(clips.clip("late.mp4"), **{option: value})
