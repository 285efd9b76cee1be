"""What a corpus costs beside its videos: python benchmarks/corpus.py [--clips 40] [--rounds 3]

40 clips, for which decoding is most of the work, by a plain loop of ``tokenize`` and ``save``, by a
job in one process, by pools of one and two workers and, where it is installed, by Ray Data. The
ways take turns. Times of pools count from the first result on, without the start of the processes,
which is told beside them; workers decode in one thread, as does the loop.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import harness
import torch

import patchgate
from patchgate import corpus

SIZE = 56  # pixels: a small grid, so that decoding is most of the work


def copied(folder: Path, count: int) -> Path:
    """So many copies of one of the clips that ship with the project."""
    folder.mkdir()
    clip = min(harness.clips(harness.SHIPPED), key=lambda path: path.stat().st_size)
    for n in range(count):
        shutil.copy(clip, folder / f"c{n:03}{clip.suffix}")
    return folder


def plain(folder: Path, out: Path) -> dict[str, float]:
    begin = time.perf_counter()
    out.mkdir()
    for path in sorted(folder.iterdir()):
        tokens = patchgate.tokenize(path, size=SIZE, threads=1)
        tokens.save(out / f"{path.stem}.safetensors")
    return {"seconds": time.perf_counter() - begin, "start": 0.0}


def job(**options: Any) -> Callable[[Path, Path], dict[str, float]]:
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


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--clips", type=int, default=40)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--out", type=Path, default=harness.RESULTS / "corpus.json")
    given = words.parse_args()
    torch.set_num_threads(1)
    ways = {"loop": plain, "here": job(workers=0), "pool of 1": job(workers=1),
            "pool of 2": job(workers=2)}  # fmt: skip
    if find_spec("ray"):
        ways["Ray, 2 workers"] = job(workers=2, engine="ray")
    took: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        folder = copied(Path(scratch) / "in", given.clips)
        for _ in range(given.rounds):
            for name, way in ways.items():
                out = Path(scratch) / "out"
                took[name].append(way(folder, out))
                shutil.rmtree(out)
    middle = {name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
              for name, runs in took.items()}  # fmt: skip
    facts = {
        "clips": given.clips,
        "ways": middle,
        "overhead of the job": middle["here"]["seconds"] / middle["loop"]["seconds"] - 1,
        "two workers over one": middle["pool of 1"]["seconds"] / middle["pool of 2"]["seconds"],
        "aims": {"overhead of the job": "<= 0.10", "two workers over one": ">= 1.7"},
    }
    print(json.dumps(facts, indent=1))
    harness.write(given.out, facts)


if __name__ == "__main__":
    main()
