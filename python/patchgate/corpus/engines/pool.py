"""A pool of worker processes on one machine, each with one video in hand.

A process that is killed, by the system for its memory or by a fault in a codec, costs the video
that it had in hand one more try, and the job goes on.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from patchgate.corpus.engines.process import BOOT, HELLO
from patchgate.corpus.engines.units import Result, Unit, Units
from patchgate.corpus.journal import Task

_TRIES = 2  # of a video whose worker's process was ended
_POLL_SECONDS = 0.2  # after which the caller is asked whether to go on
_TAIL = 2000  # bytes of what a process said, of which its end is told


class WorkerFailed(RuntimeError):
    """Raised when a worker cannot begin, such as when its tower cannot be loaded."""


class _Process:
    """One worker's process, and what it has in hand."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        # What libraries print would break a progress bar; if the process is killed, it may say why.
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (``close`` closes it)
        words = [sys.executable, "-c", BOOT, json.dumps(sys.path)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said,
            process_group=0 if os.name == "posix" else None,  # Ctrl-C is not for it
        )  # fmt: skip
        assert self.process.stdout is not None
        self.out = self.process.stdout
        self.unit: Unit | None = None
        self.ready = False
        self._left = b""
        self.send(config)

    def send(self, what: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended, which its output will tell
            self.process.stdin.write(json.dumps(what).encode() + b"\n")
            self.process.stdin.flush()

    def lines(self) -> list[Result] | None:
        """Returns the results that came; None: the process has ended."""
        piece = os.read(self.out.fileno(), 1 << 16)
        if not piece:
            return None
        *whole, self._left = (self._left + piece).split(b"\n")
        return [json.loads(line) for line in whole]

    def ending(self) -> str:
        """Waits for the process, and says how it ended."""
        code = self.process.wait()
        self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, self._said.tell() - _TAIL))
        said = " ".join(self._said.read().decode(errors="replace").split())
        how = f"with exit code {code}"
        if code < 0:
            names = {each.value: each.name for each in signal.Signals}
            how = f"by {names.get(-code, f'signal {-code}')}"
            how += ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"its worker's process was ended {how}" + (f": {said}" if said else "")

    def close(self) -> None:
        """Ends the process at once. It removes its hidden folder itself."""
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.out.close()
        self._said.close()


class Pool:
    """Processes that do tasks. Use it in a ``with`` statement, which ends them.

    Args:
        workers: how many processes there are at most.
        config: what every worker gets before its first task.
        asked: is called a few times a second; if it returns True, no result is waited for any more.
    """

    def __init__(
        self, workers: int, config: Mapping[str, Any], asked: Callable[[], bool] = lambda: False
    ) -> None:
        self._count, self._config, self._asked = workers, config, asked
        self._processes: list[_Process] = []
        self._selector = selectors.DefaultSelector()
        self._first: deque[Unit] = deque()  # before other tasks: tried again, or a part of one
        self._units = Units(Path(config["folder"]))
        self._tries: dict[tuple[int, int | None], int] = {}
        self._not_begun = 0  # processes that were killed before they could do anything

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self._processes:
            with contextlib.suppress(OSError):
                assert each.process.stdin is not None
                each.process.stdin.close()  # all of them, before any is waited for
        for each in self._processes:
            each.close()
        self._selector.close()

    def results(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Result], None, None]:
        """Yields each task with its result, as they are finished.

        A task is taken when a worker is free, and not before: whoever iterates sees at most one of
        each worker in hand. A long video is taken once, and its spans go to all workers.

        Raises:
            WorkerFailed: a worker could not begin.
        """
        left = iter(tasks)
        while not self._asked():
            self._hand_out(left)
            if not any(each.unit for each in self._processes):
                return
            for key, _ in self._selector.select(_POLL_SECONDS):
                yield from self._heard(key.data)

    def _hand_out(self, left: Iterator[Task]) -> None:
        """Gives every worker that is free something to do, and starts more of them."""
        while True:
            free = next((each for each in self._processes if each.unit is None), None)
            if free is None and len(self._processes) >= self._count:
                return
            unit = self._next(left)
            if unit is None:
                return
            if free is None:
                free = _Process(self._config)
                self._processes.append(free)
                self._selector.register(free.out, selectors.EVENT_READ, free)
            free.unit = unit
            free.send(unit.told)

    def _next(self, left: Iterator[Task]) -> Unit | None:
        while self._first:
            if self._units.wanted(unit := self._first.popleft()):
                return unit
        task = next(left, None)
        return None if task is None else self._units.whole(task)

    def _heard(self, process: _Process) -> Generator[tuple[Task, Result], None, None]:
        lines = process.lines()
        if lines is None:
            yield from self._ended(process)
            return
        for told in lines:
            if not process.ready:
                if HELLO not in told:
                    raise WorkerFailed(told["error"])
                process.ready = True
                continue
            assert process.unit is not None
            unit, process.unit = process.unit, None
            yield from self._came(unit, told)

    def _came(self, unit: Unit, told: Result) -> Generator[tuple[Task, Result], None, None]:
        more, result = self._units.came(unit, told)
        self._first.extend(more)
        if result is not None:
            yield unit.task, result

    def _ended(self, process: _Process) -> Generator[tuple[Task, Result], None, None]:
        self._selector.unregister(process.out)
        self._processes.remove(process)
        unit, how = process.unit, process.ending()
        process.close()
        if unit is None:
            return
        if not process.ready:
            self._not_begun += 1  # it was killed, perhaps for the memory that others take
            if process.process.returncode >= 0 or self._not_begun > _TRIES:
                raise WorkerFailed(f"a worker could not begin: {how}")
            self._first.append(unit)
            return
        key = (unit.task.number, unit.span)
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        if tries < _TRIES:
            self._first.append(unit._replace(told={**unit.told, "replace": True}))
        else:
            told = {"status": "failed", "error": f"{how}, {tries} times", "warnings": None}
            yield from self._came(unit, told)
