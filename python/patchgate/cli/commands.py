"""The commands tokenize, info and inspect. Each returns a dict of facts, which --json prints."""

import os
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from patchgate._ops.library import build_info
from patchgate.cli.options import GateOptions, OpenOptions, ReadOptions, spread
from patchgate.cli.signals import Stop, Stopped, kills_interrupt
from patchgate.cli.terminal import Meter, bytes_text, reported, result, say
from patchgate.cli.usage import Commands
from patchgate.decode import open_video
from patchgate.gate import Gate
from patchgate.pipeline import StageSeconds, token_chunks
from patchgate.pipeline.collect import empty_chunk
from patchgate.pipeline.frames import until_used_up
from patchgate.report.history import counted
from patchgate.tokens.layout import layout_of
from patchgate.tokens.spill import TokenSpill

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
def tokenize(
    video: VideoPath,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="TOKENS.safetensors", help="The file to write."),
    ],
    gate: GateOptions,
    read: ReadOptions,
    as_json: Json = False,
) -> dict[str, Any]:
    """Turn every frame into tokens, of which only the changed cells are new.

    Writes a file for patchgate.VideoTokens.load. Memory does not grow with the video's length.
    Ctrl-C ends early with a valid file of the frames so far; pressed again, with none.
    """
    wanted, options = gate.gate(), read.apply()
    with Stop() as stop, reported() as warned:
        facts = _tokenize(video, output, wanted, options, stop)
        facts["warnings"] = warned
        if stop.exit_code:
            held = counted(facts["frames"], wanted.settings.temporal_patch)
            say("interrupted", f"{output} holds the first {held}")
        result(facts, _tokenize_lines(facts), str(output), as_json)
        if stop.exit_code:
            raise typer.Exit(stop.exit_code)
    return facts


def _tokenize(
    path: str, output: Path, gate: Gate, options: dict[str, Any], stop: Stop
) -> dict[str, Any]:
    not_the_video(path, output)
    begin, stages, tubelet = time.perf_counter(), StageSeconds(), gate.settings.temporal_patch
    with stop.opening():
        video = open_video(path, **options)
    with video, TokenSpill(output, empty_chunk(gate), layout_of(gate, video.colour.matrix)) as out:
        stop.video = video
        with (
            Meter(video, "tokenize", options["start"], options["end"], tubelet) as meter,
            closing(token_chunks(video, gate, stages)) as chunks,
        ):
            for chunk in until_used_up(chunks):
                stop.check()
                with stages.time("write"):
                    out.add(chunk)
                meter.show(chunk)
                if stop.asked_by:
                    break
        if not out.frames:
            if stop.asked_by:
                raise Stopped(stop.exit_code)
            raise ValueError(f"{path}: no frame there to be tokenized; nothing was written")
        with stages.time("write"):
            size = out.finish(stop.check)
        stop.settle()
    seconds = time.perf_counter() - begin
    height, width = gate.size or (0, 0)
    return {
        "video": path,
        "output": str(output),
        "output_bytes": size,
        "frames": out.frames,  # tubelets, if the temporal patch is 2
        "tokens": out.tokens,
        "dense_tokens": meter.cells,
        "kept_share": out.tokens / meter.cells,
        "grid": [height, width],
        "cells": [height // gate.settings.cell, width // gate.settings.cell],
        "gate": asdict(gate.settings),
        "frames_per_second": out.frames * tubelet / seconds,
        "seconds": {**stages.seconds, "total": seconds},
        "interrupted": stop.asked_by is not None,
    }


def _tokenize_lines(facts: dict[str, Any]) -> dict[str, str]:
    h, w = facts["cells"]
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in facts["seconds"].items())
    frames = counted(facts["frames"], facts["gate"]["temporal_patch"])
    return {
        "video": f"{frames}, {h} x {w} cells each",
        "tokens": f"{facts['tokens']:,} of {facts['dense_tokens']:,}: "
        f"{facts['kept_share']:.2%} kept",
        "speed": f"{facts['frames_per_second']:,.0f} frames/s",
        "seconds": stages,
        "size": bytes_text(facts["output_bytes"]),
    }


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
