"""The commands tokenize and embed: tokens, or one vector a frame, of videos, as files."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from patchgate._check import checked_choice
from patchgate.cli.commands import Json, app
from patchgate.cli.job import Job, until_asked
from patchgate.cli.options import GateOptions, ReadOptions, as_usage_error, spread
from patchgate.cli.outputs import SUFFIX
from patchgate.cli.several import Facts
from patchgate.cli.terminal import bytes_text
from patchgate.cli.towers import TowerOptions, check_tower, refuse_geometry
from patchgate.corpus.writing import TokenWriter
from patchgate.pipeline import StageSeconds
from patchgate.pipeline.embed import Pool, own_pool, prepared_vectors
from patchgate.report.history import counted
from patchgate.tokens.vectors import VectorSpill

Videos = Annotated[
    list[str], typer.Argument(metavar="VIDEO...", help="Video files.", show_default=False)
]
Output = Annotated[
    str,
    typer.Option("-o", "--output", metavar="FILE|FOLDER", show_default=False,
                 help=f"A file ({SUFFIX}), or a folder that gets one for each video, named after "
                 "it; a name without an extension is a folder's."),
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
TOWER = (
    "A folder that save_pretrained wrote (model and processor), a model of timm, or one of the "
    "Hugging Face hub. It sets --size, --patch and the like."
)


@app.command()
@spread
def tokenize(
    context: typer.Context,
    video: Videos,
    output: Output,
    gate: GateOptions,
    read: ReadOptions,
    model: TowerOptions,
    tower: Annotated[
        str | None,
        typer.Option("--tower", metavar="NAME|FOLDER", help=TOWER, show_default="tokens are "
                     "the cells' own pixels"),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> Facts:  # fmt: skip
    """Turn every frame into tokens, of which only the changed cells are new.

    Writes a file for patchgate.VideoTokens.load (docs/token-file.md). Memory does not grow with the
    video's length. Ctrl-C ends early; the frames so far are in a file whose name ends in
    .incomplete. Pressed again, it leaves none.
    """
    with as_usage_error():
        check_tower(context, tower, model)
        job = Job(video, output, force, gate.gate(), read.apply(), tower, model)
    return job.run(_tokenized, _tokenize_lines, as_json)


@app.command()
@spread
def embed(
    context: typer.Context,
    video: Videos,
    output: Output,
    tower: Annotated[
        str, typer.Option("--tower", metavar="NAME|FOLDER", help=TOWER, show_default=False)
    ],
    gate: GateOptions,
    read: ReadOptions,
    model: TowerOptions,
    pool: Annotated[
        str,
        typer.Option("--pool", metavar="|".join(get_args(Pool)),
                     help="What a frame's vector is: the tower's pooled output, its CLS, or the "
                     "mean over cells; auto: the tower's own convention."),
    ] = "auto",
    force: Force = False,
    as_json: Json = False,
) -> Facts:  # fmt: skip
    """Turn every frame into one vector, of which only the changed cells are computed.

    Writes a safetensors file with features [T, D] and pts_seconds [T] (docs/token-file.md). Ctrl-C
    ends early; the frames so far are in a file whose name ends in .incomplete. Pressed again, it
    leaves none.
    """
    with as_usage_error():
        model.check()
        refuse_geometry(context)
        pool = checked_choice("--pool", pool, get_args(Pool))
        job = Job(video, output, force, gate.gate(), read.apply(), tower, model, pool)
    return job.run(_embedded, _embed_lines, as_json)


# --- tokenize ---------------------------------------------------------------------------------


def _tokenized(job: Job, path: str, target: Path) -> Facts:
    begin, stages = time.perf_counter(), StageSeconds()
    with (
        job.opened(path) as (video, described),
        TokenWriter(target, video, job.tower, job.gate, described, saved=job.model.saved,
                    replace=job.force) as writer,
    ):  # fmt: skip
        gate = writer.gate
        with job.meter(video, "tokenize") as meter:
            for chunk in until_asked(job, video, gate, writer.features, stages, meter):
                with stages.time("write"):
                    writer.add(chunk)
        facts = job.finish(writer.out, path, meter, gate, stages, begin)
    return facts | {
        "tokens": writer.out.tokens,
        "dense_tokens": meter.cells,
        "features": [writer.width, str(writer.dtype).removeprefix("torch.")],
    }


def _tokenize_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    width, dtype = facts["features"]
    whose = "the cells' own pixels (--tower gives a model's features)"
    if facts["tower"] is not None:
        whose = f"{width} {dtype} numbers a token, of {facts['tower']}"
    return {
        **_frames_line(facts),
        "tokens": f"{facts['tokens']:,} of {facts['dense_tokens']:,}: "
        f"{facts['kept_share']:.2%} kept",
        "features": whose,
        **_file_lines(facts),
    }


# --- embed ------------------------------------------------------------------------------------


def _embedded(job: Job, path: str, target: Path) -> Facts:
    assert job.tower is not None
    assert job.pool is not None
    begin, stages = time.perf_counter(), StageSeconds()
    with job.opened(path) as (video, described):
        pool = own_pool(job.tower, job.pool)
        gate, vectors = prepared_vectors(video, job.tower, job.gate.fresh(), pool)
        empty = vectors.no_vectors().to("cpu", job.model.saved)
        with VectorSpill(target, empty, described, job.force) as out:
            with job.meter(video, "embed") as meter:
                for chunk in until_asked(job, video, gate, vectors, stages, meter):
                    features = vectors.vectors.to("cpu", job.model.saved)
                    with stages.time("write"):
                        out.add(features, chunk.pts_seconds)
            facts = job.finish(out, path, meter, gate, stages, begin)
    dtype = str(empty.dtype).removeprefix("torch.")
    return facts | {"pool": pool, "features": [empty.shape[1], dtype]}


def _embed_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    width, dtype = facts["features"]
    return {
        **_frames_line(facts),
        "vectors": f"one a frame ({facts['pool']}), {width} {dtype} numbers each, of "
        f"{facts['tower']}",
        "kept": f"{facts['kept_share']:.2%} of the cells",
        **_file_lines(facts),
    }


def _frames_line(facts: Mapping[str, Any]) -> dict[str, str]:
    h, w = facts["cells"]
    frames = counted(facts["frames"], facts["gate"]["temporal_patch"])
    return {"video": f"{frames}, {h} x {w} cells each"}


def _file_lines(facts: Mapping[str, Any]) -> dict[str, str]:
    stages = ", ".join(f"{name} {spent:.2f}" for name, spent in facts["seconds"].items())
    return {
        "speed": f"{facts['frames_per_second']:,.0f} frames/s",
        "seconds": stages,
        "size": bytes_text(facts["output_bytes"]),
        "file": facts["output"],
    }
