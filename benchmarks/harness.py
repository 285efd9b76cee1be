"""What all benchmarks share: clips, threads, processes, paired timing, memory, and where a figure
came from.
"""

import datetime
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from commit import ROOT, commit

RESULTS = ROOT / "benchmarks" / "results"
SHIPPED = ROOT / "examples" / "clips"
THREADS = 2

Task, Row = TypeVar("Task"), TypeVar("Row")
Key = TypeVar("Key", bound=Hashable)


def clip_folder() -> Path:
    """The clips to measure on: PATCHGATE_CLIPS, else those that ship with the project."""
    return Path(os.environ.get("PATCHGATE_CLIPS", SHIPPED))


def clips(folder: Path | None = None) -> list[Path]:
    """Every video of a folder (None: ``clip_folder``), by name."""
    kinds, folder = {".mp4", ".mkv", ".avi"}, folder or clip_folder()
    found = sorted(path for path in folder.iterdir() if path.suffix in kinds)
    if not found:
        raise FileNotFoundError(f"no clips (.mp4 .mkv .avi) in {folder}")
    return found


def paired(variants: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, list[float]]:
    """Seconds per call of each variant, measured in turn so that a slow moment hits all alike."""
    for call in variants.values():
        call()  # warm
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> float:
    """Median of the ratios of paired runs."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def spread(
    of: Callable[[Task], list[Any]], tasks: Sequence[Task], processes: int, doing: str
) -> Iterator[Any]:
    """Rows of all tasks, in their order, by processes of one thread each.

    Args:
        of: a function of a module.
        doing: what the progress bar says.
    """
    from rich.progress import track  # not on every machine with a GPU

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,)) as pool:
        waiting = [pool.submit(of, task) for task in tasks]
        try:
            for done in track(waiting, doing):
                yield from done.result()
        finally:
            pool.shutdown(cancel_futures=True)  # of no use once one has failed


def grouped(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Rows by a key, in the order in which keys first appear."""
    found: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        found[key(row)].append(row)
    return dict(found)


def peak(prepare: Callable[..., Callable[[], Any]], *given: Any) -> int:
    """The most bytes that a call takes above what was there before it, in a process of its own.

    Args:
        prepare: a function of a module; of what is given it makes the call there, and warms it.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, torch.set_num_threads, (THREADS,)) as pool:
        return pool.submit(_grown, prepare, given).result()


def _grown(prepare: Callable[..., Callable[[], Any]], given: Sequence[Any]) -> int:
    call = prepare(*given)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is what is there now
    before = memory("VmHWM")
    call()
    return memory("VmHWM") - before


def memory(field: str) -> int:
    """Bytes of this process by Linux' own count: VmRSS now, VmHWM at most so far (getrusage's
    begins with that of the process that started this one).
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def copy_bandwidth(bytes_: int = 1 << 28) -> float:
    """Bytes per second that a copy moves (read and written), the roofline of streaming kernels."""
    source = torch.ones(bytes_, dtype=torch.uint8)
    target = torch.empty_like(source)
    seconds = paired({"copy": lambda: target.copy_(source)})["copy"]
    return 2 * bytes_ / statistics.median(seconds)


def provenance() -> dict[str, Any]:
    """Machine, date, command, commit: what every published figure names."""
    gpu = {"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}
    return gpu | {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "command": " ".join(["python", os.path.relpath(sys.argv[0], ROOT), *_named(sys.argv[1:])]),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _named(words: list[str]) -> list[str]:
    """The words of a command, without the folders of this machine."""
    return [Path(word).name if os.path.isabs(word) else word for word in words]


def save(name: str, rows: Any) -> Path:
    """Writes ``results/<name>.json`` with its provenance."""
    return write(RESULTS / f"{name}.json", rows)


def write(path: Path, rows: Any, **run: Any) -> Path:
    """Writes rows with their provenance; ``run``: what else is to be known of how they came."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"provenance": provenance() | run, "rows": rows}
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def cpu_model() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
