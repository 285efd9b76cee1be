"""Ten thousand videos: how soon a job begins that finds them done, and in how much memory."""

import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from patchgate import corpus
from patchgate.corpus.inputs import LeftOut, entries
from patchgate.corpus.job import Job
from patchgate.corpus.settings import Settings
from patchgate.corpus.store import Store

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that waits for no disk: these tests need not outlive a loss of power."""

    def begin(self: Store, durable: bool = True) -> None:
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("BEGIN")

    monkeypatch.setattr(Store, "begin", begin)


RESULT = {
    "status": "ok", "seconds": 1.0, "tokens": 6, "frames": 25, "cells_high": 2, "cells_wide": 3,
    "bytes": 0, "sha256": "0" * 64, "kept_share": 0.04, "features": 588, "dtype": "uint8",
    "version": "0", "took_seconds": 0.1,
}  # fmt: skip


class AtOnce:
    """An engine that writes an empty file for every video."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def results(self, tasks: Any) -> Any:
        for task in tasks:
            path = self._out / task.file
            path.parent.mkdir(exist_ok=True)
            path.touch()
            yield task, RESULT


def made(folder: Path, videos: int) -> Path:
    for n in range(videos):
        path = folder / f"{n % 100:02}" / f"a video of the corpus {n:05}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def job(folder: Path, out: Path) -> Job:
    return Job(out, entries([str(folder)], LeftOut()), Settings())


def worked(folder: Path, out: Path) -> int:
    """Does all of it; returns the most memory of Python's objects, in bytes."""
    tracemalloc.start()
    with job(folder, out) as own:
        own.work(AtOnce(out))
        assert own.progress.left == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.slow
def test_ten_thousand_done_videos_are_found_done_in_five_seconds(tmp_path: Path) -> None:
    folder, out = made(tmp_path / "in", 10_000), tmp_path / "out"
    with job(folder, out) as own:
        own.work(AtOnce(out))
    begin = time.process_time()  # of this process alone: the machine may have more to do
    with job(folder, out) as again:
        done = again.work(AtOnce(out))
    took = time.process_time() - begin
    assert (done.plan.done, done.plan.reasons) == (10_000, {})
    assert took < 5, took
    print(f"{took:.2f} s")
    assert len(corpus.open(out)) == 10_000


@pytest.mark.slow
def test_memory_does_not_grow_with_the_videos(tmp_path: Path) -> None:
    """Two pieces of the index, of a thousand rows, are held at once, in both cases."""
    worked(made(tmp_path / "first", 1500), tmp_path / "out-first")  # imports take memory, too
    few = worked(made(tmp_path / "few", 2000), tmp_path / "out-few")
    many = worked(made(tmp_path / "many", 4000), tmp_path / "out-many")
    print(f"{few / 1e6:.1f} MB, {many / 1e6:.1f} MB")
    assert many < few + 1e6
