"""Plots shares, errors and light over time as SVG with the page's CSS variables as colours.

Letters: T frames (or tubelets), B bins of the time axis.
"""

import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from patchgate.report.history import MID_GREY, History
from patchgate.report.shares import Palette, bin_starts, binned, draw_shares, plain

# Stand-ins, which matplotlib takes for colours, for the CSS variables that replace them.
_VARIABLES = {
    "ink": "#000001", "faint": "#000002", "changed": "#000003", "moved": "#000004",
    "static": "#000005", "ours": "#000006", "adjacent": "#000007",
    "light": "#000008",
}  # fmt: skip
_PALETTE = Palette(**{name: _VARIABLES[name] for name in Palette._fields})
_STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "patchgate", "font.size": 9, "text.parse_math": False,
}  # fmt: skip
_TICKS = (0, 1, 4, 16, 64, 255)  # grey levels; their roots are about evenly apart


@dataclass(frozen=True)
class Plot:
    """An inline SVG, and where its time axis begins and ends, as shares of its width."""

    svg: str
    left: float
    right: float


def timeline(
    history: History, error: np.ndarray, adjacent_error: np.ndarray, limit: float, *, wide: bool
) -> Plot:
    """Plots shares above, errors ``[T]`` below, and under them the light if the gate follows it, on
    one time axis, for one width of screen.
    """
    width, bins = (11.6, 900) if wide else (3.9, 300)  # inches
    levels = history.mid_grey
    height, parts = (4.3, [1.25, 1.0]) if levels is None else (5.5, [1.25, 1.0, 0.6])
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        left, right = 0.74 / width, 1 - (0.85 if wide else 0.2) / width
        shares, errors, *under = figure.subplots(
            len(parts), 1, sharex=True, height_ratios=parts,
            gridspec_kw={"left": left, "right": right, "top": 0.96, "bottom": 0.11, "hspace": 0.2},
        )  # fmt: skip
        draw_shares(shares, history, _PALETTE, bins)
        shares.set_ylabel("share of cells", color=_PALETTE.ink, size=9)
        if not wide:  # the mean is in the figures above, and there is no room beside
            shares.texts[0].remove()
        _draw_errors(errors, history, np.stack([error, adjacent_error]), limit, bins, wide)
        if levels is not None:
            _draw_light(under[0], history, levels.numpy(), bins, wide)
        last = (shares, errors, *under)[-1]
        last.set_xlabel("seconds", color=_PALETTE.ink, size=9)
        last.xaxis.set_major_locator(MaxNLocator(12 if wide else 5))
        for axes in (shares, errors, *under):
            axes.patch.set_visible(False)
            axes.tick_params(labelsize=9)
        return Plot(_inline(figure, "wide" if wide else "narrow"), left, right)


def _draw_errors(
    axes: Axes, history: History, errors: np.ndarray, limit: float, bins: int, wide: bool
) -> None:
    at = bin_starts(history, bins)
    worst = np.maximum.reduceat(errors, at, 1)  # [2, B]
    worst = np.concatenate([worst, worst[:, -1:]], 1)
    time = np.append(history.pts_seconds.numpy()[at], history.end)
    axes.set_yscale("function", functions=(_root, np.square))
    axes.axhspan(0, limit, color=_VARIABLES["ours"], alpha=0.13, linewidth=0)
    axes.axhline(limit, color=_PALETTE.ink, linewidth=0.8, linestyle=(0, (4, 3)))
    for row, name in ((1, "adjacent"), (0, "ours")):
        axes.plot(
            time, worst[row], color=_VARIABLES[name], linewidth=1.8, drawstyle="steps-post",
            solid_joinstyle="round",
        )  # fmt: skip
    top = min(255.0, max(1.15 * worst.max(), 1.6 * limit, 1.0))
    axes.set(ylim=(0, top), yticks=[tick for tick in _TICKS if tick <= top])
    axes.set_yticks([], minor=True)
    if wide:
        axes.text(time[-1], limit, f" limit {limit:.3g}", size=8, color=_PALETTE.ink, va="center")
    axes.set_yticklabels([str(tick) for tick in _TICKS if tick <= top])
    axes.set_ylabel("worst error", color=_PALETTE.ink, size=9)
    plain(axes, _PALETTE)


def _draw_light(axes: Axes, history: History, levels: np.ndarray, bins: int, wide: bool) -> None:
    """Draws what a mid-grey of the last key frame has become, ``[T]``: a line through the means, on
    a band from the least to the greatest level of each bin.
    """
    time, (mean,) = binned(history, levels[None], bins)  # [B + 1]
    at = bin_starts(history, bins)
    least, most = (np.append(ends := way.reduceat(levels, at), ends[-1])
                   for way in (np.minimum, np.maximum))  # fmt: skip
    band: Any = {"color": _PALETTE.light, "alpha": 0.25, "linewidth": 0, "step": "post"}
    axes.axhline(MID_GREY, color=_PALETTE.ink, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.fill_between(time, least, most, **band)
    axes.plot(time, mean, color=_PALETTE.light, linewidth=1.8, drawstyle="steps-post",
              solid_joinstyle="round")  # fmt: skip
    low, high = min(least.min(), MID_GREY - 16), max(most.max(), MID_GREY + 16)
    axes.set(ylim=(low - 4, high + 4))
    if wide:
        axes.text(time[-1], MID_GREY, f" {MID_GREY}", size=8, color=_PALETTE.ink, va="center")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.set_ylabel("light", color=_PALETTE.ink, size=9)
    plain(axes, _PALETTE)


def _root(values: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(values, 0))  # matplotlib asks beyond the axis, too


def _inline(figure: Figure, name: str) -> str:
    """Makes the SVG for use inside HTML: its ids are unique, and it has no header."""
    file = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true">', svg, count=1)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", svg)
    for variable, colour in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg
