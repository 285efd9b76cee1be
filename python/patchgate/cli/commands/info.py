"""The commands info and inspect. Each returns a dict of facts, which --json prints."""

from pathlib import Path
from typing import Annotated, Any

import typer

from patchgate.cli.commands.options import GateOptions, OpenOptions, ReadOptions
from patchgate.cli.commands.program import Json, VideoPath, app
from patchgate.cli.commands.spreading import spread
from patchgate.cli.commands.typed import typed

_MOST_MOMENTS = 8  # in one picture


@app.command()
@spread
def info(video: VideoPath, how: OpenOptions, as_json: Json = False) -> dict[str, Any]:
    """Say what a video file holds, how it is decoded, and how this patchgate was built."""
    from patchgate.cli.described import facts_of, lines_of
    from patchgate.cli.terminal import reported, result
    from patchgate.decode import open_video

    options = how.opening()
    with reported() as warned, open_video(video, errors="ignore", **options) as opened:
        facts = facts_of(video, opened) | {"warnings": warned}
        result(facts, lines_of(facts), video, as_json)
    return facts


@app.command()
@spread
def inspect(
    context: typer.Context,
    video: VideoPath,
    gate: GateOptions,
    read: ReadOptions,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="REPORT.html", show_default=False,
                     help="A page (.html) or one picture (.png, .jpg, .pdf, .svg)."),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", metavar="OUT.mp4", show_default=False,
                     help="The video with the cells drawn on it (.mp4, .mov, .mkv)."),
    ] = None,
    at: Annotated[
        list[float] | None,
        typer.Option("--at", help="A moment to show, in seconds; may be given several times.",
                     show_default="the most telling ones"),
    ] = None,
    as_json: Json = False,
) -> dict[str, Any]:  # fmt: skip
    """Show what was kept when, and what the tokens rebuild: a page, a picture, a video."""
    from patchgate.cli import inspection
    from patchgate.cli.grids import reader_of
    from patchgate.cli.outputs import not_the_video
    from patchgate.cli.signals import kills_interrupt
    from patchgate.cli.terminal import reported, result

    if output is None and overlay is None:
        raise typer.BadParameter("nothing to write: give -o REPORT.html, --overlay OUT.mp4 or both")
    for name, path, suffixes in (
        ("--output", output, inspection.SUFFIXES),
        ("--overlay", overlay, inspection.OVERLAY_SUFFIXES),
    ):
        if path is not None and path.suffix.lower() not in suffixes:
            raise typer.BadParameter(
                f"{name}: expected a name that ends in {', '.join(suffixes)}; got {path}"
            )
    if len(at or []) > _MOST_MOMENTS:
        raise typer.BadParameter(f"--at: at most {_MOST_MOMENTS} moments fit, got {len(at or [])}")
    wanted, options = gate.gate(context), read.apply()
    with reported() as warned, kills_interrupt():
        not_the_video(video, output, overlay)
        job = inspection.Job(
            video, output, overlay, wanted, options, at or [], typed(context), gate.grid,
            reader_of(gate.grid, gate.model),
        )  # fmt: skip
        facts = inspection.inspect_video(job)
        facts["warnings"] = warned
        result(facts, inspection.lines(facts), video, as_json)
    return facts
