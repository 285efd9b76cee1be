"""The work of ``patchgate inspect``, which alone needs matplotlib."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from patchgate.beside import scratch_beside
from patchgate.cli.grids import sized
from patchgate.cli.terminal import Meter, bytes_text
from patchgate.decode import Video, open_video
from patchgate.decode.source.source import Source
from patchgate.gate import Gate
from patchgate.pipeline import spare_threads
from patchgate.report import overlay, survey
from patchgate.report.costs import CostMeter, Costs, Reader
from patchgate.report.drawing import SUFFIXES as SUFFIXES
from patchgate.report.drawing import Drawing, draw
from patchgate.report.facts import facts_of, lines_of
from patchgate.report.history import History, OnChunk, history_of
from patchgate.report.planned import Planned
from patchgate.tokens import TokenChunk

OVERLAY_SUFFIXES = overlay.SUFFIXES


class Job(NamedTuple):
    """The outputs and options that ``patchgate inspect`` was asked for."""

    video: str
    output: Path | None  # a page or a picture
    overlay: Path | None  # a video
    gate: Gate
    options: dict[str, Any]  # of open_video
    at: list[float]  # moments asked for, in seconds
    command: str  # as typed
    grid: str = "own"  # the value of --grid
    reader: Reader = Reader()
    planned: Planned | None = None  # for the page


def inspect_video(job: Job) -> dict[str, Any]:
    """Writes what was asked for, and returns the facts that --json prints."""
    if job.output is not None:
        Source(job.video).need_repeatable("a page or picture of it needs several passes")
    with ExitStack() as stack:
        targets = [path for path in (job.output, job.overlay) if path is not None]
        drafts = {
            path: stack.enter_context(scratch_beside(path)) / f"drawn{path.suffix}"
            for path in targets
        }
        video = stack.enter_context(open_video(job.video, **job.options))
        stack.enter_context(spare_threads(video.threads))
        job = job._replace(gate=sized(job.gate, job.grid, video, job.options))
        overlay_draft = drafts.get(job.overlay) if job.overlay else None
        history, spent = _first_pass(job, video, overlay_draft)
        facts = facts_of(job.video, history, job.gate, spent)
        if job.output is not None:
            drawing = Drawing(
                job.video, job.video, job.gate, job.options, job.at, job.command, job.planned, spent
            )
            comparing = partial(_comparing, job, video)
            facts |= draw(drawing, video, history, drafts[job.output], comparing)
        for path in targets:
            os.replace(drafts[path], os.path.realpath(path))
    for name, target in (("output", job.output), ("overlay", job.overlay)):
        facts[name] = None if target is None else str(target)
        facts[f"{name}_bytes"] = None if target is None else target.stat().st_size
    return facts


def _first_pass(job: Job, video: Video, draft: Path | None) -> tuple[History, Costs]:
    """Counts every frame and what it costs, and writes the overlay in the same pass."""
    gate = job.gate
    assert gate.size is not None
    cells = gate.size[0] // gate.settings.cell * (gate.size[1] // gate.settings.cell)
    with ExitStack() as stack:
        writer = None
        if draft is not None:
            aspect = survey.display_aspect(video, gate)
            writer = stack.enter_context(overlay.OverlayVideo(draft, gate, aspect))
        meter = stack.enter_context(_meter(job, video, "inspect"))
        spending = CostMeter.of(gate, job.reader, until_fps=job.options["fps"])
        both = stack.enter_context(closing(survey.side_by_side(video, gate)))

        def chunks() -> Iterator[TokenChunk]:
            for chunk, batches in both:
                if writer is not None:
                    writer.add(chunk, batches)
                spending.add(chunk, batches)
                yield chunk

        history = history_of(chunks(), cells, meter.show, gate.settings.temporal_patch)
        if not len(history.changed):
            raise ValueError(f"{job.video}: no frame there to be shown; nothing was written")
    return history, spending.costs()


@contextmanager
def _comparing(job: Job, video: Video) -> Iterator[OnChunk]:
    with _meter(job, video, "compare") as meter:
        yield meter.show


def _meter(job: Job, video: Video, doing: str) -> Meter:
    tubelet = job.gate.settings.temporal_patch
    return Meter(video, doing, job.options["start"], job.options["end"], tubelet)


def lines(facts: dict[str, Any]) -> dict[str, str]:
    """Puts the facts in lines for people."""
    said = lines_of(facts)
    for name in ("output", "overlay"):
        if facts[name] is not None:
            said[name] = f"{facts[name]}, {bytes_text(facts[f'{name}_bytes'])}"
    return said
