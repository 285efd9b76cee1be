"""Servers that play clips as cameras do, and clips for them.

``camera(*scripts)`` gives a port. Each client that connects gets the next script, the last of them
again and again. A script is called with a ``Line``, on which it sends what it likes.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterator

import clips
import numpy as np

import patchgate
from patchgate import FrameBatch, VideoTokens
from patchgate.live.backoff import Backoff

SOON = Backoff(first=0.01, most=0.01, jitter=0.0)
PATIENCE = 20.0  # seconds after which a test gives up: this machine does other things, too


@functools.cache
def ts(frames: int = 12, size: tuple[int, int] = (64, 48), begin: float = 0.0, gop: int = 4,
       codec: str = "libx264") -> bytes:  # fmt: skip
    """A lossless MPEG transport stream; its first picture is shown at about ``begin`` seconds."""
    path = clips.folder() / f"live-{frames}-{size[0]}-{begin:g}-{gop}-{codec}.ts"
    pts = [round(begin / float(clips.TICK)) + clips.STEP * i for i in range(frames)]
    options = {**clips.LOSSLESS, "g": str(gop)} if codec == "libx264" else {"g": str(gop)}
    tick = clips.TICK if codec == "libx264" else clips._25
    if codec != "libx264":
        pts = list(range(frames))
    return clips.write(path, frames=frames, size=size, codec=codec, pts=pts, tick=tick,
                       options=options).read_bytes()  # fmt: skip


class Line:
    """The connection to one client."""

    def __init__(self, connection: socket.socket, over: threading.Event) -> None:
        self._connection, self._over = connection, over

    def send(self, data: bytes) -> None:
        self._connection.sendall(data)

    def hold(self) -> None:
        """Says nothing more, and does not end, until the test is over."""
        self._over.wait(60)


Script = Callable[[Line], None]


@contextlib.contextmanager
def camera(*scripts: Script) -> Iterator[tuple[int, list[float]]]:
    """Gives the port, and a list of the times at which clients connected."""
    over, came = threading.Event(), []
    left = list(scripts)

    def serve(connection: socket.socket, script: Script) -> None:
        with contextlib.suppress(OSError), connection:
            script(Line(connection, over))

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                came.append(time.monotonic())
                script = left.pop(0) if len(left) > 1 else left[0]
                threading.Thread(target=serve, args=(connection, script), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server.getsockname()[1], came
        finally:
            over.set()
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)


def plays(*parts: bytes, ends: bool = False) -> Script:
    """Sends these bytes, and then ends the connection or (usually) stays silent."""

    def script(line: Line) -> None:
        for part in parts:
            line.send(part)
        if not ends:
            line.hold()

    return script


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits until something holds; fails if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.005)


def taken(live, count: int) -> list[FrameBatch]:
    """The next so many batches."""
    return [next(live) for _ in range(count)]


def planes_of(batches) -> list[np.ndarray]:
    """Y, Cb and Cr of all frames."""
    return [np.concatenate([batch.planes[i].numpy() for batch in batches]) for i in range(3)]


def seconds_of(batches) -> list[float]:
    return [float(second) for batch in batches for second in batch.pts_seconds]


def tokens_of(batches, tower=None, **rules) -> VideoTokens:
    """What a tokenizer that is given these batches, one after the other, has in the end."""
    tokenizer = patchgate.Tokenizer(tower, **rules)
    return tokenizer.joined([tokenizer.push(batch) for batch in batches])


def assert_same_tokens(got: VideoTokens, want: VideoTokens) -> None:
    """All but durations: a live frame's is known only when the next one has come."""
    other = want.tensors()
    for name, tensor in got.tensors().items():
        if name != "duration_seconds":
            assert tensor.equal(other[name]), name
