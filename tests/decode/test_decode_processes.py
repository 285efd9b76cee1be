"""Videos and other processes: forks, pickles, the log level of PyAV, and Python's end."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import warnings

import clips
import pytest
import torch

import patchgate

FRAMES = 40


def in_child(job, seconds=60):
    """What ``job`` gives in a forked process: a text."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's, of threads beside a fork
        child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            try:
                said = str(job())
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode())
        finally:
            os._exit(0)
    os.close(writer)
    timer = threading.Timer(seconds, os.kill, (child, 9))
    timer.start()
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    timer.cancel()
    os.waitpid(child, 0)
    return said


def count(video):
    return sum(map(len, video))


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("make", [lambda path: path, lambda path: path.read_bytes()])
def test_a_forked_process_opens_it_anew(make, threads):
    video = patchgate.open_video(make(clips.clip("h264.mp4")), threads=threads, chunk=3)
    half = iter(video)
    next(half)
    assert in_child(lambda: (count(video), video.problems.damage())) == f"({FRAMES}, [])"
    assert in_child(lambda: count(video)) == str(FRAMES)
    assert "RuntimeError: this iteration began before the process was forked" in in_child(
        lambda: next(half)
    )
    assert count(half) == FRAMES - 3  # nothing of the parent's was touched
    assert count(video) == FRAMES


def test_what_was_opened_and_not_read_is_dropped_in_a_fork():
    video = patchgate.open_video(clips.clip("h264.mp4"), threads=4)

    def drop():
        nonlocal video
        video.close()
        del video
        return "dropped"

    assert in_child(drop) == "dropped"
    assert count(video) == FRAMES


def test_a_file_object_is_not_shared_with_a_fork():
    with open(clips.clip("h264.mp4"), "rb") as file:
        video = patchgate.open_video(file)
        said = in_child(lambda: count(video))
        assert said.startswith("RuntimeError: ")
        assert "opened before this process was forked" in said
        assert "open it in this one" in said
        assert count(video) == FRAMES


def test_a_fork_ends_in_order():
    """By Python's own ending, which frees everything that it can."""
    program = """
import os, sys, patchgate
video = patchgate.open_video(sys.argv[1], threads=4, chunk=2)
half = iter(video); next(half)
child = os.fork()
if child == 0:
    print(sum(map(len, video)), flush=True)
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), sum(map(len, half)))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program, clips.clip("h264.mp4")],
                          timeout=60, capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"{FRAMES}\n3 {FRAMES - 2}\n"), done.stderr


class Opened(torch.utils.data.Dataset):
    """Opens its video too early."""

    def __init__(self, path, threads):
        self.video = patchgate.open_video(path, threads=threads)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return count(self.video), self.video.problems.damage()


@pytest.mark.parametrize("threads", [1, None])
def test_workers_of_a_data_loader(threads):
    loader = torch.utils.data.DataLoader(
        Opened(clips.clip("late.mkv"), threads), num_workers=2, batch_size=None, timeout=60,
        multiprocessing_context=multiprocessing.get_context("fork"))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [item[0] for item in loader] == [FRAMES] * 4


@pytest.mark.parametrize("job", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_says_what_to_do(job):
    video = patchgate.open_video(clips.clip("late.mkv"))
    with pytest.raises(TypeError, match=r"cannot be pickled; send the path .* open_video in the"):
        job(video)


STOPPING = """
import sys, warnings, av, patchgate
warnings.simplefilter("ignore")
av.logging.set_level(None if sys.argv[1] == "None" else getattr(av.logging, sys.argv[1]))
for path in sys.argv[2:]:
    for _ in range(25):
        for batch in patchgate.open_video(path, chunk=1, threads=4):
            break                                       # left early
        patchgate.open_video(path)                      # opened, and not read
        for batch in patchgate.open_video(path, chunk=1, threads=4, start=1.0):
            break                                       # after a seek
left = iter(patchgate.open_video(path, chunk=1, threads=4))
next(left)                                              # to Python's end
print("done")
"""


@pytest.mark.parametrize("level", ["None", "PANIC", "ERROR", "DEBUG"])
def test_stopping_early_never_hangs_whatever_is_logged(tmp_path, level):
    """Decoders' threads write logs, for which they want Python's lock."""
    paths = [clips.clip("h264.mp4"), clips.damaged(clips.clip("h264.mp4"), tmp_path / "bad.mp4"),
             clips.clip("av1.mkv")]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", STOPPING, level, *map(str, paths)], timeout=120,
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]
