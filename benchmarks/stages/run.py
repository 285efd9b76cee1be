"""Runs a stage: its items in a process of their own, which is replaced where it must be ended.

Imports no torch: it must always be able to say what went wrong.
"""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from commit import ROOT, commit

from stages import KERNELS, MODES, STAGES, Stage
from stages.carry import UNPACKING_FAILED, unpacked
from stages.facts import GOOD, REHEARSAL, Facts, read, told
from stages.worker_process import Worker

BEGIN_SECONDS = 60.0  # until a process has imported torch and says what it will do
CLOSE_SECONDS = 0.5  # of a budget, kept for ending processes and writing the last facts
LEAST_SECONDS = 0.5  # nothing begins with less
BUILD_SECONDS = 150.0
NOTHING_CAME = f"nothing came from the process in {BEGIN_SECONDS:g} s"
BUILD = "the library, built here"  # an item's name
LIBRARY = ROOT / "python"
SITE = ROOT / "build" / "gpu-site"  # packages that were carried, unpacked


class Ended(NamedTuple):
    """A process of items has ended, or had to be."""

    at: int  # in which item, or their number
    result: str = ""
    why: str = ""
    died: bool = False


class Run:
    """One stage, from its first item to its last or to the end of its budget."""

    def __init__(
        self, letter: str, folder: Path, seconds: float, rehearsed: bool, stage: Stage | None = None
    ) -> None:
        self._letter, self._stage = letter, stage or STAGES[letter]
        self._folder, self._rehearsed = folder, rehearsed
        self._until = time.monotonic() + max(0.0, seconds - CLOSE_SECONDS)
        self._commit, self._device = commit(), REHEARSAL if rehearsed else "unknown"
        self._items: list[tuple[str, float, str]] = []
        self._may_build = not rehearsed
        self._site: Path | None = None

    def run(self) -> None:
        """Every item, each once. Writes facts, and what items print to ``log``."""
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._rehearsed:
            try:
                self._site = unpacked(SITE)
            except UNPACKING_FAILED as error:
                self._add("packages, as carried", "failed", f"{type(error).__name__}: {error}")
        with (self._folder / "log").open("ab", buffering=0) as log:
            first: int | None = 0
            while first is not None:
                first = self._go_on(first, log)

    def _go_on(self, first: int, log: Any) -> int | None:
        """Items from this one on, in a new process: where the next one goes on."""
        if not self._begins(first):
            return None
        worker = Worker(self._command(first), self._environment(), log)
        how = ""
        try:
            why = self._introduced(worker)
            ended = Ended(first, "failed", why) if why else self._followed(worker, first)
            how = worker.end(1.0 if ended.died else 0.0)
        finally:
            if not how:
                worker.end()
        if why:
            if self._mended(why, log):
                return first
            for name, _, kernel in self._items[first:]:
                self._add(name, "left out", "no process begins any more", kernel=kernel)
            return None
        if ended.result:
            told_how = f"{ended.why} ({how})" if ended.died else ended.why
            name, _, kernel = self._items[ended.at]
            self._add(name, ended.result, told_how, kernel=kernel)
        return ended.at + 1 if ended.at + 1 < len(self._items) else None

    def _introduced(self, worker: Worker) -> str:
        """Hears what the process will do, or returns why it will do nothing."""
        try:
            message = worker.message(min(self._until, time.monotonic() + BEGIN_SECONDS))
        except TimeoutError:
            spent = time.monotonic() >= self._until
            return "the budget was spent while torch was imported" if spent else NOTHING_CAME
        if message is None or "error" in message:
            return "the process ended" if message is None else str(message["error"])
        self._device = message["device"]
        self._items = [(name, seconds, kernel) for name, seconds, kernel in message["items"]]
        return ""

    def _followed(self, worker: Worker, first: int) -> Ended:
        """Waits for one item after the other."""
        for i in range(first, len(self._items)):
            if not self._begins(i):
                break
            seconds = self._items[i][1]
            limit = min(seconds, self._until - time.monotonic())
            try:
                message = self._end_of_item(worker, time.monotonic() + limit)
            except TimeoutError:
                why = f"not done after {limit:.3g} s, " + (
                    "its limit" if limit == seconds else "when the budget was spent"
                )
                return Ended(i, "stopped", why)
            if message is None:
                return Ended(i, "failed", "its process ended", died=True)
            if not message["usable"]:
                return Ended(i, "failed", "the device could not be used after it")
        return Ended(len(self._items))

    def _begins(self, item: int) -> bool:
        """Whether there is time for an item; if not, it and all after it are left out."""
        if self._until - time.monotonic() >= LEAST_SECONDS:
            return True
        for name, _, kernel in self._items[item:] or [(self._stage.what, 0.0, "")]:
            self._add(name, "left out", "the budget was spent", kernel=kernel)
        self._items = self._items[:item]
        return False

    @staticmethod
    def _end_of_item(worker: Worker, until: float) -> dict[str, Any] | None:
        while (message := worker.message(until)) is not None:
            if "end" in message:
                return message
        return None

    def _mended(self, why: str, log: Any) -> bool:
        """Where the library that was carried does not load: builds one here, once."""
        if not self._may_build or "library" not in why:
            self._add(self._stage.what, "failed", f"it could not begin: {why}")
            return False
        self._may_build = False
        self._add("the library, as carried", "failed", why)
        if not (shutil.which("cmake") and shutil.which("nvcc")):
            self._add(BUILD, "not available", "there is no cmake, or no nvcc")
            return False
        command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(LIBRARY)]
        begin = time.monotonic()
        limit = max(LEAST_SECONDS, min(BUILD_SECONDS, self._until - begin))
        try:
            code = subprocess.run(
                command, cwd=ROOT, env={**os.environ, "PATCHGATE_CUDA": "1", **this_gpu()},
                timeout=limit, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            ).returncode  # fmt: skip
            result, said = ("passed", "") if code == 0 else ("failed", f"exit status {code}")
        except subprocess.TimeoutExpired:
            result, said = "stopped", f"not done after {limit:.3g} s"
        self._add(BUILD, result, said, seconds=round(time.monotonic() - begin, 2))
        return result == "passed"

    def _add(self, item: str, result: str, why: str, **more: Any) -> None:
        fact = {"result": result, "why": why, **more}
        Facts(self._folder, self._letter, self._device, self._commit).add(item, fact)

    def _command(self, first: int) -> list[str]:
        worker = ROOT / "benchmarks" / "stages" / "worker.py"
        return [
            sys.executable, str(worker), self._letter, self._stage.module, str(first),
            str(self._folder.resolve()), self._commit, str(int(self._rehearsed)),
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        paths = [str(LIBRARY), str(self._site or ""), os.environ.get("PYTHONPATH", "")]
        given = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        if self._rehearsed:
            given |= {"TRITON_INTERPRET": "1"}
        return {**os.environ, **given}


def this_gpu() -> dict[str, str]:
    """So that only the GPU that is here is built for; nothing where nobody tells which it is."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"CUDAARCHS": f"{done.stdout.split()[0].replace('.', '')}-real"}


def run(letters: str, folder: Path, budget: float | None, rehearsed: bool) -> bool:
    """Stages one after another; whether nothing failed.

    Args:
        budget: seconds for all of them; None: what each has by itself.
    """
    end = None if budget is None else time.monotonic() + budget
    good = True
    for letter in letters:
        stage = STAGES[letter]
        seconds = stage.rehearsed if rehearsed else stage.seconds
        if end is not None:
            left = end - time.monotonic()
            seconds = left if letter == letters[-1] else min(seconds, left)
        print(f"== {letter}: {stage.what}, {seconds:.0f} s at most", flush=True)
        begin = time.monotonic()
        path = folder / f"{letter}.jsonl"
        before = path.stat().st_size if path.exists() else 0
        Run(letter, folder, seconds, rehearsed).run()
        facts = list(read(path, before)) if path.exists() else []
        good &= summed_up(facts, time.monotonic() - begin)
        ran = {fact.get("kernel") for fact in facts if fact.get("ran")}
        never = [each for each in (*KERNELS, *MODES) if each not in ran]
        if stage.all_kernels and never:
            print(f"   did not run: {', '.join(never)}")
            good = False
    return good


def summed_up(facts: list[dict[str, Any]], seconds: float) -> bool:
    """Prints what went wrong, and how many facts there are of each kind."""
    for fact in facts:
        if fact["result"] != "passed":
            print(told(fact))
    counts = Counter(fact["result"] for fact in facts)
    said = ", ".join(f"{count} {result}" for result, count in counts.items())
    print(f"   {said or 'no fact'}, in {seconds:.0f} s", flush=True)
    return bool(facts) and set(counts) <= set(GOOD)
