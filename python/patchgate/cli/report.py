"""What the user sees while a command runs, and the exit code at its end.

Standard output carries the result (with --json: one JSON object and nothing else); progress,
warnings and errors go to standard error.
"""

import json
import re
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from patchgate.decode import DecodeWarning, Video
from patchgate.gate import CHANGED
from patchgate.pipeline import TokenChunk

# Torch tells it in a RuntimeError; through the stable ABI only the failed call's name is left.
_NO_MEMORY = re.compile("allocate memory|new_empty")

INTERRUPTED = 130  # as a shell reports SIGINT


def say(kind: str, what: object) -> None:
    """One line on standard error."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
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
        except KeyboardInterrupt:
            say("interrupted", "nothing was written")
            raise typer.Exit(INTERRUPTED) from None
        except (OSError, ValueError) as error:
            say("error", error)
            raise typer.Exit(1) from error
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not _NO_MEMORY.search(str(error)):
                raise
            say("error", "not enough memory; try a smaller --chunk or --size")
            raise typer.Exit(1) from error


class Stop:
    """Ctrl-C (or a polite kill) asks for an end after the chunk at hand; again, for one at once."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked_by: int | None = None  # the signal's number

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._ask) for number in self._SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked_by is not None:
            raise KeyboardInterrupt
        self.asked_by = number

    @property
    def exit_code(self) -> int:
        """0 where nobody asked, else the shell's code for the signal."""
        return 0 if self.asked_by is None else 128 + self.asked_by


class Meter:
    """A progress bar, where standard error is a terminal, that is fed chunks of tokens."""

    def __init__(self, video: Video, doing: str, start: float | None, end: float | None) -> None:
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
        self._begin = time.perf_counter()
        self.frames = self.tokens = self.cells = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, chunk: TokenChunk) -> None:
        """Counts the chunk and moves the bar."""
        self.frames += len(chunk.kind)
        self.cells += chunk.kind.numel()
        self.tokens += int((chunk.kind == CHANGED).sum())
        speed = self.frames / (time.perf_counter() - self._begin)
        counts = f"{self.frames:,} frames  {speed:,.0f}/s  kept {self.tokens / self.cells:.1%}"
        done = float(chunk.pts_seconds[-1] + chunk.duration_seconds[-1]) - self._from
        self._bar.update(self._task, completed=done, counts=counts)


def result(facts: dict[str, Any], lines: dict[str, str], title: str, as_json: bool) -> None:
    """The end of a command on standard output: for a program, or for a person."""
    console = Console(soft_wrap=True, highlight=False)
    if as_json:
        typer.echo(json.dumps(facts, allow_nan=False))
        return
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
