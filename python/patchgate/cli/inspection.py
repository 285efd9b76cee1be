"""The work of ``patchgate inspect``, which alone needs matplotlib."""

import os
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import typer

from patchgate.beside import scratch_beside
from patchgate.cli.terminal import Meter, bytes_text
from patchgate.decode import Video, open_video
from patchgate.decode.source.source import Source
from patchgate.gate import Gate
from patchgate.pipeline import spare_threads
from patchgate.report import overlay, page, picture, survey
from patchgate.report.comparison import Comparison, compare
from patchgate.report.history import (
    Choice,
    History,
    counted,
    history_of,
    strip_frames,
    telling_frames,
)
from patchgate.report.planned import Planned
from patchgate.tokens import TokenChunk

PAGE_SUFFIXES = (".html", ".htm")
SUFFIXES = (*PAGE_SUFFIXES, *picture.SUFFIXES)
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
        facts = _facts(job, history)
        if job.output is not None:
            facts |= _draw(job, video, history, drafts[job.output])
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
            aspect = picture.display_aspect(video, gate)
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


def _draw(job: Job, video: Video, history: History, draft: Path) -> dict[str, Any]:
    """Writes the picture or the page, and returns the facts that it shows."""
    asked = sorted({history.frame_shown_at(second) for second in job.at})
    if draft.suffix.lower() in PAGE_SUFFIXES:
        return _draw_page(job, video, history, asked, draft)
    choices = [Choice(frame, "chosen") for frame in asked] or telling_frames(history)
    shown = list(survey.moments(job.video, job.gate, choices, **job.options))
    caption = picture.caption_of(job.video, video, history, job.gate)
    picture.save(picture.draw(history, shown, caption), draft)
    return {"moments": [_moment_facts(moment) for moment in shown]}


def _draw_page(
    job: Job, video: Video, history: History, asked: list[int], draft: Path
) -> dict[str, Any]:
    aspect = picture.display_aspect(video, job.gate)
    with _meter(job, video, "compare") as meter:
        comparison: Comparison[page.Shot] = compare(
            job.video, job.gate, strip_frames(history, page.MOMENTS, asked),
            lambda compared: page.shot_of(compared, job.gate, aspect), meter.show, **job.options,
        )  # fmt: skip
    name, facts = picture.printable(Path(job.video).name), page.video_facts(video, history)
    subject = page.Subject(name, facts, picture.printable(job.command), aspect)
    text = page.render(history, comparison, job.gate, subject, job.planned)
    draft.write_text(text, encoding="utf-8")
    return {
        "moments": [
            {
                **_moment_facts(shot),
                "adjacent_largest_sub_block_error": shot.adjacent_worst.error,
            }
            for shot in comparison.shots
        ],
        "largest_sub_block_error": float(comparison.error.max()),
        "adjacent": {
            "tokens": comparison.adjacent_tokens,
            "largest_sub_block_error": float(comparison.adjacent_error.max()),
        },
    }


def _meter(job: Job, video: Video, doing: str) -> Meter:
    tubelet = job.gate.settings.temporal_patch
    return Meter(video, doing, job.options["start"], job.options["end"], tubelet)


def _moment_facts(moment: survey.Moment | page.Shot) -> dict[str, Any]:
    return {
        "seconds": moment.pts_seconds,
        "label": moment.label,
        "largest_sub_block_error": moment.worst.error,
        "limit": moment.limit,
    }


def _facts(job: Job, history: History) -> dict[str, Any]:
    frames, tokens = len(history.changed), int(history.changed.sum())
    return {
        "video": job.video,
        "frames": frames,
        "tokens": tokens,
        "dense_tokens": frames * history.cells,
        "kept_share": tokens / (frames * history.cells),
        "moved_share": int(history.moved.sum()) / (frames * history.cells),
        "key_frame_seconds": history.pts_seconds[history.is_key].tolist(),
        "sampled": {
            f"{fps}_fps": {"frames": seen, "tokens": history.dense_tokens(seen)}
            for fps, seen in ((fps, history.frames_at(fps)) for fps in (1, 2))
        },
        "moments": [],
        "gate": asdict(job.gate.settings),
    }


def lines(facts: dict[str, Any]) -> dict[str, str]:
    """Puts the facts in lines for people."""
    sampled = ", ".join(
        f"{seen['tokens']:,} at {name.replace('_', ' ')}" for name, seen in facts["sampled"].items()
    )
    shown = (f"{m['seconds']:.2f} s" + (f" ({m['label']})" if m["label"] else "")
             for m in facts["moments"])  # fmt: skip
    every = counted(facts["frames"], facts["gate"]["temporal_patch"])
    said = {
        "tokens": f"{facts['tokens']:,} for all {every}: "
        f"{facts['kept_share']:.2%} of {facts['dense_tokens']:,}",
        "sampling": f"{sampled} (dense)",
        "key frames": f"{len(facts['key_frame_seconds']):,}",
        "shown": ", ".join(shown) or f"all {every}",
    }
    if "adjacent" in facts:
        said["worst error"] = (
            f"{facts['largest_sub_block_error']:.2f} grey levels; an adjacent-frame gate: "
            f"{facts['adjacent']['largest_sub_block_error']:.2f}"
        )
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
