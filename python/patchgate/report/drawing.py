"""Draws the report of a video as a page or a picture, which plays the video again."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from patchgate.decode import Video
from patchgate.gate import Gate
from patchgate.pipeline.features import PixelFeatures
from patchgate.report import page, picture, survey
from patchgate.report.comparison import Comparison, compare
from patchgate.report.costs import Costs
from patchgate.report.facts import moment_facts
from patchgate.report.history import Choice, History, OnChunk, strip_frames, telling_frames
from patchgate.report.planned import Planned

PAGE_SUFFIXES = (".html", ".htm")
SUFFIXES = (*PAGE_SUFFIXES, *picture.SUFFIXES)


class Drawing(NamedTuple):
    """What is drawn, and how the video was read."""

    video: Any  # that can be opened again
    name: str
    gate: Gate
    options: dict[str, Any]  # of open_video
    at: list[float]  # moments asked for, in seconds
    command: str  # that makes the page
    planned: Planned | None = None  # for the page
    spent: Costs | None = None  # for the page
    features: PixelFeatures | None = None  # brings frames to the grid; None: as ``fit`` says


def draw(
    drawing: Drawing,
    video: Video,
    history: History,
    draft: Path,
    progress: Callable[[], AbstractContextManager[OnChunk | None]] = nullcontext,
) -> dict[str, Any]:
    """Writes the picture or the page, by the suffix of ``draft``, and returns the facts it shows.

    Args:
        video: the same video, open.
        progress: opens what is called with each chunk.
    """
    asked = sorted({history.frame_shown_at(second) for second in drawing.at})
    if draft.suffix.lower() in PAGE_SUFFIXES:
        return _draw_page(drawing, video, history, asked, draft, progress)
    choices = [Choice(frame, "chosen") for frame in asked] or telling_frames(history)
    shown = list(survey.moments(
        drawing.video, drawing.gate, choices, drawing.features, **drawing.options
    ))  # fmt: skip
    caption = picture.caption_of(drawing.name, video, history, drawing.gate, drawing.features)
    picture.save(picture.draw(history, shown, caption), draft)
    return {"moments": [moment_facts(moment) for moment in shown]}


def _draw_page(
    drawing: Drawing,
    video: Video,
    history: History,
    asked: list[int],
    draft: Path,
    progress: Callable[[], AbstractContextManager[OnChunk | None]],
) -> dict[str, Any]:
    gate, aspect = drawing.gate, survey.display_aspect(video, drawing.gate, drawing.features)
    with progress() as show:
        comparison: Comparison[page.Shot] = compare(
            drawing.video, gate, strip_frames(history, page.MOMENTS, asked),
            lambda compared: page.shot_of(compared, gate, aspect), show, drawing.features,
            **drawing.options,
        )  # fmt: skip
    name, facts = picture.printable(Path(drawing.name).name), page.video_facts(video, history)
    subject = page.Subject(name, facts, picture.printable(drawing.command), aspect)
    text = page.render(history, comparison, gate, subject, drawing.planned, drawing.spent)
    draft.write_text(text, encoding="utf-8")
    return {
        "moments": [
            {
                **moment_facts(shot),
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
