"""One picture of what the gate did to a video: moments above, the kept share over time below.

Letters: H W pixels, h w cells, n moments, B bins of the time axis.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, PercentFormatter
from torch import Tensor

from patchgate.decode import Video
from patchgate.gate import CHANGED, MOVED, STATIC, Gate
from patchgate.survey import History, Moment

# Okabe and Ito's palette: told apart with any colour vision, and by lightness in grey.
CHANGED_COLOUR = (213, 94, 0)  # vermilion
MOVED_COLOUR = (86, 180, 233)  # sky blue
INK, FAINT = "#222222", "#8a8a8a"

SUFFIXES = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
_BINS = 900  # of the time axis: more cannot be told apart in print
_MAX_MARKS = 200  # key frames drawn one by one; more would be a black bar
_GAP, _PAGE = 0.08, 12.5  # inches: between panels, and of all panels at most
_STYLE: Any = {"font.family": "DejaVu Sans", "font.size": 9, "text.parse_math": False}


@dataclass(frozen=True)
class Caption:
    """What the picture says in words."""

    title: str  # the video's name
    facts: str  # its size, rate and length, and the gate's settings
    display_aspect: float  # width / height at which the grid is shown


def caption_of(path: str, video: Video, history: History, gate: Gate) -> Caption:
    """The words for a video and the gate that looked at it."""
    assert gate.size is not None
    height, width = gate.size
    aspect = video.width / video.height if gate.settings.fit == "stretch" else width / height
    seconds = float(history.pts_seconds[-1] + history.duration_seconds[-1] - history.pts_seconds[0])
    rate = f"{video.average_fps:.4g} fps" if video.average_fps else "unknown rate"
    settings = gate.settings
    facts = [
        f"{video.width} x {video.height} {video.codec}, {rate}, {seconds:.1f} s",
        f"grid {width} x {height}, {width // settings.cell} x {height // settings.cell} cells",
        f"threshold {settings.threshold:g}, search radius {settings.search_radius}, "
        f"on_motion {settings.on_motion}",
    ]
    aspect = min(max(aspect, 0.4), 4.0)  # beyond, the page would be all margin
    return Caption(Path(path).name, "   ·   ".join(facts), aspect)


def overlay(rgb: Tensor, kind: Tensor) -> np.ndarray:
    """The frame in grey, changed and moved cells in colour.

    Args:
        rgb: ``[3, H, W]`` uint8. kind: ``[h, w]`` uint8.

    Returns:
        ``[H, W, 3]`` uint8.
    """
    cell = rgb.shape[1] // kind.shape[0]
    grey = rgb.float().mean(0)[..., None].expand(-1, -1, 3)  # [H, W, 3]
    kinds = kind.repeat_interleave(cell, 0).repeat_interleave(cell, 1)  # [H, W]
    shown = 90 + 0.45 * grey
    for value, colour in ((MOVED, MOVED_COLOUR), (CHANGED, CHANGED_COLOUR)):
        tinted = 0.40 * grey + 0.60 * torch.tensor(colour, dtype=torch.float32)
        shown = torch.where((kinds == value)[..., None], tinted, shown)
    grid = torch.arange(kinds.shape[0])[:, None] % cell == 0  # [H, 1]
    grid = grid | (torch.arange(kinds.shape[1]) % cell == 0)  # [H, W]
    shown = torch.where((grid & (kinds != STATIC))[..., None], 0.75 * shown, shown)
    return shown.round().clamp(0, 255).byte().numpy()


def draw(history: History, moments: list[Moment], caption: Caption) -> Figure:
    """The whole picture, to be saved with ``save``."""
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
    """In the format of the path's suffix."""
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
        f"{tokens:,} tokens stand for all {frames:,} frames: {tokens / dense:.1%} of the dense "
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
        Patch(facecolor=_hex(CHANGED_COLOUR), label="changed: a new token"),
        Patch(facecolor=_hex(MOVED_COLOUR), label="moved: reused with a vector"),
        Patch(facecolor="#b5b5b5", label="static: reused in place"),
    ]
    axes.legend(
        handles=hands, loc="upper left", bbox_to_anchor=(-0.005, -0.02), ncols=3, frameon=False,
        fontsize=9, labelcolor=INK, handlelength=1.2, columnspacing=1.8, borderaxespad=0.3,
    )  # fmt: skip


def _draw_history(axes: Axes, history: History, moments: list[Moment]) -> None:
    time, kept, moved = _binned(history)  # [B] each
    ordinary = (history.changed + history.moved)[~history.is_key] / history.cells
    top = 1.2 * min(float(ordinary.max()), (kept + moved).max()) if len(ordinary) else 1.0
    top = min(1.15, max(top, 0.02))  # key frames are marked: they need not fit
    axes.fill_between(time, kept, color=_hex(CHANGED_COLOUR), linewidth=0, step="post")
    axes.fill_between(
        time, kept, kept + moved, color=_hex(MOVED_COLOUR), linewidth=0, alpha=0.8, step="post"
    )
    mean = float(history.kept_share.mean())
    axes.axhline(mean, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.text(time[-1], mean, f" mean {mean:.1%}", size=8, color=INK, va="center", clip_on=False)
    _mark_keys(axes, history, top)
    for number, moment in enumerate(moments, 1):
        axes.axvline(moment.pts_seconds, color=INK, linewidth=0.8, ymax=0.93)
        axes.text(
            moment.pts_seconds, top * 0.96, str(number), size=8, ha="center", va="center",
            color="white", bbox={"boxstyle": "circle,pad=0.25", "facecolor": INK, "linewidth": 0},
        )  # fmt: skip
    axes.set(xlim=(time[0], time[-1]), ylim=(0, top), xlabel="seconds", ylabel="share of cells")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_title("kept share over time", size=10, color=INK, loc="left", pad=9)
    _plain(axes)


def _mark_keys(axes: Axes, history: History, top: float) -> None:
    keys = history.pts_seconds[history.is_key].tolist()
    text = "key frame (start, scene cut): every cell is a token"
    if len(keys) <= _MAX_MARKS:
        axes.plot(keys, [top] * len(keys), "v", color=INK, markersize=6, clip_on=False)
        text = f"\u25bc {text}"
    else:
        text = f"{len(keys):,} frames are {text}"
    axes.set_title(text, size=8, color=FAINT, loc="right", pad=9)


def _binned(history: History) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, kept and moved shares; a long video is averaged over bins of many frames."""
    kept = history.kept_share.numpy()
    moved = history.moved.numpy() / history.cells
    begins = history.pts_seconds.numpy()
    end = float(history.pts_seconds[-1] + history.duration_seconds[-1])
    step = -(-len(kept) // _BINS)
    at = np.arange(0, len(kept), step)
    frames = np.diff(np.append(at, len(kept)))
    kept, moved = (np.add.reduceat(shares, at) / frames for shares in (kept, moved))
    edges = np.append(begins[at], end)
    return edges, np.append(kept, kept[-1]), np.append(moved, moved[-1])


def _draw_counts(axes: Axes, history: History) -> None:
    """Tokens and looked-at frames, beside what else one could do."""
    frames, cells = len(history.changed), history.cells
    sampled = {f"{fps} fps, dense": history.frames_at(fps) for fps in (1, 2)}
    rows = [(name, count * cells, count, "#b5b5b5") for name, count in sampled.items()]
    rows.append(("every frame, dense", frames * cells, frames, "#b5b5b5"))
    rows.append(("every frame, gated", int(history.changed.sum()), frames, _hex(CHANGED_COLOUR)))
    names, tokens, seen, colours = zip(*rows, strict=True)
    axes.barh(names, tokens, color=colours, height=0.62)
    for row, (count, looked_at) in enumerate(zip(tokens, seen, strict=True)):
        axes.text(count, row, f"  {count:,}  ({looked_at:,} frames)", va="center", size=8,
                  color=INK)  # fmt: skip
    axes.set_xlim(0, max(tokens) * 1.9)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_title("tokens", size=10, color=INK, loc="left", pad=9)
    axes.set_xticks([])
    _plain(axes)
    axes.spines.bottom.set_visible(False)
    axes.tick_params(length=0)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=8)


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)
