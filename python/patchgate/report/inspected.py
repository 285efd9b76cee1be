"""``patchgate.inspect``: what the gate did to a video, as an object to look at and to save.

Letters: T frames (or tubelets), C planes, H W pixels, h w cells.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple, Unpack, cast

from patchgate._signature import spelled
from patchgate.beside import written_beside
from patchgate.colour import yuv_to_rgb
from patchgate.decode import Video, open_video
from patchgate.decode.source.access import AccessKwargs
from patchgate.decode.source.source import Source
from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate import CHANGED, Gate, GateSettings
from patchgate.gate.settings import GEOMETRY, GateRules
from patchgate.pipeline import spare_threads
from patchgate.pipeline.features import PixelFeatures
from patchgate.pipeline.fitting import fitting_gate, placed
from patchgate.pipeline.given import in_memory
from patchgate.pipeline.options import parted
from patchgate.report import survey
from patchgate.report.costs import CostMeter, Reader
from patchgate.report.facts import facts_of, lines_of
from patchgate.report.history import History, history_of, telling_frames
from patchgate.report.survey import Moment, Spot
from patchgate.tokens import TokenChunk, VideoTokens, reconstruct
from patchgate.tokens.notebook import share_plot


class InspectKwargs(GateRules, AccessKwargs, total=False):
    """The keywords of ``inspect`` besides its own arguments; ``inspect`` documents them."""

    chunk: int
    threads: int | None


class _Seen(NamedTuple):
    """Where the pictures of a report come from."""

    gate: Gate  # its settings, as far as they are known
    aspect: float  # width / height at which the grid is shown
    moments: Callable[[], list[Moment]]
    write: Callable[[Path], dict[str, Any]] | None  # None: only what the notebook shows can be


class Report:
    """What the gate did to a video: what ``inspect`` returns. A notebook shows it.

    Attributes:
        facts: the numbers, by name, as ``patchgate inspect --json`` prints them.
        history: the counts of every frame: ``pts_seconds``, ``changed``, ``moved``, ...
    """

    def __init__(self, facts: dict[str, Any], history: History, seen: _Seen) -> None:
        self.facts, self.history, self._seen = facts, history, seen
        self._moments: list[Moment] | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report: a page (.html), or one picture (.png, .jpg, .pdf, .svg) of a video.

        The page compares every frame with what its tokens rebuild, and plays the video again for
        that. The page of tokens, which are without the video, is what a notebook shows. The file
        is written beside its place and moved there when it is complete.

        Raises:
            OSError: it cannot be written there.
            ValueError: the name has another ending, or is the video's own; there is no picture of
                tokens without their video.
        """
        from patchgate.report.drawing import PAGE_SUFFIXES, SUFFIXES  # matplotlib takes its time

        out, source = Path(path), str(self.facts["video"])
        only: tuple[str, ...] = SUFFIXES
        why = ""
        if self._seen.write is None:
            only, why = PAGE_SUFFIXES, " (a picture of tokens needs their video beside them)"
        if out.suffix.lower() not in only:
            expected = f"a name that ends in {', '.join(only)}{why}"
            raise ValueError(f"save: expected {expected}, got {out}")
        if out.exists() and os.path.exists(source) and out.samefile(source):
            raise ValueError(f"save: {out} is the video itself; give another name to write to")
        with written_beside(out) as whole:
            draft = whole.with_suffix(out.suffix)
            if self._seen.write is None:
                draft.write_text(_document(self._repr_html_()), encoding="utf-8")
            else:
                self.facts |= self._seen.write(draft)
            draft.rename(whole)

    def __repr__(self) -> str:
        lines = {name: text for name, text in lines_of(self.facts).items() if name != "shown"}
        return "\n".join([f"Report of {self.facts['video']}", *(f"  {name}: {text}"
                          for name, text in lines.items())])  # fmt: skip

    def _repr_html_(self) -> str:
        """Returns what a notebook shows. The first time, it plays the video up to the last moment
        that is shown.
        """
        from patchgate.report.images import thumb  # matplotlib takes its time

        if self._moments is None:
            self._moments = self._seen.moments()
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(text)}</td></tr>'
            for name, text in lines_of(self.facts).items()
            if name != "shown"
        )
        shots = "".join(
            f'<figure style="display:inline-block;margin:0.3em">'
            f'<img alt="cells at {moment.pts_seconds:.2f} s" '
            f'src="{thumb(moment, self._seen.gate, self._seen.aspect)}"/>'
            f"<figcaption>{moment.pts_seconds:.2f} s, {escape(moment.label)}: "
            f"{float((moment.kind == CHANGED).double().mean()):.1%} kept</figcaption></figure>"
            for moment in self._moments
        )
        moved = self.history.moved.double() / self.history.cells
        plot = share_plot(self.history.kept_share, moved)
        title = escape(Path(str(self.facts["video"])).name)
        return f"<div><b>{title}</b><table>{rows}</table>{plot}<div>{shots}</div></div>"


def _document(body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>patchgate report</title></head><body>{body}</body></html>\n"
    )


@spelled(GateSettings, open_video, leave_out=(*GEOMETRY, "device", "errors", "fallback"))
def inspect(
    video: Any,
    tower: GatedTower | None = None,
    gate: Gate | None = None,
    size: int | tuple[int, int] | None = None,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    **options: Unpack[InspectKwargs],
) -> Report:
    """Plays a video through the gate, or looks at its tokens, and says what was kept when.

    Args:
        video: a path or bytes; or ``VideoTokens``, which the other arguments do not fit.
        tower: a tower made by ``gated``, whose grid and rules are used. It computes nothing.
        gate, size, fps, start, end, options: as in ``patchgate.tokenize``, on the CPU.

    Returns:
        A ``Report`` with ``facts``, ``history`` and ``save``. It is shown by a notebook.

    Raises:
        OSError, TypeError, ValueError: in the cases in which ``patchgate.tokenize`` raises them;
            there is no frame; the video can be read only once.
    """
    rules, open_options = parted("inspect", options, gate, InspectKwargs)
    if isinstance(video, VideoTokens):
        given = {"tower": tower, "gate": gate, "size": size, "fps": fps, "start": start, "end": end}
        named = [name for name, value in given.items() if value is not None] + list(options)
        if named:
            raise ValueError(
                f"inspect: {', '.join(named)}: these belong to a video, got tokens, which have "
                "been through a gate already"
            )
        return _of_tokens(video)
    if isinstance(video, Video) or in_memory(video):
        raise TypeError(
            f"inspect: expected a path, bytes or VideoTokens, got {type(video).__name__}; frames "
            "in memory become tokens first: inspect(tokenize(frames, fps=...))"
        )
    plain = fitting_gate(tower, gate, size, rules)
    return _of_video(video, tower, plain, {"fps": fps, "start": start, "end": end, **open_options})


def _of_video(video: Any, tower: GatedTower | None, gate: Gate, options: dict[str, Any]) -> Report:
    source = Source(video)
    source.need_repeatable("a report of it needs several passes")
    with open_video(video, **options) as opened, spare_threads(opened.threads):
        sized, spec = gate, None
        if tower is not None:
            tower, own = placed(opened, tower)
            sized, spec = gate.fresh(size=own), tower.pixel_spec
        features = survey.pixels_of(sized, spec)
        f = sized.settings.temporal_patch
        assert sized.size is not None
        cells = math.prod(side // sized.settings.cell for side in sized.size)
        meter = CostMeter(sized, features.to_grid, Reader(), until_fps=options["fps"])
        counted = _counted(opened, sized, features, meter)
        history = history_of(counted, cells, None, f)
        if not len(history.changed):
            raise ValueError(f"{source.name}: no frame there to be shown")
        aspect = survey.display_aspect(opened, sized, features)
    choices, spent = telling_frames(history), meter.costs()

    def moments() -> list[Moment]:
        return list(survey.moments(video, sized, choices, features, **options))

    def write(draft: Path) -> dict[str, Any]:
        from patchgate.report.drawing import Drawing, draw  # matplotlib takes its time

        command = f"patchgate.inspect({source.name!r})"
        drawing = Drawing(
            video, source.name, sized, options, [], command, spent=spent, features=features
        )
        with open_video(video, errors="ignore", **options) as opened, spare_threads(opened.threads):
            return draw(drawing, opened, history, draft)

    seen = _Seen(sized, aspect, moments, write)
    return Report(facts_of(source.name, history, sized, spent), history, seen)


def _counted(
    video: Video, gate: Gate, features: PixelFeatures, meter: CostMeter
) -> Iterator[TokenChunk]:
    with closing(survey.side_by_side(video, gate, None, features)) as both:
        for chunk, batches in both:
            meter.add(chunk, batches)
            yield chunk


def _of_tokens(tokens: VideoTokens) -> Report:
    t, h, w = tokens.shape
    if not t:
        raise ValueError("inspect: these tokens have no frame to be shown")
    layout = tokens.layout
    tubelet = 1 if layout is None else layout.temporal_patch
    history = history_of([tokens._chunk()], h * w, None, tubelet)
    known = {"temporal_patch": tubelet}
    gate = Gate(patch=1, temporal_patch=tubelet, sub_blocks=1)
    if layout is not None:
        known |= {"cell": layout.cell, "motion_precision": layout.motion_precision}
        precision = cast("Literal[1, 2, 4]", layout.motion_precision)
        gate = gate.fresh(patch=layout.cell, motion_precision=precision)
    emitted = int(tokens.cu_seqlens[-1] - tokens.cu_seqlens[0])
    facts = {
        **facts_of("VideoTokens", history, gate),
        "tokens": emitted,
        "kept_share": tokens.kept_share,
        "gate": known,
    }
    seen = _Seen(gate, w / h, lambda: _rebuilt_moments(tokens, history), None)
    return Report(facts, history, seen)


def _rebuilt_moments(tokens: VideoTokens, history: History) -> list[Moment]:
    """Rebuilds the moments that say most from the tokens; none if these hold no pixels."""
    if tokens.layout is None:
        return []
    choices = {choice.frame: choice.label for choice in telling_frames(history)}
    pixels = replace(tokens, features=tokens.features.cpu())
    pictures = reconstruct.pictures_at(
        pixels._chunk(), tokens.layout, _on_cpu(tokens), sorted(choices)
    )
    found = []
    for frame, picture in pictures:
        planes = picture[0]  # [C, H, W], of a tubelet's first frame
        three = planes.expand(3, -1, -1) if len(planes) == 1 else None
        rgb = yuv_to_rgb(planes, tokens.layout.matrix) if three is None else three
        found.append(
            Moment(frame, choices[frame], float(tokens.pts_seconds[frame]), rgb, rgb,
                   tokens.kind[frame], tokens.motion[frame], Spot(0.0, 0, 0), 0.0)
        )  # fmt: skip
    return found


def _on_cpu(tokens: VideoTokens) -> Any:
    return None if tokens.start_picture is None else tokens.start_picture.cpu()
