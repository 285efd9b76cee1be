"""Runs many cases in forked workers that have limits of time and memory: a case may kill its own.

The caller must not have started threads that hold locks: ``torch.set_num_threads(1)`` first.
"""

import faulthandler
import itertools
import os
import resource
import selectors
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

BATCH = 200  # cases of a worker: a fork takes some milliseconds
_TOLD = 6000  # characters of stdout and stderr that are kept


class Limits(NamedTuple):
    """What one case may take."""

    seconds: float = 20.0  # without those in which it was ready to run, and others ran
    resident: int = 2 << 30  # bytes beyond what the worker had before
    address: int | None = None  # bytes of address space beyond that; None: any


class Outcome(NamedTuple):
    """How a case ended."""

    case: int
    verdict: str  # what its function returned, or "died: ..", "hang: ..", "memory: .."
    told: str  # what it wrote to stdout and stderr, if it did not return


class _Worker:
    """A child, and what the parent knows about it."""

    def __init__(
        self, run: Callable[[int], str], cases: list[int], limits: Limits, until: float
    ) -> None:
        self.cases, self.limits, self.done = cases, limits, 0
        self.said = b""
        self.log = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the worker has ended)
        self.pipe, end = os.pipe()
        sys.stdout.flush(), sys.stderr.flush()
        self.process = os.fork()
        if self.process == 0:
            _work(run, cases, limits, until, end, self.log.fileno())
        os.close(end)
        os.set_blocking(self.pipe, False)
        self._begin()

    def _begin(self) -> None:
        """A case begins now."""
        self.since, self.queued = time.monotonic(), _queued(self.process)

    def heard(self) -> list[Outcome] | None:
        """What came through the pipe; None when the child has ended."""
        try:
            more = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return []
        if not more:
            return None
        *lines, self.said = (self.said + more).split(b"\n")
        outcomes = []
        for line in lines:
            verdict = line.decode(errors="replace")
            outcomes.append(Outcome(self.cases[self.done], verdict, ""))
            self.done += 1
        if lines:
            self._begin()
        return outcomes

    @property
    def late(self) -> bool:
        waited = time.monotonic() - self.since
        if waited <= self.limits.seconds:
            return False
        return waited - (_queued(self.process) - self.queued) > self.limits.seconds

    def end(self, kill: bool = False) -> Outcome | None:
        """Waits for the child. Of one that did not finish its cases: how it ended."""
        used = ""
        if kill:
            used = _processor_time(self.process)
            os.kill(self.process, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        os.close(self.pipe)
        self.log.seek(0)
        told = self.log.read().decode(errors="replace")
        if len(told) > _TOLD:  # reports begin with what happened, tracebacks end with it
            told = f"{told[: _TOLD // 2]}\n...\n{told[-_TOLD // 2 :]}"
        self.log.close()
        if self.done == len(self.cases) or code == 0:  # or it was time to stop
            return None
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        late = f"hang: more than {self.limits.seconds:g} s{used}"
        return Outcome(self.cases[self.done], late if kill else f"died: {how}", told)


def outcomes(
    run: Callable[[int], str],
    cases: Iterable[int],
    limits: Limits,
    workers: int = 1,
    until: float = float("inf"),
) -> Iterator[Outcome]:
    """How each case ended, in the order in which they end.

    Args:
        run: gives a verdict of one line; called in a worker. What it raises is a verdict, too.
        until: of ``time.monotonic()``, when no more cases are begun.
    """
    left, again = iter(cases), []
    with selectors.DefaultSelector() as selector:

        def start() -> None:
            batch = again.pop() if again else list(itertools.islice(left, BATCH))
            if batch and time.monotonic() < until:
                worker = _Worker(run, batch, limits, until)
                selector.register(worker.pipe, selectors.EVENT_READ, worker)

        def stop(worker: _Worker, kill: bool) -> Iterator[Outcome]:
            selector.unregister(worker.pipe)
            if (last := worker.end(kill)) is not None:
                yield last
                if rest := worker.cases[worker.done + 1 :]:
                    again.append(rest)
            start()

        for _ in range(workers):
            start()
        try:
            while selector.get_map():
                if time.monotonic() > until + 60:
                    break
                for key, _ in selector.select(timeout=0.5):
                    found = key.data.heard()
                    if found is None:
                        yield from stop(key.data, kill=False)
                    else:
                        yield from found
                for key in [key for key in selector.get_map().values() if key.data.late]:
                    yield from stop(key.data, kill=True)
        finally:
            for key in list(selector.get_map().values()):
                key.data.end(kill=True)


def _queued(process: int) -> float:
    """Seconds in which a process was ready to run, and others ran: on a busy machine a quick case
    may take minutes, and is no hang."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _processor_time(process: int) -> str:
    """What a process that hangs is doing: a loop takes time, a lock does not."""
    try:
        state, *rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    ticks = os.sysconf("SC_CLK_TCK")
    return f" (state {state}, {(int(rest[10]) + int(rest[11])) / ticks:.1f} s of processor time)"


# ---- in the child


def _work(
    run: Callable[[int], str],
    cases: list[int],
    limits: Limits,
    until: float,
    pipe: int,
    log: int,
) -> NoReturn:
    try:
        for number in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDONLY) if number == 0 else log, number)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        faulthandler.enable(2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if limits.address is not None:
            most = _status("VmSize") + limits.address
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        for case in cases:
            if time.monotonic() > until:
                break
            os.ftruncate(log, 0)
            os.lseek(log, 0, os.SEEK_SET)
            before = _forget_peak()
            verdict = _verdict(run, case)
            grown = _status("VmHWM") - before
            if grown > limits.resident:
                verdict = f"memory: {grown / 2**30:.1f} GB; {verdict}"
            sys.stdout.flush(), sys.stderr.flush()
            os.write(pipe, " ".join(verdict.split()).encode(errors="replace")[:2000] + b"\n")
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _verdict(run: Callable[[int], str], case: int) -> str:
    try:
        return run(case)
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return f"raised: {type(error).__name__} at {where}: {error}"


def _forget_peak() -> int:
    """Bytes that are resident now, which becomes the peak."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0  # the peak is then the worker's whole life's
    return _status("VmRSS")


def _status(name: str) -> int:
    """A number of bytes of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) << 10
    return 0
