"""What tokenize and embed do with each video around their own work: open, describe, finish."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from patchgate.cli.commands.tower_options import TowerOptions
from patchgate.cli.grids import sized
from patchgate.cli.outputs import Targets, not_the_video
from patchgate.cli.several import Facts, Several
from patchgate.cli.signals import NOTHING, Stop, Stopped
from patchgate.cli.terminal import Meter, reported
from patchgate.cli.towers import loaded
from patchgate.corpus.provenance import about
from patchgate.decode import Video, open_video
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import Gate
from patchgate.pipeline import StageSeconds, TokenChunk, spare_threads, token_chunks
from patchgate.pipeline.embedding import own_pool
from patchgate.pipeline.features import Features
from patchgate.pipeline.fitting import fitting_gate
from patchgate.pipeline.frames import until_used_up
from patchgate.report.costs import CostMeter, Reader
from patchgate.report.history import counted
from patchgate.report.survey import side_by_side
from patchgate.tokens.spill import TokenSpill
from patchgate.tokens.vectors import VectorSpill


@dataclass
class Job:
    """What was asked for, for all videos."""

    videos: list[str]
    output: str
    force: bool
    gate: Gate
    options: dict[str, Any]  # of open_video
    name: str | None  # the tower's
    model: TowerOptions
    pool: str | None = None  # of embed
    grid: str = "own"  # the value of --grid
    reader: Reader | None = None  # who reads the tokens; None: costs are not counted
    targets: Targets = field(init=False)
    stop: Stop = field(init=False)
    tower: GatedTower | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.targets = Targets(self.videos, self.output, self.force)

    def run(
        self,
        work: "Callable[[Job, str, Path], Facts]",
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
                        if self.pool is not None:
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
    def opened(self, path: str) -> Iterator[tuple[Video, dict[str, str], Gate]]:
        """Opens a video, and yields it with the metadata of its file, and the gate for it."""
        stop = self.stop
        with stop.opening():
            video = open_video(path, **self.options)
        with video:
            with stop.opening():
                gate = sized(self.gate, self.grid, video, self.options)
                described = about(path, video, self.settings(gate), stop.check)
            stop.video = video
            if stop.asked_by:  # between the two
                raise Stopped(stop.exit_code)
            yield video, described, gate

    def settings(self, gate: Gate) -> dict[str, Any]:
        """What was asked for, as JSON can hold it; ``gate`` is the one for a video."""
        asked = {name: self.options[name] for name in ("start", "end", "fps", "stream")}
        found: dict[str, Any] = {"gate": asdict(gate.settings), **asked}
        if self.tower is not None:
            fidelity = self.tower.fidelity
            if self.pool is not None:
                fidelity = fidelity.for_vectors(self.model.tolerance)
            found |= {"tower": self.name, "dtype": self.model.dtype, "fidelity": asdict(fidelity)}
        if self.pool is not None:
            found["pool"] = self.pool
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


def until_asked(
    job: Job,
    video: Video,
    gate: Gate,
    features: Features,
    stages: StageSeconds,
    meter: Meter,
    spending: CostMeter | None = None,
) -> Iterator[TokenChunk]:
    """Yields the chunks of a video until somebody asks for an end."""
    with closing(_chunks(video, gate, features, stages, spending)) as chunks:
        for chunk in until_used_up(chunks):
            job.stop.check()
            yield chunk
            meter.show(chunk)
            if job.stop.asked_by:
                break


def _chunks(
    video: Video,
    gate: Gate,
    features: Features,
    stages: StageSeconds,
    spending: CostMeter | None,
) -> Generator[TokenChunk, None, None]:
    """Yields the chunks of a video, and counts what they cost."""
    if spending is None:
        yield from token_chunks(video, gate, stages, features)
        return
    with closing(side_by_side(video, gate, stages, features)) as both:
        for chunk, batches in both:
            with stages.time("costs"), spare_threads(video.threads):
                spending.add(chunk, batches)
            yield chunk
