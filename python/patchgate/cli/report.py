"""What the user sees while a command runs, and the exit code at its end.

Standard output carries the result (with --json: one JSON object and nothing else); progress,
warnings and errors go to standard error.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from patchgate.decode import DecodeWarning, Video
from patchgate.gate import CHANGED
from patchgate.history import counted
from patchgate.pipeline import TokenChunk

# Torch tells it in a RuntimeError; through the stable ABI only the failed call's name is left.
_NO_MEMORY = re.compile("allocate memory|new_empty")

INTERRUPTED = 130  # as a shell reports SIGINT
_NO_READER = 141  # as a shell reports SIGPIPE, which ends other tools

_NOTHING = "nothing was written"


def say(kind: str, what: object) -> None:
    """One line on standard error."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with contextlib.suppress(OSError):  # the terminal is gone: the exit code still tells
        console.print(f"patchgate: {kind}: {' '.join(str(what).split())}", markup=False)


@contextmanager
def reported() -> Iterator[list[str]]:
    """Shows warnings as lines, which it also collects, and errors as a line and an exit code."""
    told: list[str] = []

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        told.append(" ".join(str(message).split()))
        say("warning", message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DecodeWarning)
        warnings.showwarning = show
        try:
            yield told
        except KeyboardInterrupt as error:
            say("interrupted", _NOTHING)
            code = error.exit_code if isinstance(error, Stopped) else INTERRUPTED
            raise typer.Exit(code) from None
        except (OSError, ValueError) as error:
            say("error", error)
            raise typer.Exit(1) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _NO_MEMORY.search(str(error)):
                raise
            say("error", "not enough memory; try a smaller --chunk or --size")
            raise typer.Exit(1) from error


class Stopped(KeyboardInterrupt):
    """Somebody asked for an end at once."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


@contextmanager
def kills_interrupt() -> Iterator[None]:
    """A polite kill ends a command as Ctrl-C does: what it has begun is cleared away."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Stopped(128 + number)

    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Stop:
    """Ctrl-C (or a polite kill) asks for an end after the chunk at hand; again, for one at once.

    The handler only takes notes, since Python drops what it would raise in a finaliser: `check`
    raises, where that is safe. Should the work not come by there within `GRACE` seconds, a thread
    of our own removes `scratch` and ends the process. Put it around all that the command says:
    who has asked once is not heard any more after it.
    """

    GRACE = 2.0  # seconds
    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.asked_by: int | None = None  # the signal's number
        self.now = False  # it was asked for twice
        self.scratch: Path | None = None  # what must not be left behind
        self._settled = False  # the file stands, or it is over: asking changes nothing any more
        self._wake, self._over = threading.Event(), threading.Event()

    def __enter__(self) -> Self:
        handlers = {number: signal.getsignal(number) for number in self._SIGNALS}
        self._before = {number: h for number, h in handlers.items() if h != signal.SIG_IGN}  # nohup
        for number in self._before:
            signal.signal(number, self._ask)
        threading.Thread(target=self._watch, name="patchgate-stop", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.settle()
        self._over.set()
        self._wake.set()
        for number, handler in self._before.items():
            signal.signal(number, handler if self.asked_by is None else signal.SIG_IGN)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._settled:
            return
        if self.asked_by is None:
            self.asked_by = number
        elif not self.now:
            self.now = True
            self._wake.set()

    def check(self) -> None:
        """Raises where an end at once was asked for."""
        if self.now:
            raise Stopped(self.exit_code)

    def settle(self) -> None:
        """From here on the outcome stands."""
        self._settled = True

    def _watch(self) -> None:
        self._wake.wait()
        if self._over.wait(self.GRACE) or self._settled:
            return
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)
        cursor = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # which the progress bar hides
        with contextlib.suppress(OSError):
            os.write(2, f"{cursor}patchgate: interrupted: {_NOTHING}\n".encode())
        os._exit(self.exit_code)

    @property
    def exit_code(self) -> int:
        """0 where nobody asked, else the shell's code for the signal."""
        return 0 if self.asked_by is None else 128 + self.asked_by


class Meter:
    """A progress bar, where standard error is a terminal, that is fed chunks of tokens."""

    def __init__(
        self, video: Video, doing: str, start: float | None, end: float | None, tubelet: int
    ) -> None:
        first = video.begin_stream_seconds
        self._from = first if start is None else max(start, first)
        length = video.duration_seconds
        until = [first + length] if length else []
        until += [end] if end is not None else []
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[counts]}"), TimeRemainingColumn(),
            console=console, disable=not console.is_terminal, transient=True,
        )  # fmt: skip
        total = min(until) - self._from if until else None
        self._task = self._bar.add_task(doing, total=total, counts="")
        self._begin, self._tubelet = time.perf_counter(), tubelet  # in frames
        self.frames = self.tokens = self.cells = 0  # frames, or tubelets

    def __enter__(self) -> Self:
        self._bar.start()  # nothing where it is disabled
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar.disable:
            return  # older versions of rich would end the line that it never began
        with contextlib.suppress(OSError):  # a terminal that went away costs no tokens
            self._bar.stop()

    def show(self, chunk: TokenChunk) -> None:
        """Counts the chunk and moves the bar."""
        self.frames += len(chunk.kind)
        self.cells += chunk.kind.numel()
        self.tokens += int((chunk.kind == CHANGED).sum())
        speed = self.frames * self._tubelet / (time.perf_counter() - self._begin)
        counts = (
            f"{counted(self.frames, self._tubelet)}  {speed:,.0f} frames/s  "
            f"kept {self.tokens / self.cells:.1%}"
        )
        done = float(chunk.pts_seconds[-1] + chunk.duration_seconds[-1]) - self._from
        self._bar.update(self._task, completed=done, counts=counts)


def result(facts: dict[str, Any], lines: dict[str, str], title: str, as_json: bool) -> None:
    """The end of a command on standard output: for a program, or for a person.

    Raises:
        OSError: it cannot be written there.
    """
    try:
        if as_json:
            typer.echo(json.dumps(facts, allow_nan=False))
        else:
            _for_a_person(lines, title)
        if sys.stdout is not None:  # it is closed: nobody asks for the result
            sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more, loudly, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(_NO_READER) from None
        raise OSError(f"standard output: {error.strerror}") from error


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Where Rich would exit with 1."""
        raise


def _for_a_person(lines: dict[str, str], title: str) -> None:
    console = _Console(soft_wrap=True, highlight=False)
    console.print(title, style="bold", markup=False)
    width = max(map(len, lines))
    for name, text in lines.items():
        console.print(f"  {name:{width}}  ", style="dim", end="")
        console.print(text, markup=False)


def bytes_text(count: int) -> str:
    """1234567 as "1.2 MB"."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
