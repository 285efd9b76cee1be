"""The work of ``patchgate inspect``, which alone needs matplotlib."""

import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import typer

from patchgate.beside import scratch_beside
from patchgate.cli.terminal import Meter, bytes_text
from patchgate.decode import Video, open_video
from patchgate.decode.source.source import Source
from patchgate.gate import Gate
from patchgate.pipeline import spare_threads
from patchgate.report import overlay, survey
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
        history = _first_pass(job, video, drafts.get(job.overlay) if job.overlay else None)
        facts = facts_of(job.video, history, job.gate)
        if job.output is not None:
            drawing = Drawing(
                job.video, job.video, job.gate, job.options, job.at, job.command, job.planned
            )
            comparing = partial(_comparing, job, video)
            facts |= draw(drawing, video, history, drafts[job.output], comparing)
        for path in targets:
            os.replace(drafts[path], os.path.realpath(path))
    for name, target in (("output", job.output), ("overlay", job.overlay)):
        facts[name] = None if target is None else str(target)
        facts[f"{name}_bytes"] = None if target is None else target.stat().st_size
    return facts


def _first_pass(job: Job, video: Video, draft: Path | None) -> History:
    """Counts every frame, and writes the overlay in the same pass."""
    gate = job.gate
    assert gate.size is not None
    cells = gate.size[0] // gate.settings.cell * (gate.size[1] // gate.settings.cell)
    with ExitStack() as stack:
        writer = None
        if draft is not None:
            aspect = survey.display_aspect(video, gate)
            writer = stack.enter_context(overlay.OverlayVideo(draft, gate, aspect))
        meter = stack.enter_context(_meter(job, video, "inspect"))
        both = stack.enter_context(closing(survey.side_by_side(video, gate)))

        def chunks() -> Iterator[TokenChunk]:
            for chunk, batches in both:
                if writer is not None:
                    writer.add(chunk, batches)
                yield chunk

        history = history_of(chunks(), cells, meter.show, gate.settings.temporal_patch)
        if not len(history.changed):
            raise ValueError(f"{job.video}: no frame there to be shown; nothing was written")
    return history


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


def typed(context: typer.Context) -> str:
    """Returns the command with the options that were given, quoted for a shell."""
    words = ["patchgate", str(context.info_name)]
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            continue
        if parameter.param_type_name == "argument":
            words.append(str(value))
            continue
        flags = parameter.opts if value is not False else parameter.secondary_opts
        for one in value if isinstance(value, (list, tuple)) else [value]:
            words += [max(flags, key=len), *([] if isinstance(one, bool) else [str(one)])]
    return shlex.join(words)
