"""One picture of what the gate did to a video: moments above, the kept share over time below.

Letters: H W pixels, h w cells, n moments, B bins of the time axis.
"""

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

from patchgate.gate import CHANGED, MOVED, STATIC
from patchgate.survey import History, Moment

# Okabe and Ito's palette: told apart with any colour vision, and by lightness in grey.
CHANGED_COLOUR = (213, 94, 0)  # vermilion
MOVED_COLOUR = (86, 180, 233)  # sky blue
INK, FAINT = "#222222", "#8a8a8a"

_BINS = 900  # of the time axis: more cannot be told apart in print
_MAX_MARKS = 200  # key frames drawn one by one; more would be a black bar
_GAP = 0.08  # inches between panels
_STYLE = {"font.family": "DejaVu Sans", "font.size": 9, "text.parse_math": False}


@dataclass(frozen=True)
class Caption:
    """What the picture says in words."""

    title: str  # the video's name
    facts: str  # its size, rate and length, and the gate's settings
    display_aspect: float  # width / height at which the grid is shown


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
        columns = max(len(moments), 2)
        panel = max(12.5 / columns, 2.6)  # inches wide
        wide = panel * columns + _GAP * (columns - 1)
        high = 3 * panel / caption.display_aspect + 2 * _GAP
        width, height = wide + 1.1, high + 4.1
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        above, below = figure.add_gridspec(
            2, 1, height_ratios=[high, 1.95], hspace=0.8 / ((high + 1.95) / 2),
            left=0.75 / width, right=1 - 0.35 / width,
            top=1 - 1.2 / height, bottom=1 - (3.95 + high) / height + 0.40 / height,
        )  # fmt: skip
        panels = above.subgridspec(
            3, columns, hspace=_GAP / (panel / caption.display_aspect), wspace=_GAP / panel
        ).subplots(squeeze=False)
        _draw_moments(panels, moments, caption.display_aspect)
        _legend(panels[2][0])
        time, counts = below.subgridspec(1, 2, width_ratios=[2.3, 1], wspace=0.42).subplots()
        _draw_history(time, history, moments)
        _draw_counts(counts, history)
        _draw_words(figure, height, history, caption)
    return figure


def save(figure: Figure, path: Path) -> None:
    """In the format of the path's suffix."""
    with matplotlib.rc_context(_STYLE):
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


def _draw_moments(panels: Any, moments: list[Moment], aspect: float) -> None:
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
            f"{number}   {moment.pts_seconds:.2f} s  ·  {moment.label}  ·  {kept:.1%} kept",
            size=10, color=INK, pad=5,
        )  # fmt: skip
        _note(
            column[1],
            f"largest sub-block error {moment.error:.2f}, limit {moment.limit:g} grey levels",
        )
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
    top = 1.2 * float(ordinary.max()) if len(ordinary) else 1.0
    top = min(1.15, max(top, 0.02))  # key frames are marked: they need not fit
    axes.fill_between(time, kept, color=_hex(CHANGED_COLOUR), linewidth=0, step="post")
    axes.fill_between(
        time, kept, kept + moved, color=_hex(MOVED_COLOUR), linewidth=0, alpha=0.8, step="post"
    )
    mean = float(history.kept_share.mean())
    axes.axhline(mean, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.text(
        time[-1], mean, f" mean {mean:.1%}", size=8, color=INK, va="center", clip_on=False
    )
    _mark_keys(axes, history, top)
    for number, moment in enumerate(moments, 1):
        axes.axvline(moment.pts_seconds, color=INK, linewidth=0.8, ymax=0.93)
        axes.text(
            moment.pts_seconds, top * 0.96, str(number), size=8, ha="center", va="center",
            color="white", bbox={"boxstyle": "circle,pad=0.25", "facecolor": INK, "linewidth": 0},
        )  # fmt: skip
    axes.set(xlim=(time[0], time[-1]), ylim=(0, top), xlabel="seconds", ylabel="share of cells")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_title("kept share over time", size=10, color=INK, loc="left")
    _plain(axes)


def _mark_keys(axes: Axes, history: History, top: float) -> None:
    keys = history.pts_seconds[history.is_key].tolist()
    if len(keys) > _MAX_MARKS:
        return
    axes.plot(
        keys, [top] * len(keys), "v", color=INK, markersize=6, clip_on=False,
        label="key frame (start, scene cut): every cell is a token",
    )  # fmt: skip
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=8,
                handletextpad=0.1, borderaxespad=0.2)  # fmt: skip


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
    axes.set_xlim(0, max(tokens) * 1.7)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_title("tokens", size=10, color=INK, loc="left")
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
