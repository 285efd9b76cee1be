"""The output of a running command, and its exit code.

Standard output carries the result (with --json: one JSON object and nothing else); progress,
warnings and errors go to standard error.
"""

import contextlib
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from patchgate import _early
from patchgate._check.text import escaped
from patchgate.cli.signals import INTERRUPTED, NOTHING, Stop, Stopped
from patchgate.decode import DecodeWarning, Video
from patchgate.decode.ffmpeg import ffmpeg_errors_and
from patchgate.gate import CHANGED
from patchgate.report.history import counted
from patchgate.tokens import TokenChunk

_NO_THREAD = re.compile("can't start new thread")
# torch raises a RuntimeError for it; the stable ABI passes on only the name of the failed call.
_NO_MEMORY = re.compile("allocate memory|new_empty")

_NO_READER = 141  # as a shell reports SIGPIPE, which ends other tools


def say(kind: str, what: object) -> None:
    """Prints one line on standard error."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with contextlib.suppress(OSError):  # the terminal is gone: the exit code still tells
        line = " ".join(str(what).split())
        console.print(f"patchgate: {kind}: {escaped(line)}", markup=False)


@contextmanager
def reported(stop: Stop | None = None) -> Iterator[list[str]]:
    """Shows warnings as lines, which it also collects, and errors as a line and an exit code.

    Args:
        stop: says what an interrupted command leaves; None: nothing.
    """
    _early.over()
    shown: list[str] = []

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        shown.append(" ".join(str(message).split()))
        say("warning", message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", DecodeWarning)
        warnings.showwarning = show
        try:
            yield shown
        except KeyboardInterrupt as error:
            say("interrupted", NOTHING if stop is None else stop.leaves)
            code = error.exit_code if isinstance(error, Stopped) else INTERRUPTED
            raise typer.Exit(code) from None
        except ffmpeg_errors_and(OSError, ValueError, ImportError) as error:
            say("error", as_options(str(error)))
            raise typer.Exit(1) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and _NO_THREAD.search(str(error)):
                say("error", "no more threads can be started here: a limit of this system or "
                    "container is reached (ulimit -u); try --threads 1")  # fmt: skip
            elif isinstance(error, RuntimeError) and not _NO_MEMORY.search(str(error)):
                raise
            else:
                say("error", "not enough memory; try a smaller --chunk or --size")
            raise typer.Exit(1) from error


def as_options(message: str) -> str:
    """Renames options of ``open_video`` in a message to those of the command line."""
    for name in ("open_timeout", "read_timeout"):
        flag = "--" + name.replace("_", "-")
        message = re.sub(rf"\b{name}=(?=\d)", f"{flag} ", message).replace(f"{name}=", flag)
    message = message.replace("or None to wait for ever", "or 0 to wait for ever")
    message = message.replace("allow_playlists=True", "--allow-playlists")
    return re.sub(r'\bformat="(\w+)"', r"--format \1", message)


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
    """Prints the result of a command on standard output: for a program, or for a person.

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
        """Leaves a broken pipe to the caller, where Rich would exit with 1."""
        raise


def _for_a_person(lines: dict[str, str], title: str) -> None:
    console = _Console(soft_wrap=True, highlight=False)
    console.print(escaped(title), style="bold", markup=False)
    width = max(map(len, lines))
    for name, text in lines.items():
        console.print(f"  {name:{width}}  ", style="dim", end="")
        console.print(escaped(text), markup=False)


def bytes_text(count: int) -> str:
    """Formats 1234567 as "1.2 MB"."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
