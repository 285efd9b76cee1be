"""The options of ``patchgate corpus`` alone, and the values that they may have."""

from dataclasses import dataclass
from typing import Annotated

import typer

from patchgate.cli.commands.options import LimitOptions

# As the library has them, which would import torch; tests compare them.
ENGINES = ("pool", "ray")
FORMS = ("safetensors", "parquet", "lance", "webdataset")
MANIFESTS = (".parquet", ".csv", ".jsonl", ".ndjson")
_EXTENSIONS = """
    264 265 266 3g2 3gp apv asf avc avi avs2 avs3 dav divx dv evc f4v flv gif gxf h261 h264 h265
    h266 hevc ismv ivf kux m1v m2t m2ts m2v m4v mj2 mjpeg mjpg mk3d mkv mov mp4 mpe mpeg mpg mts mxf
    nut obu ogg ogv qt rm rmvb roq ts usm vc1 viv vob vvc webm wmv wtv y4m
"""
EXTENSIONS = (*_EXTENSIONS.split(),)

_AGAIN, _HOW = "What is done again", "How it is done"


@dataclass(frozen=True)
class CorpusOptions(LimitOptions):
    """The options of the command corpus alone."""

    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, max=1024, rich_help_panel=_HOW,
                     help="Processes, each with a video of its own; 0: this one alone.",
                     show_default="half of the CPUs"),
    ] = None  # fmt: skip
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="|".join(ENGINES), rich_help_panel=_HOW,
                     help="Processes on this machine, or actors of Ray Data."),
    ] = "pool"  # fmt: skip
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="auto|ray://HOST:PORT", rich_help_panel=_HOW,
                     help="With --engine ray: that of a cluster.", show_default="one begun here"),
    ] = None  # fmt: skip
    gpus: Annotated[
        float,
        typer.Option("--gpus-per-worker", min=0, rich_help_panel=_HOW,
                     help="With --engine ray and --device cuda: GPUs of each worker."),
    ] = 0  # fmt: skip
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Look at so many frames a second.", rich_help_panel=_HOW,
                     show_default="every frame"),
    ] = None  # fmt: skip
    span_frames: Annotated[
        int | None,
        typer.Option("--span-frames", min=2, rich_help_panel=_HOW, show_default="off",
                     help="Do longer videos in spans of about so many frames, by all workers."),
    ] = None  # fmt: skip
    chunk: Annotated[
        int,
        typer.Option("--chunk", min=1, rich_help_panel=_HOW,
                     help="Frames that a worker holds at once; the result is the same."),
    ] = 16  # fmt: skip
    threads: Annotated[
        int,
        typer.Option("--threads", min=1, max=256, rich_help_panel=_HOW,
                     help="Threads of each worker's decoder."),
    ] = 1  # fmt: skip
    device: Annotated[
        str,
        typer.Option("--device", metavar="cpu|cuda|cuda:N", rich_help_panel=_HOW,
                     help="Where videos are decoded, and the tower computes."),
    ] = "cpu"  # fmt: skip
    format: Annotated[
        str,
        typer.Option("--format", metavar="|".join(FORMS), rich_help_panel=_HOW,
                     help="The form of the tokens: exact and mapped (safetensors), or float16 for "
                     "other tools."),
    ] = "safetensors"  # fmt: skip
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=0, rich_help_panel=_AGAIN, show_default="all",
                     help="Do at most so many videos now."),
    ] = None  # fmt: skip
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", rich_help_panel=_AGAIN,
                     help="Only say what would be done, and how much it is."),
    ] = False  # fmt: skip
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", rich_help_panel=_AGAIN,
                     help="Do videos again that failed and did not change since."),
    ] = False  # fmt: skip
    redo: Annotated[
        bool,
        typer.Option("--redo", rich_help_panel=_AGAIN,
                     help="Do videos again that were done with other settings or another model."),
    ] = False  # fmt: skip
