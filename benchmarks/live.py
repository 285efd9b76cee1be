"""How many live cameras, how late, how soon after a failure: python benchmarks/live.py [--quick]

1, 8 and 32 still cameras in one process, RLT packed beside them in the same run; a tower slower
than its camera; a reconnection, a stall, and ``close()`` in every state. Writes results/live.md and
results/live.json. Ways take turns, so that a slow moment hits all alike.
"""

import argparse
import contextlib
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cameras
import harness
import numpy as np
import table
import torch
from live_failures import closing, reconnection, stall
from proof.speed import Rlt
from proof.towers import Sized

import patchgate
from patchgate.pipeline.tubelets import joined

COUNTS = (1, 8, 32)
WARM = 4  # frames of each camera that are not counted


class Served(NamedTuple):
    """One run with some cameras."""

    rate: float  # frames/s of all together
    p99: list[float]  # of each camera, ms from the arrival of a frame to its tokens
    kept: int  # tokens


def told(text: str) -> None:
    """Says how far it has come."""
    print(text, file=sys.stderr, flush=True)


# --- many cameras


def watched(tower: Any, count: int, frames: int) -> Served:
    """Ours: through ``watch``, threads of the sources included."""
    over = threading.Event()
    sources = {str(n): cameras.shown(cameras.still(n), over) for n in range(count)}
    delays: dict[str, list[float]] = {name: [] for name in sources}
    kept, begin, end = 0, 0.0, 0.0
    opening: Any = {"policy": "all", "room": 2}
    with patchgate.watch(sources, tower, opening=opening) as watch:
        for number, seen in enumerate(watch):
            end = seen.ready
            if number == count * WARM - 1:
                begin = end
            if number >= count * WARM:
                delays[seen.camera].append(1e3 * seen.delay)
                kept += len(seen.chunk.frame)
            if number + 1 == count * (WARM + frames):
                break
        over.set()
    p99 = [float(np.quantile(each, 0.99)) for each in delays.values()]
    return Served(count * frames / (end - begin), p99, kept)


def packed(tower: Sized, count: int, frames: int) -> Served:
    """RLT, whose kept patches of all cameras are in one call. Its frames wait in memory."""
    rlt, films = Rlt(tower, count), [cameras.still(n) for n in range(count)]
    spent = []
    for tick in range(WARM + frames):
        arrived = [cameras.at(film, tick) for film in films]
        if not tick:  # its mask begins with a pair
            arrived = [joined(each, each) for each in arrived]
        begin = time.perf_counter()
        with torch.inference_mode():
            rlt(arrived)
        spent.append(time.perf_counter() - begin)
    return Served(count * frames / sum(spent[WARM:]), [], 0)


def sourced(tower: Sized, count: int, frames: int) -> Served:
    """RLT, packed, whose frames come from live sources as ours do, a thread for each."""
    rlt, over = Rlt(tower, count), threading.Event()
    begin = 0.0
    with contextlib.ExitStack() as stack:
        sources = [stack.enter_context(patchgate.open_live(
            cameras.shown(cameras.still(n), over), policy="all", room=2)) for n in range(count)
        ]  # fmt: skip
        for tick in range(WARM + frames):
            if tick == WARM:
                begin = time.perf_counter()
            arrived = [next(source) for source in sources]
            if not tick:  # its mask begins with a pair
                arrived = [joined(each, each) for each in arrived]
            with torch.inference_mode():
                rlt(arrived)
        spent = time.perf_counter() - begin
        over.set()
    return Served(count * frames / spent, [], 0)


def many(tower: Sized, counts: tuple[int, ...], rounds: int, most: int) -> Iterator[dict[str, Any]]:
    gated = tower.gated(tolerance=float("inf"))
    found: dict[tuple[str, int], list[Served]] = {}
    for _ in range(rounds + 1):  # the first one warms
        for count in counts:
            frames = max(8, most // count)
            for name, way, own in (
                ("watch", watched, gated),
                ("RLT packed", packed, tower),
                ("RLT packed, live sources", sourced, tower),
            ):
                run = way(own, count, frames)
                found.setdefault((name, count), []).append(run)
                told(f"{name}, {count} cameras: {run.rate:.1f} frames/s")
    for (name, count), runs in found.items():
        rates = [run.rate for run in runs[1:]]
        one = [run.rate for run in found[name, counts[0]][1:]]
        rlt = [run.rate for run in found["RLT packed", count][1:]]
        worst = [max(run.p99) / statistics.mean(run.p99) for run in runs[1:] if run.p99]
        yield {
            "cameras": count,
            "way": name,
            "frames/s": round(statistics.median(rates), 1),
            "of one camera": round(harness.ratio(rates, one), 2),
            "of RLT packed": round(harness.ratio(rates, rlt), 2),
            "p99 ms": round(statistics.median(statistics.mean(run.p99) for run in runs[1:]), 1)
            if worst else "",
            "worst p99 / mean": round(statistics.median(worst), 2) if worst else "",
        }  # fmt: skip


# --- one camera that is faster than the tower


def slow_tower(tower: Sized, seconds: float, every: float) -> dict[str, Any]:
    """``newest``: how much later than one pass each frame's tokens come, in frames.

    Args:
        every: the seconds between two pictures of the camera.
    """
    over, side = threading.Event(), tower.model.config.image_size
    source = cameras.shown(cameras.changing(0, side), over, every)
    beyond, passes, delays = [], [], []
    with patchgate.watch({"a": source}, tower.gated()) as watch:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            for seen in watch.work(1.0):
                passes.append(seen.ready - begin)
                delays.append(seen.delay)
                beyond.append(seen.delay - passes[-1])
        over.set()
        dropped = watch.stats["a"].live.dropped.get("newer", 0)
    quarter = max(1, len(delays) // 4)
    early, late = (statistics.median(part) for part in (delays[:quarter], delays[-quarter:]))
    return {
        "frames": len(delays),
        "dropped": dropped,
        "pass ms": round(1e3 * statistics.median(passes), 1),
        "delay p99 ms": round(1e3 * float(np.quantile(delays, 0.99)), 1),
        "beyond a pass, p99, frames": round(float(np.quantile(beyond, 0.99)) / every, 2),
        "last quarter's delay / first's": round(late / early, 2),
    }


# --- the page


def judged(streams: list[dict[str, Any]], slow: dict[str, Any], again: list[float],
           late: list[float], closed: dict[str, float]) -> list[dict[str, Any]]:  # fmt: skip
    """Each aim, and whether it is met."""
    most = [row for row in streams if row["way"] == "watch"][-1]
    where = f"{most['cameras']} still cameras"
    figures = [
        (f"{where}: frames/s of one camera's", most["of one camera"], ">=", 0.6),
        (f"{where}: frames/s of RLT's, packed", most["of RLT packed"], ">=", 1.0),
        (f"{where}: worst p99 delay of the mean p99", most["worst p99 / mean"], "<=", 1.5),
        ("newest, a slow tower: frames beyond one pass, p99",
         slow["beyond a pass, p99, frames"], "<=", 1.0),
        ("newest: delay in the last quarter of that in the first",
         slow["last quarter's delay / first's"], "<=", 1.5),
        ("reconnection: most seconds from the first key picture to its tokens",
         round(max(again), 3), "<=", 1.0),
        ("stall: most seconds beyond the time that is allowed", round(max(late), 3), "<=", 0.5),
        (f"close: most seconds ({max(closed, key=lambda name: closed[name])})",
         round(max(closed.values()), 3), "<=", 1.0),
    ]  # fmt: skip
    return [{"what": what, "measured": value, "aim": f"{sign} {aim:g}",
             "met": "yes" if (value >= aim if sign == ">=" else value <= aim) else "NO"}
            for what, value, sign, aim in figures]  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--quick", action="store_true", help="a small tower, for a look")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--out", type=Path, default=harness.RESULTS, help="a folder")
    given = words.parse_args()
    torch.set_num_threads(harness.THREADS)
    before = cameras.machine_load()
    quick = given.quick
    tower = Sized("tiny/16-96" if quick else "SigLIP base/16-224")
    rounds, counts = (1, (1, 4)) if quick else (given.rounds, COUNTS)
    streams = list(many(tower, counts, rounds, 40 if quick else 640))
    slow = slow_tower(tower, *((2.0, 0.01) if quick else (30.0, 0.04)))
    told(f"a slow tower: {slow}")
    again, late = reconnection(1 if quick else 10), stall(1 if quick else 5)
    closed = closing()
    aims = judged(streams, slow, again, late, closed)
    loads = {"tower": tower.name, "load before": before, "load after": cameras.machine_load()}
    path = harness.write(given.out / "live.json", aims, **loads)
    text = page(aims, streams, slow, closed, loads)
    path.with_suffix(".md").write_text(text)
    print(text)


def page(aims: list[dict[str, Any]], streams: list[dict[str, Any]], slow: dict[str, Any],
         closed: dict[str, float], loads: dict[str, Any]) -> str:  # fmt: skip
    """The figures as Markdown."""
    states = [{"state": name, "seconds": round(seconds, 3)} for name, seconds in closed.items()]
    parts = [
        "# Live cameras", "", "Made by `python benchmarks/live.py`; the aims: `live.json`.", "",
        table.told(harness.provenance()), "",
        f"{loads['tower']}, random weights. Load of the machine before and after: "
        f"{loads['load before']:.1f} and {loads['load after']:.1f}.", "",
        *table.markdown(aims), "", "## Still cameras in one process", "",
        "480 x 640 pixels, noise of one grey level, pictures in memory, in planes already for all. "
        "Ours go through `watch`, a thread for each source. RLT's are in a list, which a live "
        "system does not have, and all kept patches go in one call; the aim is set against that. "
        "A further row has RLT with the same sources and threads as ours (`open_live`). Each takes "
        "as many frames as it can. A delay begins when the source has a frame, of which two wait.",
        "",
        *table.markdown(streams), "", "## A tower slower than its camera", "",
        "Every cell of every frame is new; the newest frame is taken.", "",
        *table.markdown([slow]), "", "## `close()`", "", *table.markdown(states), "",
    ]  # fmt: skip
    return "\n".join(parts)


if __name__ == "__main__":
    main()
