"""What several tests of decode share."""

from __future__ import annotations

import contextlib
import functools
import os
import threading

import clips
import numpy as np
import pytest

import patchgate

VIDEOS = ["h264.mp4", "late.mp4", "late.mkv", "late.ts", "hevc.mp4", "hevc.ts", "vp9.webm",
          "av1.mkv", "mpeg4.avi", "mpeg4-b.mp4", "mpeg2.ts", "vfr.mp4", "vfr.mkv"]  # fmt: skip


def joined(batches):
    """All batches as one: planes [T, H, W], pts [T], durations [T], as numpy."""
    batches = list(batches)
    planes = [np.concatenate([b.planes[i].numpy() for b in batches]) for i in range(3)]
    pts = np.concatenate([b.pts_seconds.numpy() for b in batches])
    return planes, pts, np.concatenate([b.duration_seconds.numpy() for b in batches])


TURNS = {
    (90, False, False): lambda x: np.rot90(x, 1),
    (-90, False, False): lambda x: np.rot90(x, 3),
    (180, False, False): lambda x: np.rot90(x, 2),
    (0, True, False): lambda x: x[:, ::-1],
    (0, False, True): lambda x: x[::-1],
    (90, True, False): lambda x: np.rot90(x, 1)[:, ::-1],  # "mirror after it", says PyAV
    (0, False, False): lambda x: x,
}


@functools.cache
def whole(name):
    return joined(patchgate.open_video(clips.clip(name), threads=1))


FRAMES = 200


@pytest.fixture(scope="module")
def camera():
    """A transport stream of eight seconds: enough for FFmpeg to be content with a part of it."""
    path = clips.write(clips.folder() / "long.ts", frames=FRAMES, codec="mpeg2video",
                       tick=clips._25, options={"g": "12", "b": "1000k"})  # fmt: skip
    return path.read_bytes()


@contextlib.contextmanager
def fifo(folder, data, *, stall):
    """A FIFO into which ``data`` is written, and, if ``stall``, left open."""
    path = folder / "fifo"
    if not path.exists():
        os.mkfifo(path)
    over = threading.Event()

    def write():
        with contextlib.suppress(OSError), open(path, "wb", buffering=0) as out:
            out.write(data)
            if stall:
                over.wait(60)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield path
    finally:
        over.set()
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # should the writer still wait for us
        writer.join(10)
