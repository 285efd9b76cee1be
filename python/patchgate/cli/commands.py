"""The commands info and inspect. Each returns a dict of facts, which --json prints."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from patchgate._ops.library import build_info
from patchgate.cli.options import GateOptions, OpenOptions, ReadOptions, spread
from patchgate.cli.signals import kills_interrupt
from patchgate.cli.terminal import bytes_text, reported, result
from patchgate.cli.usage import Commands
from patchgate.decode import open_video

app = typer.Typer(
    cls=Commands,
    help="Every frame of a video becomes vision tokens; only the patches that changed are paid "
    "for. Exit codes: 0 done, 1 bad input or output, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

VideoPath = Annotated[
    str, typer.Argument(metavar="VIDEO", help="A video file.", show_default=False)
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object, and nothing else, on standard output."),
]


_MOST_MOMENTS = 8  # in one picture


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"patchgate {build_info()['version']}")
        raise typer.Exit


@app.callback()
def _patchgate(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show it and exit."),
    ] = False,
) -> None:
    pass


@app.command()
@spread
def info(video: VideoPath, how: OpenOptions, as_json: Json = False) -> dict[str, Any]:
    """Say what a video file holds, how it is decoded, and how this patchgate was built."""
    options = how.opening()
    with reported() as warned, open_video(video, errors="ignore", **options) as opened:
        facts = {
            "video": video,
            "bytes": os.path.getsize(video) if os.path.isfile(video) else None,
            "container": opened.container,
            "streams": list(opened.streams),
            "bits_per_second": opened.bit_rate,
            "codec": opened.codec,
            "decoder": opened.decoder,
            "width": opened.width,
            "height": opened.height,
            "rotation_degrees": opened.rotation,
            "sample_aspect_ratio": str(opened.sample_aspect_ratio),
            "frames_per_second": opened.average_fps,
            "frames": opened.num_frames,
            "begin_seconds": opened.begin_stream_seconds,
            "duration_seconds": opened.duration_seconds,
            "colour_matrix": opened.colour.matrix,
            "full_range": opened.colour.full_range,
            "bit_depth": opened.colour.bit_depth,
            "warnings": warned,
            "build": build_info(),
        }
        result(facts, _info_lines(facts), video, as_json)
    return facts


def _info_lines(facts: dict[str, Any]) -> dict[str, str]:
    def known(name: str, text: str) -> str:
        return "unknown" if facts[name] is None else text.format(facts[name])

    build = facts["build"]
    gpus = ", ".join(build["cuda_architectures"]) or "none"
    turned, shape = facts["rotation_degrees"], facts["sample_aspect_ratio"]
    return {
        "file": f"{facts['container']}, {bytes_text(facts['bytes'] or 0)}, streams: "
        f"{', '.join(facts['streams'])}",
        "picture": f"{facts['width']} x {facts['height']} pixels"
        + (f" (turned by {turned} degrees)" if turned else "")
        + ("" if shape == "1" else f", each of them {shape} as wide as high"),
        "codec": f"{facts['codec']}, decoded by {facts['decoder']}",
        "time": f"{known('frames_per_second', '{:.6g}')} frames/s, "
        f"{known('duration_seconds', '{:.3f}')} s from {facts['begin_seconds']:.3f} s, "
        f"{known('frames', '{:,}')} frames (as the container says)",
        "colour": f"{facts['colour_matrix']}, {'full' if facts['full_range'] else 'limited'} "
        f"range, {facts['bit_depth']} bit",
        "patchgate": f"{build['version']}, {build['compiler']}, {build['simd']}, CUDA: {gpus}",
    }


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
    # matplotlib: a quarter of a second that only this command needs
    from patchgate.cli import inspection

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
    wanted, options = gate.gate(), read.apply()
    with reported() as warned, kills_interrupt():
        not_the_video(video, output, overlay)
        job = inspection.Job(
            video, output, overlay, wanted, options, at or [], inspection.typed(context)
        )
        facts = inspection.inspect_video(job)
        facts["warnings"] = warned
        result(facts, inspection.lines(facts), video, as_json)
    return facts


def not_the_video(video: str, *outputs: Path | None) -> None:
    """Refuses to write over the video. Call it for every output before any is written."""
    for output in outputs:
        if output and os.path.exists(output) and os.path.exists(video) and output.samefile(video):
            raise ValueError(f"{output}: this is the video itself; give another name to write to")
