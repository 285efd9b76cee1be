"""The commands tokenize and embed: tokens, or one vector a frame, of videos, as files."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
import typer

from patchgate._check import checked_choice
from patchgate.cli.commands import Json, app, not_the_video
from patchgate.cli.options import GateOptions, ReadOptions, as_usage_error, spread
from patchgate.cli.outputs import SUFFIX, Targets
from patchgate.cli.provenance import about
from patchgate.cli.several import Facts, Several
from patchgate.cli.signals import NOTHING, Stop, Stopped
from patchgate.cli.terminal import Meter, bytes_text, reported
from patchgate.cli.towers import TowerOptions, loaded, refuse_geometry
from patchgate.decode import Video, open_video
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate
from patchgate.pipeline import StageSeconds, TokenChunk, token_chunks
from patchgate.pipeline.collect import empty_chunk
from patchgate.pipeline.embed import Pool, own_pool, prepared_vectors
from patchgate.pipeline.features import Features
from patchgate.pipeline.fitting import fitting_gate, prepared
from patchgate.pipeline.frames import until_used_up
from patchgate.report.history import counted
from patchgate.tokens.layout import layout_of
from patchgate.tokens.spill import TokenSpill
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
_TOWER = (
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
        typer.Option("--tower", metavar="NAME|FOLDER", help=_TOWER, show_default="tokens are "
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
        model.check()
        if tower is not None:
            refuse_geometry(context)
        elif model != TowerOptions():
            raise ValueError("--dtype, --save-dtype, --tolerance: they belong to --tower")
        job = _Job(video, output, force, gate.gate(), read.apply(), tower, model)
    return job.run(_tokenized, _tokenize_lines, as_json)


@app.command()
@spread
def embed(
    context: typer.Context,
    video: Videos,
    output: Output,
    tower: Annotated[
        str, typer.Option("--tower", metavar="NAME|FOLDER", help=_TOWER, show_default=False)
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
        checked_choice("--pool", pool, get_args(Pool))
        job = _Job(video, output, force, gate.gate(), read.apply(), tower, model, pool)
    return job.run(_embedded, _embed_lines, as_json)


# --- what both have ---------------------------------------------------------------------------


@dataclass
class _Job:
    """What was asked for, for all videos."""

    videos: list[str]
    output: str
    force: bool
    gate: Gate
    options: dict[str, Any]  # of open_video
    name: str | None  # the tower's
    model: TowerOptions
    pool: str = "auto"
    targets: Targets = field(init=False)
    stop: Stop = field(init=False)
    tower: GatedTower | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.targets = Targets(self.videos, self.output, self.force)

    def run(
        self,
        work: "Callable[[_Job, str, Path], Facts]",
        lines: Callable[[Facts], dict[str, str]],
        as_json: bool,
    ) -> Facts:
        """Loads the tower and does the work with each video."""
        with Stop() as self.stop:
            with reported():
                self.targets.check()
                for path in self.targets.paths:
                    for video in self.videos:
                        not_the_video(video, path)
                with self.stop.opening():
                    if self.name is not None:
                        self.tower = loaded(self.name, self.model, self.gate.settings)
                        self.pool = own_pool(self.tower, self.pool)
                        self.gate = fitting_gate(self.tower, None, None, {})
            several = Several(self.videos, self.targets, self.stop, as_json)
            with self._folder():
                return several.each(partial(work, self), lines)

    @contextmanager
    def _folder(self) -> Iterator[None]:
        with reported():
            self.targets.__enter__()
        try:
            yield
        finally:
            self.targets.__exit__()

    @contextmanager
    def opened(self, path: str) -> Iterator[tuple[Video, dict[str, str]]]:
        """Opens a video, and yields it with the metadata of its file."""
        stop = self.stop
        with stop.opening():
            video = open_video(path, **self.options)
        with video:
            with stop.opening():
                described = about(path, video, self.settings(), stop.check)
            stop.video = video
            if stop.asked_by:  # between the two
                raise Stopped(stop.exit_code)
            yield video, described

    def settings(self) -> dict[str, Any]:
        """What was asked for, as JSON can hold it."""
        asked = {name: self.options[name] for name in ("start", "end", "fps", "stream")}
        found: dict[str, Any] = {"gate": asdict(self.gate.settings), **asked}
        if self.tower is not None:
            found |= {"tower": self.name, "dtype": self.model.dtype, "pool": self.pool,
                      "fidelity": asdict(self.tower.fidelity)}  # fmt: skip
        return {name: _plain(value) for name, value in found.items()}

    def meter(self, video: Video, doing: str) -> Meter:
        tubelet = self.gate.settings.temporal_patch
        return Meter(video, doing, self.options["start"], self.options["end"], tubelet)

    def finish(
        self, out: TokenSpill | VectorSpill, path: str, meter: Meter, gate: Gate,
        stages: StageSeconds, begin: float,
    ) -> Facts:  # fmt: skip
        """Puts the file in its place, and returns the facts that both commands have."""
        stop, tubelet = self.stop, gate.settings.temporal_patch
        if not out.frames:
            if stop.asked_by:
                raise Stopped(stop.exit_code)
            raise ValueError(f"{path}: no frame there to be looked at; {NOTHING}")
        complete = stop.asked_by is None
        with stages.time("write"):
            written = out.finish(stop.check, complete)
        stop.settle()
        seconds = time.perf_counter() - begin
        height, width = gate.size or (0, 0)
        return {
            "video": path,
            "output": str(written),
            "output_bytes": written.stat().st_size,
            "frames": out.frames,  # tubelets, if the temporal patch is 2
            "kept_share": meter.tokens / meter.cells,
            "grid": [height, width],
            "cells": [height // gate.settings.cell, width // gate.settings.cell],
            "gate": asdict(gate.settings),
            "tower": self.name,
            "frames_per_second": out.frames * tubelet / seconds,
            "seconds": {**stages.seconds, "total": seconds},
            "interrupted": not complete,
            "complete": complete,
            "held": counted(out.frames, tubelet),
        }


def _plain(value: Any) -> Any:
    """Infinity, which is no JSON, as a word."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return str(value) if value == float("inf") else value


def _until_asked(
    job: _Job, video: Video, gate: Gate, features: Features, stages: StageSeconds, meter: Meter
) -> Iterator[TokenChunk]:
    """Yields the chunks of a video until somebody asks for an end."""
    with closing(token_chunks(video, gate, stages, features)) as chunks:
        for chunk in until_used_up(chunks):
            job.stop.check()
            yield chunk
            meter.show(chunk)
            if job.stop.asked_by:
                break


# --- tokenize ---------------------------------------------------------------------------------


def _tokenized(job: _Job, path: str, target: Path) -> Facts:
    begin, stages = time.perf_counter(), StageSeconds()
    with job.opened(path) as (video, described):
        gate, features = prepared(video, job.tower, job.gate.fresh())
        layout, empty = None, empty_chunk(gate, features)
        if job.tower is None:
            layout = layout_of(gate, video.colour.matrix)
        else:
            empty = _saved(empty, job.model.saved)
        with TokenSpill(target, empty, layout, described, job.force) as out:
            with job.meter(video, "tokenize") as meter:
                for chunk in _until_asked(job, video, gate, features, stages, meter):
                    with stages.time("write"):
                        out.add(chunk if job.tower is None else _saved(chunk, job.model.saved))
            facts = job.finish(out, path, meter, gate, stages, begin)
    dtype = str(empty.features.dtype).removeprefix("torch.")
    return facts | {
        "tokens": out.tokens,
        "dense_tokens": meter.cells,
        "features": [empty.features.shape[1], dtype],
    }


def _saved(chunk: TokenChunk, dtype: torch.dtype) -> TokenChunk:
    return chunk._replace(features=chunk.features.to("cpu", dtype))


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


def _embedded(job: _Job, path: str, target: Path) -> Facts:
    assert job.tower is not None
    begin, stages = time.perf_counter(), StageSeconds()
    with job.opened(path) as (video, described):
        pool = own_pool(job.tower, job.pool)
        gate, vectors = prepared_vectors(video, job.tower, job.gate.fresh(), pool)
        empty = vectors.no_vectors().to("cpu", job.model.saved)
        with VectorSpill(target, empty, described, job.force) as out:
            with job.meter(video, "embed") as meter:
                for chunk in _until_asked(job, video, gate, vectors, stages, meter):
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
