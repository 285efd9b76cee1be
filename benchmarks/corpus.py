"""What a corpus costs beside its videos: python benchmarks/corpus.py [--clips 40] [--rounds 3]

40 clips, for which decoding is most of the work, by a plain loop of ``tokenize`` and ``save``, by a
job in one process, by pools of one and two workers and, where it is installed, by Ray Data; the
ways take turns. Times of pools count from the first result on, without the start of the processes,
which is told beside them; workers decode in one thread, as does the loop. Then a long video beside
the clips, cut into spans; and how soon a job over 10,000 videos sees that all are done.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import harness
import table
import torch

import patchgate
from patchgate import corpus
from patchgate.corpus.engines.units import Result
from patchgate.corpus.inputs import LeftOut, entries
from patchgate.corpus.job import Job
from patchgate.corpus.journal import Task
from patchgate.corpus.settings import Settings

SIZE = 56  # pixels: a small grid, so that decoding is most of the work


def smallest() -> Path:
    """The smallest of the clips that ship with the project."""
    return min(harness.clips(harness.SHIPPED), key=lambda path: path.stat().st_size)


def copied(folder: Path, count: int) -> Path:
    """So many copies of the smallest clip."""
    folder.mkdir()
    for n in range(count):
        shutil.copy(smallest(), folder / f"c{n:03}{smallest().suffix}")
    return folder


def repeated(path: Path, times: int) -> Path:
    """The smallest clip so often, one after the other; every repetition has its key frames."""
    with av.open(str(smallest())) as source, av.open(str(path), "w") as out:
        given = source.streams.video[0]
        stream = out.add_stream_from_template(given)
        packets = [packet for packet in source.demux(given) if packet.size]
        shown = sorted(packet.pts for packet in packets)
        length = shown[-1] - shown[0] + packets[-1].duration
        # Matroska has no decoding times: those here are even, and none is later than its picture.
        late = max(at - packet.pts for at, packet in zip(shown, packets, strict=True))
        stamps = [(packet.pts, at - late) for at, packet in zip(shown, packets, strict=True)]
        for turn in range(times):
            for packet, (pts, dts) in zip(packets, stamps, strict=True):
                packet.stream = stream
                packet.time_base = given.time_base
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                out.mux(packet)
    return path


def plain(folder: Path, out: Path) -> dict[str, float]:
    """A loop as anybody writes it."""
    begin = time.perf_counter()
    out.mkdir()
    for path in sorted(folder.iterdir()):
        tokens = patchgate.tokenize(path, size=SIZE, threads=1)
        tokens.save(out / f"{path.stem}.safetensors")
    return {"seconds": time.perf_counter() - begin, "start": 0.0}


def job(**options: Any) -> Callable[[Path, Path], dict[str, float]]:
    """A job of ``corpus.run``: its seconds, and those until the first video is begun."""

    def run(folder: Path, out: Path) -> dict[str, float]:
        times: list[float] = []
        begin = time.perf_counter()
        note = lambda progress: times.append(time.perf_counter())  # noqa: E731
        done = corpus.run(folder, out, size=SIZE, on_progress=note, **options)
        count = len(times)
        assert done.failures == 0
        # n - w videos come after the first w, of which each worker finishes one.
        first = max(1, options["workers"])
        seconds = (times[-1] - times[first - 1]) * count / (count - first)
        return {"seconds": seconds, "start": times[0] - begin - seconds * first / count}

    return run


def idle(folder: Path, out: Path, workers: int = 2) -> float:
    """The share of the workers' time in which they had nothing to do, once they are started."""
    first: list[float] = []
    done = corpus.run(folder, out, size=SIZE, workers=workers, span_frames=1000,
                      on_progress=lambda progress: first.append(time.perf_counter()))  # fmt: skip
    until = time.perf_counter()
    assert done.failures == 0
    took = [video.row["took_seconds"] for video in corpus.open(out)]
    until -= first[0] - statistics.median(took)  # when the first video was begun
    return 1 - sum(took) / (workers * until)


class Done:
    """An engine that does nothing: every video is an empty file."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def results(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        given = {"status": "ok", "seconds": 1.0, "tokens": 6, "frames": 25, "cells_high": 2,
                 "cells_wide": 3, "bytes": 0, "sha256": "0" * 64, "kept_share": 0.04,
                 "features": 588, "dtype": "uint8", "version": "0",
                 "took_seconds": 0.1}  # fmt: skip
        for task in tasks:
            (self._out / task.file).touch()
            yield task, given


def resumed(folder: Path, out: Path, videos: int) -> float:
    """Seconds until a job sees that all its videos are done."""
    folder.mkdir()
    for n in range(videos):
        (folder / f"{n:05}.mp4").touch()

    def work() -> float:
        begin = time.perf_counter()
        with Job(out, entries([str(folder)], LeftOut()), Settings()) as own:
            own.work(Done(out))
        return time.perf_counter() - begin

    work()
    return work()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--clips", type=int, default=40)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--repeat", type=int, default=200, help="the long video, in clips")
    words.add_argument("--videos", type=int, default=10_000, help="that are done already")
    words.add_argument("--out", type=Path, default=harness.RESULTS / "corpus.json")
    given = words.parse_args()
    torch.set_num_threads(1)
    ways = {"loop": plain, "one process": job(workers=0), "pool of 1": job(workers=1),
            "pool of 2": job(workers=2)}  # fmt: skip
    if find_spec("ray"):
        ways["Ray, 2 workers"] = job(workers=2, engine="ray")
    took: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        folder, out = copied(Path(scratch) / "in", given.clips), Path(scratch) / "out"
        for _ in range(given.rounds):
            for name, way in ways.items():
                took[name].append(way(folder, out))
                shutil.rmtree(out)
        repeated(folder / f"long{smallest().suffix}", given.repeat)
        waited = idle(folder, out)
        resume = resumed(Path(scratch) / "many", Path(scratch) / "out-many", given.videos)
    middle = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
              for name, runs in took.items()}  # fmt: skip
    rows = [{"what": f"{given.clips} clips, {name}: seconds", "value": round(way["seconds"], 2),
             "target": ""} for name, way in middle.items()]  # fmt: skip
    rows += [{"what": f"{name}: seconds until the first clip is begun",
              "value": round(way["start"], 2), "target": ""}
             for name, way in middle.items() if way["start"]]  # fmt: skip

    def over(name: str, other: str) -> float:
        return round(middle[name]["seconds"] / middle[other]["seconds"], 3)

    rows += [
        {"what": "a job in one process over the loop", "value": over("one process", "loop"),
         "target": "<= 1.10"},
        {"what": "one worker over two", "value": over("pool of 1", "pool of 2"),
         "target": ">= 1.7"},
        {"what": f"a video of {given.repeat} clips beside {given.clips}: share of two workers' "
         "time without work", "value": round(waited, 3), "target": "<= 0.15"},
        {"what": f"seconds until {given.videos} videos are found done", "value": round(resume, 2),
         "target": "< 5"},
    ]  # fmt: skip
    if "Ray, 2 workers" in middle:
        rows.append({"what": "Ray over the pool, 2 workers each",
                     "value": over("Ray, 2 workers", "pool of 2"), "target": ""})  # fmt: skip
    table.show(rows)
    harness.write(given.out, rows)


if __name__ == "__main__":
    main()
