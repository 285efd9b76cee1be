"""``patchgate live``: cameras, watched; ``patchgate doctor``: what opens here, and how well."""

from pathlib import Path
from typing import Annotated, Any

import typer

from patchgate.cli.commands.options import GateOptions
from patchgate.cli.commands.program import Json, app
from patchgate.cli.commands.spreading import spread

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
    context: typer.Context,
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
    from patchgate.cli.cameras import live as work
    from patchgate.cli.signals import Stop
    from patchgate.cli.terminal import reported, result

    cameras = work.named(urls)
    opening: dict[str, Any] = {
        "fps": fps, "transport": transport, "allow_playlists": allow_playlists,
        "open_timeout": open_timeout or None, "read_timeout": read_timeout or None,
    }  # fmt: skip
    wanted = work.gate_for(gate, context)
    with reported() as warned, Stop() as stop:
        job = work.Job(cameras, wanted, output, segment, max_delay, web, host, seconds, opening)
        facts = work.watched(job, stop) | {"warnings": warned}
        result(facts, work.lines_of(facts), ", ".join(cameras), as_json)
    return facts


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
    from patchgate.cli.cameras.doctor import facts_of, lines_of
    from patchgate.cli.terminal import reported, result

    opening: dict[str, Any] = {
        "transport": transport, "allow_playlists": allow_playlists,
        "open_timeout": open_timeout or None, "read_timeout": read_timeout or None,
    }  # fmt: skip
    with reported() as warned:
        facts, found = facts_of(url, seconds, opening)
        facts["warnings"] = warned
        title = "this machine" if found is None else found.name
        result(facts, lines_of(facts, found), title, as_json)
        if found is not None and found.first_frame is None:
            raise typer.Exit(1)
    return facts
