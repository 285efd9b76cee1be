"""Cameras for ``benchmarks/live.py``: still films in memory, and servers on the loopback."""

import contextlib
import io
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import torch

from patchgate import FrameBatch

FPS = 25
_TAKES = 3  # pictures of a still film, which come again and again


def still(seed: int, side: int = 0) -> list[FrameBatch]:
    """A still scene as a camera sees it: pictures that differ by noise of one grey level.

    Args:
        seed: another one is another scene.
        side: pixels; 0: 480 x 640.
    """
    chance = np.random.default_rng(seed)
    height, width = (side, side) if side else (480, 640)
    rough = chance.integers(40, 216, (height // 40 + 1, width // 40 + 1, 3), dtype=np.int16)
    scene = np.kron(rough, np.ones((40, 40, 1), np.int16))[:height, :width]
    noisy = [scene + chance.integers(-1, 2, scene.shape) for _ in range(_TAKES)]
    return [FrameBatch.from_rgb(picture.astype(np.uint8)) for picture in noisy]


def changing(seed: int, side: int) -> list[FrameBatch]:
    """Pictures of which every cell is new."""
    chance = np.random.default_rng(seed)
    return [FrameBatch.from_rgb(chance.integers(0, 256, (side, side, 3), dtype=np.uint8))
            for _ in range(4)]  # fmt: skip


def at(film: list[FrameBatch], number: int) -> FrameBatch:
    """The picture with this number, shown at its time."""
    seconds = torch.tensor([number / FPS], dtype=torch.float64)
    own = film[number % len(film)]
    return FrameBatch(own.planes, seconds, torch.full_like(seconds, torch.nan), own.colour)


def shown(
    film: list[FrameBatch], over: threading.Event, every: float = 0.0
) -> Iterator[FrameBatch]:
    """Plays a film without end: as fast as it is taken, or one picture every so many seconds."""
    begin = time.monotonic()
    for number in itertools.count():
        if over.is_set():
            return
        yield at(film, number)
        if every and over.wait(max(0.0, begin + (number + 1) * every - time.monotonic())):
            return


def stream(frames: int = 50, side: int = 96) -> bytes:
    """An MPEG transport stream of a still scene; its first picture is a whole key picture."""
    out = io.BytesIO()
    with av.open(out, "w", format="mpegts") as container:
        track = container.add_stream("mpeg2video", rate=FPS, options={"g": "12", "bf": "0"})
        track.width = track.height = side
        track.pix_fmt = "yuv420p"
        picture = still(1, side)[0].rgb()[0].permute(1, 2, 0).numpy()  # [H, W, 3]
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(track.encode(frame.reformat(format="yuv420p")))
        container.mux(track.encode(None))
    return out.getvalue()


class Connection(NamedTuple):
    """What a script has to do with a client."""

    send: Callable[[bytes], None]
    hold: Callable[[], None]  # say nothing more, until the measurement is over


Script = Callable[[Connection], None]


@contextlib.contextmanager
def server(*scripts: Script) -> Iterator[str]:
    """Gives the address of a server. Each client gets the next script; the last one serves all
    further clients.
    """
    over, left = threading.Event(), list(scripts)

    def serve(line: socket.socket, script: Script) -> None:
        with contextlib.suppress(OSError), line:
            script(Connection(line.sendall, lambda: over.wait(600)))  # type: ignore[arg-type, return-value]

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = door.accept()
                script = left.pop(0) if len(left) > 1 else left[0]
                threading.Thread(target=serve, args=(line, script), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=64) as door:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield f"tcp://127.0.0.1:{door.getsockname()[1]}"
        finally:
            over.set()
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)


def silent(line: Connection) -> None:
    """Accepts, and says nothing."""
    line.hold()


def plays(data: bytes, ends: bool = False) -> Script:
    """Sends this, and then ends the connection or stays silent."""

    def script(line: Connection) -> None:
        line.send(data)
        if not ends:
            line.hold()

    return script


def closed_port() -> str:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        return f"tcp://127.0.0.1:{door.getsockname()[1]}"


def machine_load() -> float:
    """The load of the machine in the last minute, beside the number of its cores."""
    return float(os.getloadavg()[0])
