"""Draws one picture of what the gate did to a video: moments, and the kept share over time."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from patchgate._check.text import escaped
from patchgate.decode import Video
from patchgate.gate import CHANGED, Gate
from patchgate.pipeline.features import PixelFeatures
from patchgate.report.cells import overlay
from patchgate.report.history import History, counted, unit
from patchgate.report.shares import PRINT, draw_shares, key_seconds, plain
from patchgate.report.survey import Moment, display_aspect

INK, FAINT = PRINT.ink, PRINT.faint

SUFFIXES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
_GAP, _PAGE = 0.08, 12.5  # inches: between panels, and of all panels at most
_STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 9, "text.parse_math": False}


@dataclass(frozen=True)
class Caption:
    """The words of the picture."""

    title: str  # the video's name
    facts: str  # its size, rate and length, and the gate's settings
    display_aspect: float  # width / height at which the grid is shown


def caption_of(
    path: str, video: Video, history: History, gate: Gate, features: PixelFeatures | None = None
) -> Caption:
    """Makes the words for a video, its gate, and what brings its frames to the grid."""
    assert gate.size is not None
    height, width = gate.size
    seconds = history.end - history.begin
    rate = f"{video.average_fps:.4g} fps" if video.average_fps else "unknown rate"
    settings = gate.settings
    fine = settings.motion_precision > 1
    step = f" in steps of 1/{settings.motion_precision} pixel" if fine else ""
    facts = [
        f"{video.width} x {video.height} {video.codec}, {rate}, {seconds:.1f} s",
        f"grid {width} x {height}, {width // settings.cell} x {height // settings.cell} cells",
        f"threshold {settings.threshold:g}, search radius {settings.search_radius}, "
        f"on_motion {settings.on_motion}{step}",
    ]
    aspect = display_aspect(video, gate, features)
    return Caption(printable(Path(path).name), "   ·   ".join(facts), aspect)


def printable(name: str) -> str:
    """Makes a file's name printable: its bytes may be no valid text, which fonts and pages refuse.

    Control characters are spelled out: see ``_check.text.escaped``.
    """
    return escaped(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def draw(history: History, moments: list[Moment], caption: Caption) -> Figure:
    """Draws the whole picture; ``save`` writes it."""
    with matplotlib.rc_context(_STYLE):
        rows, columns = (3, len(moments)) if len(moments) > 1 else (1, 3)
        aspect, gap = caption.display_aspect, _GAP if rows == 3 else 4 * _GAP
        panel = min(_PAGE / columns, 3.3 * aspect)  # inches wide
        wide = panel * columns + gap * (columns - 1)
        high = rows * panel / aspect + _GAP * (rows - 1)
        width, height = max(wide, 10) + 1.1, high + 4.45
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        left, top = 0.75 / width, 1 - 1.2 / height
        panels = figure.add_gridspec(
            rows, columns, hspace=_GAP / panel * aspect, wspace=gap / panel,
            left=left, right=left + wide / width, top=top, bottom=top - high / height,
        ).subplots(squeeze=False).reshape(3, -1)  # fmt: skip
        _draw_moments(panels, moments, aspect, roomy=panel > 2.7)
        _legend(panels[2 if rows == 3 else 0][0])
        below = figure.add_gridspec(
            1, 2, width_ratios=[2.3, 1], wspace=0.42, left=left, right=1 - 0.35 / width,
            top=2.45 / height, bottom=0.5 / height,
        )  # fmt: skip
        _draw_history(figure.add_subplot(below[0]), history, moments)
        _draw_counts(figure.add_subplot(below[1]), history)
        _draw_words(figure, height, history, caption)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes the picture in the format of the path's suffix."""
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in another script
        figure.savefig(path, dpi=120)


def _draw_words(figure: Figure, height: float, history: History, caption: Caption) -> None:
    tokens, frames = int(history.changed.sum()), len(history.changed)
    dense = frames * history.cells
    x = 0.75 / figure.get_figwidth()
    figure.text(x, 1 - 0.34 / height, caption.title, size=16, weight="bold", color=INK)
    figure.text(
        x, 1 - 0.60 / height,
        f"{tokens:,} tokens stand for all {counted(frames, history.tubelet)}: "
        f"{tokens / dense:.1%} of the dense "
        f"{dense:,}", size=11.5, color=INK,
    )  # fmt: skip
    figure.text(x, 1 - 0.81 / height, caption.facts, size=9, color=FAINT)


def _draw_moments(panels: Any, moments: list[Moment], aspect: float, *, roomy: bool) -> None:
    for axes in panels.flat:
        axes.axis("off")
    for number, (column, moment) in enumerate(zip(panels.T, moments, strict=False), 1):
        pictures = [
            moment.original.permute(1, 2, 0).numpy(),
            moment.rebuilt.permute(1, 2, 0).numpy(),
            overlay(moment.original, moment.kind),
        ]
        for axes, picture in zip(column, pictures, strict=True):
            axes.axis("on")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            axes.imshow(picture, aspect=picture.shape[1] / picture.shape[0] / aspect)
        kept = float((moment.kind == CHANGED).float().mean())
        column[0].set_title(
            f"{number}   {moment.pts_seconds:.2f} s  ·  "
            + (f"{moment.label}  ·  {kept:.1%} kept" if roomy else f"{kept:.1%}"),
            size=10 if roomy else 9, color=INK, pad=5,
        )  # fmt: skip
        error, limit = f"error {moment.error:.2f}, limit {moment.limit:g}", " grey levels"
        _note(column[1], f"largest sub-block {error}{limit}" if roomy else error)
    for axes, name in zip(panels[:, 0], ("original", "rebuilt from tokens", "cells"), strict=True):
        axes.set_ylabel(name, size=10, color=INK, labelpad=5)


def _note(axes: Axes, text: str) -> None:
    axes.text(
        0.985, 0.03, text, transform=axes.transAxes, ha="right", size=8, color="white",
        bbox={"facecolor": "black", "alpha": 0.6, "pad": 2.5, "linewidth": 0},
    )  # fmt: skip


def _legend(axes: Axes) -> None:
    hands = [
        Patch(facecolor=PRINT.changed, label="changed: a new token"),
        Patch(facecolor=PRINT.moved, label="moved: reused with a vector"),
        Patch(facecolor="#b5b5b5", label="static: reused in place"),
    ]
    axes.legend(
        handles=hands, loc="upper left", bbox_to_anchor=(-0.005, -0.02), ncols=3, frameon=False,
        fontsize=9, labelcolor=INK, handlelength=1.2, columnspacing=1.8, borderaxespad=0.3,
    )  # fmt: skip


def _draw_history(axes: Axes, history: History, moments: list[Moment]) -> None:
    draw_shares(axes, history, PRINT)
    top = axes.get_ylim()[1]
    for number, moment in enumerate(moments, 1):
        axes.axvline(moment.pts_seconds, color=INK, linewidth=0.8, ymax=0.93)
        axes.text(
            moment.pts_seconds, top * 0.96, str(number), size=8, ha="center", va="center",
            color="white", bbox={"boxstyle": "circle,pad=0.25", "facecolor": INK, "linewidth": 0},
        )  # fmt: skip
    axes.set(xlabel="seconds", ylabel="share of cells")
    axes.set_title("kept share over time", size=10, color=INK, loc="left", pad=9)
    text, keys = "key frame (start, scene cut): every cell is a token", int(history.is_key.sum())
    count = f"{keys:,} {unit(history.tubelet)}"
    text = f"\u25bc {text}" if key_seconds(history) or not keys else f"{count} are {text}"
    axes.set_title(text, size=8, color=FAINT, loc="right", pad=9)


def _draw_counts(axes: Axes, history: History) -> None:
    """Draws the tokens and the frames seen, beside those of other ways to look at the video."""
    frames, cells = len(history.changed), history.cells
    sampled = {f"{fps} fps, dense": history.frames_at(fps) for fps in (1, 2)}
    rows = [
        (name, history.dense_tokens(count), f"{count:,} frames", "#b5b5b5")
        for name, count in sampled.items()
    ]
    every = f"{frames:,} {unit(history.tubelet)}"
    rows.append(("every frame, dense", frames * cells, every, "#b5b5b5"))
    rows.append(("every frame, gated", int(history.changed.sum()), every, PRINT.changed))
    names, tokens, seen, colours = zip(*rows, strict=True)
    axes.barh(names, tokens, color=colours, height=0.62)
    for row, (count, looked_at) in enumerate(zip(tokens, seen, strict=True)):
        axes.text(count, row, f"  {count:,}  ({looked_at})", va="center", size=8,
                  color=INK)  # fmt: skip
    axes.set_xlim(0, max(tokens) * 1.9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_title("tokens", size=10, color=INK, loc="left", pad=9)
    axes.set_xticks([])
    plain(axes, PRINT)
    axes.spines.bottom.set_visible(False)
    axes.tick_params(length=0)
