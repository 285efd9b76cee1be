"""The work of ``patchgate live``: cameras are watched, and their numbers are shown meanwhile."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.live import Live as Screen
from rich.table import Table

from patchgate._check.text import escaped
from patchgate.cli.commands.options import GateOptions
from patchgate.cli.signals import Stop
from patchgate.cli.terminal import as_options, say
from patchgate.decode.source.names import shown_source
from patchgate.gate import Gate
from patchgate.live import CameraStats, LiveEvent, Segments, Watch, watch
from patchgate.live.page import Page

_REFRESH = 0.25  # seconds between two looks of the table


@dataclass(frozen=True)
class Job:
    """What was asked for."""

    cameras: dict[str, str]
    gate: Gate
    output: Path | None
    segment: float  # seconds
    max_delay: float | None  # seconds
    web: int | None  # the page's port
    host: str
    seconds: float | None
    opening: dict[str, Any]  # of open_live


def named(urls: list[str]) -> dict[str, str]:
    """Returns the addresses by name: the given one, or the address without what is secret."""
    found: dict[str, str] = {}
    for url in urls:
        name, equals, rest = url.partition("=")
        if not equals or any(sign in name for sign in ":/?@."):
            name, rest = shown_source(url), url
        if name in found:
            raise typer.BadParameter(f"two cameras are called {name}; give them names: NAME=URL")
        found[name] = rest
    return found


def gate_for(options: GateOptions, context: typer.Context) -> Gate:
    """Returns the gate that each camera has.

    Raises:
        typer.BadParameter: the options make no gate, or one whose size depends on a video's.
    """
    gate: Gate = options.gate(context)
    if gate.size is None:
        raise typer.BadParameter(
            f"--grid {options.grid}: the size of its frames depends on the video's size and "
            "length, which nobody knows of a camera; give --size, --patch, --merge and "
            "--temporal-patch"
        )
    return gate


def watched(job: Job, stop: Stop) -> dict[str, Any]:
    """Watches the cameras until somebody asks for the end; returns the facts of each."""
    with contextlib.ExitStack() as stack:
        output = None
        if job.output is not None:
            output = stack.enter_context(Segments(job.output, job.segment, on_event=_tell))
        cameras = stack.enter_context(watch(
            job.cameras, gate=job.gate, max_delay=job.max_delay, output=output, on_event=_tell,
            opening=job.opening,  # type: ignore[arg-type]  # a dict of its keywords
        ))  # fmt: skip
        page = None
        if job.web is not None:
            page = stack.enter_context(Page(cameras, job.web, job.host))
            say("page", page.address)
        facts = _numbers(cameras, stop, job.seconds, page)
        cameras.close()
    stop.settle()
    return facts | {"output": None if job.output is None else str(job.output)}


def _numbers(
    cameras: Watch, stop: Stop, seconds: float | None, page: Page | None
) -> dict[str, Any]:
    begin = time.monotonic()
    stop.video = cameras  # type: ignore[assignment]  # it has ``stop``, too
    stats = cameras.stats
    with _screen() as show:
        for _ in _until(cameras, None if seconds is None else begin + seconds, page):
            stats |= cameras.stats
            show(stats)
    stats |= cameras.stats
    return {
        "seconds": time.monotonic() - begin,
        "cameras": {name: asdict(each) for name, each in stats.items()},
    }


def _until(cameras: Watch, end: float | None, page: Page | None) -> Iterator[None]:
    """Yields about four times a second while cameras are watched."""
    last = 0.0
    while not cameras.ended:
        for seen in cameras.work(_REFRESH):
            if page is not None:
                page.see(seen)
        now = time.monotonic()
        if now - last >= _REFRESH:
            last = now
            yield
        if end is not None and now >= end:
            return


@contextlib.contextmanager
def _screen() -> Iterator[Any]:
    """Shows a table on standard error, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stats: None
        return
    with Screen(console=console, auto_refresh=False, transient=True) as screen:
        yield lambda stats: screen.update(_table(stats), refresh=True)


def _table(stats: dict[str, CameraStats]) -> Table:
    table = Table(box=None, header_style="dim")
    for title in ("camera", "state", "frames/s", "size", "kept", "delay p50 / p99", "dropped",
                  "threshold", "again"):  # fmt: skip
        table.add_column(title, justify="left" if title in ("camera", "state") else "right")
    for name, each in stats.items():
        source = each.live
        size = "" if source.size is None else f"{source.size[1]}x{source.size[0]}"
        table.add_row(escaped(name), source.state, f"{source.fps:.1f}", size, f"{each.kept:.1%}",
                      _delay(each), f"{sum(source.dropped.values())}", f"{each.threshold:g}",
                      f"{source.reconnects}")  # fmt: skip
    return table


def _delay(each: CameraStats) -> str:
    if each.delay_p50 is None or each.delay_p99 is None:
        return "-"
    return f"{each.delay_p50 * 1e3:.0f} / {each.delay_p99 * 1e3:.0f} ms"


def lines_of(facts: dict[str, Any]) -> dict[str, str]:
    """Returns the numbers of each camera as a line for a person."""
    lines = {}
    for name, each in facts["cameras"].items():
        source = each["live"]
        late = each["delay_p99"]
        lines[name] = (
            f"{each['frames']:,} frames, {each['tokens']:,} tokens, kept {each['kept']:.2%}, "
            f"{sum(source['dropped'].values()):,} frames dropped, opened again "
            f"{source['reconnects']} times"
            + ("" if late is None else f", tokens after {late * 1e3:.0f} ms (p99)")
        )
    return lines or {"cameras": "none"}


def _tell(name: str, event: LiveEvent) -> None:
    if event.what != "scene cut":
        say(event.what, f"{name}: {as_options(event.text)}")
