"""The pool of processes: what a killed worker, a killed job and Ctrl-C leave, and what goes on."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpus_cases
import pytest
from corpus_cases import GRID, SOUND, contents, rows

from patchgate import corpus
from patchgate.corpus.engines import pool
from patchgate.corpus.engines.pool import Pool, WorkerFailed
from patchgate.corpus.journal import Task

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")

# A worker without torch, which begins at once. The names of its tasks say what befalls it.
STAND_IN = """
import json, os, signal, sys, time
folder = json.loads(sys.stdin.readline())["folder"]
if folder == "nowhere":
    print(json.dumps({"error": "no such tower"}), flush=True)
    sys.exit()
if folder == "dies":
    print("a library is missing", file=sys.stderr)
    sys.exit(3)
print(json.dumps({"ready": os.getpid()}), flush=True)
for line in sys.stdin:
    task = json.loads(line)
    name = task["path"]
    if name == "kills" or name == "kills once" and not task["replace"]:
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "exits":
        print("a fault of a codec", file=sys.stderr)
        sys.exit(3)
    if name == "sleeps":
        time.sleep(60)
    if name.startswith("long") and "join" not in task and not task.get("is_span"):
        print(json.dumps({"status": "split", "cuts": [[None, 1], [1, 2], [2, None]]}), flush=True)
        continue
    if name == "long and broken" and task.get("start") == 1:
        print(json.dumps({"status": "failed", "error": "broken"}), flush=True)
        continue
    told = {"status": "ok", "pid": os.getpid(), "warnings": None, "took_seconds": 1, **task}
    print(json.dumps(told), flush=True)
"""


def task(number: int, name: str) -> Task:
    return Task(number, name, name, None, None, f"{name}.s", False, "new", 1, 1, None)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "BOOT", STAND_IN)


def done(workers: int, names: list[str], folder: str = "here") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with Pool(workers, {"folder": folder}) as own:
        for each, result in own.results([task(n, name) for n, name in enumerate(names)]):
            assert each.path not in found
            found[each.path] = result
    return found


@pytest.mark.usefixtures("stand_in")
def test_every_task_is_done_once_by_so_many_processes() -> None:
    names = [f"v{n}" for n in range(20)]
    found = done(3, names)
    assert set(found) == set(names)
    assert 1 <= len({result["pid"] for result in found.values()}) <= 3
    assert set(done(4, ["alone"])) == {"alone"}
    assert done(2, []) == {}


@pytest.mark.usefixtures("stand_in")
def test_a_killed_process_costs_its_video_one_more_try() -> None:
    found = done(2, ["a", "kills once", "b", "kills", "c", "exits", "d"])
    assert [name for name in found if found[name]["status"] == "failed"] == ["kills", "exits"]
    assert found["kills once"]["status"] == "ok"
    assert "ended by SIGKILL, perhaps for want of memory, 2 times" in found["kills"]["error"]
    assert "with exit code 3: a fault of a codec, 2 times" in found["exits"]["error"]
    assert len(found) == 7


@pytest.mark.usefixtures("stand_in")
def test_a_worker_that_cannot_begin_ends_the_job() -> None:
    with pytest.raises(WorkerFailed, match=r"^no such tower$"):
        done(2, ["a", "b"], "nowhere")
    with pytest.raises(WorkerFailed, match=r"could not begin: .*exit code 3: a library is missing"):
        done(2, ["a", "b"], "dies")


@pytest.mark.usefixtures("stand_in")
def test_spans_of_a_long_video_go_to_all_workers_and_are_joined() -> None:
    found = done(3, ["long", "a", "long and broken", "b"])
    assert set(found) == {"long", "a", "long and broken", "b"}
    assert found["long"]["join"] == [f".spans-0/{n}.safetensors" for n in range(3)]
    assert found["long"]["took_seconds"] == 3
    assert found["long"]["file"] == "long.s"
    assert found["long and broken"]["error"] == "broken"
    assert len(done(3, ["long"])) == 1, "a worker that is free takes a span"


@pytest.mark.usefixtures("stand_in")
def test_an_end_that_is_asked_for_waits_for_nobody() -> None:
    begin, found = time.monotonic(), []
    with Pool(2, {"folder": "here"}, lambda: bool(found)) as own:
        for each, _ in own.results([task(0, "sleeps"), task(1, "a"), task(2, "sleeps")]):
            found.append(each.path)
        pids = [process.process.pid for process in own._processes]
        assert len(pids) == 2
    assert found == ["a"]
    assert time.monotonic() - begin < 30
    assert not any(map(alive, pids))


# --- the real ones ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_cases.make(tmp_path_factory.mktemp("videos"))


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(true: Callable[[], bool], process: "subprocess.Popen[str] | None" = None) -> None:
    deadline = time.monotonic() + 240
    while not true():
        assert process is None or process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun(videos: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    """A job in a process of its own, which has finished three videos."""
    words = [sys.executable, "-m", "patchgate.cli", "corpus", *corpus_cases.inputs(videos), "-o",
             str(out), "--size", ",".join(map(str, GRID)), *more]  # fmt: skip
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(lambda: len(list(out.rglob("*.safetensors"))) >= 3, process)
    return process


def finished(videos: Path, out: Path) -> None:
    """Runs the job again, and looks at all of it."""
    last = corpus.run(corpus_cases.inputs(videos), out, size=GRID, workers=0)
    assert last.plan.done >= 2, "what was finished before is not done again"
    assert last.plan.done + last.done == SOUND
    found = rows(out)
    assert len(found) == SOUND + 3
    assert sum(row["status"] == "ok" for row in found.values()) == SOUND
    assert len(contents(out)) == SOUND
    assert not list(out.rglob(".*"))


def test_two_workers_write_what_a_plain_loop_writes(videos: Path, tmp_path: Path) -> None:
    """Although one of them is killed in the middle."""
    plain, pooled, killed = tmp_path / "plain", tmp_path / "pooled", []

    def kill(progress: corpus.Progress) -> None:
        if not killed and progress.done == 2:
            killed.append(children(os.getpid())[0])
            os.kill(killed[0], signal.SIGKILL)

    inputs = corpus_cases.inputs(videos)
    one = corpus.run(inputs, plain, size=GRID, workers=0)
    two = corpus.run(inputs, pooled, size=GRID, workers=2, on_progress=kill)
    assert killed
    assert rows(plain) == rows(pooled)
    assert contents(plain) == contents(pooled)
    assert (one.done, one.tokens, one.failures) == (two.done, two.tokens, two.failures)
    assert not list(pooled.rglob(".*"))


def test_a_killed_job_goes_on_where_it_was(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = begun(videos, out, "--workers", "1")
    workers = children(process.pid)
    assert workers
    process.kill()
    process.communicate()
    until(lambda: not any(map(alive, workers)))  # they do not work on for nobody
    finished(videos, out)


def test_ctrl_c_loses_only_what_is_in_hand(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = begun(videos, out, "--workers", "1")
    workers = children(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "videos are left: the same command goes on" in said
    assert not any(map(alive, workers))
    assert not list(out.rglob(".*"))
    assert len(rows(out)) >= 3
    finished(videos, out)
