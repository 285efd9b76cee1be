"""``patchgate live``: cameras, watched; ``patchgate doctor``: what opens here, and how well."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live as Screen
from rich.table import Table

from patchgate._check.text import escaped
from patchgate._ops.library import build_info
from patchgate.cli.commands import Json, app
from patchgate.cli.options import GateOptions, as_usage_error, spread
from patchgate.cli.signals import Stop
from patchgate.cli.terminal import as_options, reported, result, say
from patchgate.decode.source.names import shown_source
from patchgate.live import CameraStats, LiveEvent, Segments, Watch, watch
from patchgate.live.diagnosis import Diagnosis, diagnose, what_opens
from patchgate.live.page import Page

_REFRESH = 0.25  # seconds between two looks of the table

Cameras = Annotated[
    list[str],
    typer.Argument(metavar="URL...", show_default=False,
                   help="Addresses, devices (v4l2:/dev/video0) or pipes (-); NAME=URL gives one a "
                   "name."),
]  # fmt: skip
Transport = Annotated[str, typer.Option("--transport", metavar="auto|tcp|udp", help="Of RTSP.")]
OpenTimeout = Annotated[
    float, typer.Option("--open-timeout", help="Seconds until the first frame; 0: for ever.")
]
ReadTimeout = Annotated[
    float, typer.Option("--read-timeout", help="Seconds of silence after it; 0: for ever.")
]
Playlists = Annotated[
    bool, typer.Option("--allow-playlists", help="Open HLS and other playlists, too.")
]


@app.command()
@spread
def live(
    urls: Cameras,
    gate: GateOptions,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", show_default=False,
                     help="Write the tokens there, in segments."),
    ] = None,
    segment: Annotated[
        float, typer.Option("--segment", help="The length of a segment, in seconds.")
    ] = 60.0,
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Frames a second of each camera.", show_default="all"),
    ] = None,
    max_delay: Annotated[
        float | None,
        typer.Option("--max-delay", show_default="no limit",
                     help="Seconds from a frame's arrival to its tokens; beyond it the gate "
                     "becomes coarser."),
    ] = None,
    web: Annotated[
        int | None,
        typer.Option("--web", metavar="PORT", show_default=False,
                     help="Show the cameras on a page of this machine; 0: any free port. Needs "
                     'pip install "patchgate[live]".'),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Where --web listens; nobody is asked for a password.")
    ] = "127.0.0.1",
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="End after so many seconds.", show_default="Ctrl-C"),
    ] = None,
    transport: Transport = "auto",
    open_timeout: OpenTimeout = 10.0,
    read_timeout: ReadTimeout = 10.0,
    allow_playlists: Playlists = False,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Watch cameras: what changes in each, and how late it is known. Ctrl-C ends it.

    A camera that fails is told and opened again, for as long as it takes. Without -o nothing is
    written.
    """
    wanted, cameras = gate.gate(), named(urls)
    with as_usage_error():
        opening: Any = {"fps": fps, "transport": transport, "allow_playlists": allow_playlists,
                        "open_timeout": open_timeout or None,
                        "read_timeout": read_timeout or None}  # fmt: skip
    with reported() as warned, Stop() as stop, contextlib.ExitStack() as stack:
        out = (
            None
            if output is None
            else stack.enter_context(Segments(output, segment, on_event=_tell))
        )
        watched = stack.enter_context(watch(cameras, gate=wanted, max_delay=max_delay, output=out,
                                            on_event=_tell, opening=opening))  # fmt: skip
        page = None
        if web is not None:
            page = stack.enter_context(Page(watched, web, host))
            say("page", page.address)
        facts = _watched(watched, stop, seconds, page)
        watched.close()
        stack.close()
        stop.settle()
        facts |= {"output": None if output is None else str(output), "warnings": warned}
        result(facts, _lines(facts), ", ".join(cameras), as_json)
    return facts


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


def _watched(
    watched: Watch, stop: Stop, seconds: float | None, page: Page | None
) -> dict[str, Any]:
    """Watches until somebody asks for the end; returns the facts of each camera."""
    begin = time.monotonic()
    stop.video = watched  # type: ignore[assignment]  # it has ``stop``, too
    stats = watched.stats
    with _screen() as show:
        for _ in _until(watched, None if seconds is None else begin + seconds, page):
            stats |= watched.stats
            show(stats)
    stats |= watched.stats
    return {
        "seconds": time.monotonic() - begin,
        "cameras": {name: asdict(each) for name, each in stats.items()},
    }


def _until(watched: Watch, end: float | None, page: Page | None) -> Iterator[None]:
    """Yields about four times a second while cameras are watched."""
    last = 0.0
    while not watched.ended:
        for seen in watched.work(_REFRESH):
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


def _lines(facts: dict[str, Any]) -> dict[str, str]:
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


@app.command()
@spread
def doctor(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="A camera to look at.", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", help="How long to look at it.")] = 5.0,
    transport: Transport = "auto",
    open_timeout: OpenTimeout = 10.0,
    read_timeout: ReadTimeout = 10.0,
    allow_playlists: Playlists = False,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Say what this machine can open and, of a camera, how well it comes in."""
    with reported() as warned:
        facts: dict[str, Any] = {"patchgate": build_info()["version"], **what_opens()}
        found = None
        if url is not None:
            found = diagnose(url, seconds, transport=transport, open_timeout=open_timeout or None,
                             read_timeout=read_timeout or None,
                             allow_playlists=allow_playlists)  # fmt: skip
            facts["camera"] = {**asdict(found), "advice": found.advice()}
        facts["warnings"] = warned
        lines = {
            "versions": f"patchgate {facts['patchgate']}, PyAV {facts['pyav']}",
            "addresses": ", ".join(facts["addresses"]),
            "devices": ", ".join(facts["devices"]) or "none",
            "decoders": f"{', '.join(facts['decoders'])} (on {facts['cpus']} CPUs)",
        }
        lines |= {} if found is None else _seen(found)
        result(facts, lines, "this machine" if found is None else found.name, as_json)
        if found is not None and found.first_frame is None:
            raise typer.Exit(1)
    return facts


def _seen(found: Diagnosis) -> dict[str, str]:
    if found.first_frame is None:
        return {"camera": as_options(found.error or "it gave no frame")}
    stats = found.stats
    size = "" if stats.size is None else f", {stats.size[1]} x {stats.size[0]} pixels"
    delay = "" if stats.delay_p99 is None else f", taken after {stats.delay_p99 * 1e3:.0f} ms (p99)"
    rate = "unknown" if found.fps is None else f"{found.fps:.4g}"
    return {
        "camera": f"{rate} frames/s{size}; the first frame came after {found.first_frame:.2f} s",
        "frames": f"{stats.decoded:,} decoded{delay}, {stats.corrupt} damaged",
        "advice": "; ".join(found.advice()) or "all is well",
    }
