"""How soon ``watch`` is back after a failure, and how soon all ends; for ``benchmarks/live.py``."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import cameras

import patchgate
from patchgate import Backoff

SOON = Backoff(first=0.05, most=0.05, jitter=0.0)


def reconnection(times: int) -> list[float]:
    """Seconds from the first byte after a failure, of a whole key picture, to its first token."""
    data, found = cameras.stream(), []
    for _ in range(times):
        sent: list[float] = []

        def back(line: cameras.Connection, sent: list[float] = sent) -> None:
            sent.append(time.monotonic())
            line.send(data)
            line.hold()

        with cameras.server(cameras.plays(data, ends=True), back) as address:
            opening: Any = {"policy": "all", "reconnect": SOON}
            with patchgate.watch({"a": address}, size=28, opening=opening) as watch:
                for seen in watch:
                    if seen.frames.gap:
                        found.append(seen.ready - sent[0])
                        break
    return found


def stall(times: int, limit: float = 0.5) -> list[float]:
    """Seconds from the last picture until "stalled" is told, beyond the time that is allowed."""
    data, found = cameras.stream(), []
    for _ in range(times):
        told: list[float] = []
        with cameras.server(cameras.plays(data)) as address:
            opening: Any = {"policy": "all", "read_timeout": limit, "reconnect": SOON}

            def hear(name: str, event: Any, told: list[float] = told) -> None:
                if event.what == "stalled":
                    told.append(time.monotonic())

            with patchgate.watch({"a": address}, size=28, opening=opening, on_event=hear) as watch:
                last = time.monotonic()
                while not told:
                    for seen in watch.work(0.05):
                        assert seen.frames.arrived is not None
                        last = float(seen.frames.arrived[-1])
            found.append(told[0] - last - limit)
    return found


def closing() -> dict[str, float]:
    """The seconds that ``close()`` takes, by state."""
    data, found = cameras.stream(), {}
    hangs = threading.Event()

    def stuck() -> Iterator[Any]:
        hangs.wait(600)
        yield None

    def timed(name: str, live: Any, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not ready() and time.monotonic() < end:
            time.sleep(0.01)
        begin = time.perf_counter()
        live.close()
        found[name] = time.perf_counter() - begin

    slow = Backoff(first=60, most=60, jitter=0.0)
    with (
        cameras.server(cameras.silent) as nobody,
        cameras.server(cameras.plays(data)) as plays,
        cameras.server(cameras.plays(data, ends=True)) as ends,
    ):
        open_live = patchgate.open_live
        begin = time.monotonic()
        timed("opening", open_live(nobody), lambda: time.monotonic() > begin + 0.3)
        live = open_live(plays)
        timed("waiting for a frame", live, lambda: live.stats.decoded > 40)
        full = open_live(plays, policy="all", room=2)
        timed("full", full, lambda: full.stats.decoded > 2)
        again = open_live(ends, reconnect=slow)
        timed("between attempts", again, lambda: again.stats.state == "waiting")
        begin = time.monotonic()
        timed("an iterable that hangs", open_live(stuck()), lambda: time.monotonic() > begin + 0.3)
        kinds = (nobody, plays, ends, cameras.closed_port())
        watch = patchgate.watch({str(n): kinds[n % 4] for n in range(32)}, size=28)
        begin = time.monotonic()
        timed("32 cameras of all kinds", watch, lambda: time.monotonic() > begin + 1)
        hangs.set()
    return found
