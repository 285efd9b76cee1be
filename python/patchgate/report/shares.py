"""Draws the kept share over time, for the picture and for the page.

Letters: B bins of the time axis.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from patchgate.report.cells import CHANGED_COLOUR, MOVED_COLOUR, hex_of
from patchgate.report.history import History

BINS = 900  # of the time axis; more cannot be distinguished
_MAX_MARKS = 200  # key frames drawn one by one; more would be a black bar


class Palette(NamedTuple):
    """Colours as matplotlib takes them."""

    ink: str = "#222222"
    faint: str = "#8a8a8a"
    changed: str = hex_of(CHANGED_COLOUR)
    moved: str = hex_of(MOVED_COLOUR)
    static: str | None = None  # None: left blank
    light: str = "#8f6b00"


PRINT = Palette()


def draw_shares(axes: Axes, history: History, palette: Palette, bins: int = BINS) -> None:
    """Draws the shares of changed and moved cells as stacked steps, the mean, key frames, and
    frames in which cells return (triangles to the left).
    """
    shares = np.stack([history.kept_share.numpy(), history.moved.numpy() / history.cells])
    time, (kept, moved) = binned(history, shares, bins)  # [B]
    ordinary = (history.changed + history.moved)[~history.is_key].double() / history.cells
    top = 1.2 * min(float(ordinary.max()), (kept + moved).max()) if len(ordinary) else 1.0
    top = min(1.15, max(top, 0.02))  # key frames are marked: they need not fit
    if palette.static is not None:
        axes.fill_between(time, 0, min(top, 1), color=palette.static, linewidth=0)
    axes.fill_between(
        time, kept, kept + moved, color=palette.moved, linewidth=0, step="post",
        alpha=1 if palette.static else 0.8,
    )  # fmt: skip
    axes.fill_between(time, kept, color=palette.changed, linewidth=0, step="post")
    mean = float(history.kept_share.mean())
    axes.axhline(mean, color=palette.ink, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.text(time[-1], mean, f" mean {mean:.1%}", size=8, color=palette.ink, va="center")
    keys = key_seconds(history)
    axes.plot(keys, [top] * len(keys), "v", color=palette.ink, markersize=6, clip_on=False)
    back = return_seconds(history)
    axes.plot(back, [top] * len(back), "<", color=palette.moved, markersize=6, clip_on=False)
    axes.set(xlim=(time[0], time[-1]), ylim=(0, top))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    plain(axes, palette)


def key_seconds(history: History) -> list[float]:
    """Returns the times at which key frames are marked; none if they would be too many."""
    keys = history.pts_seconds[history.is_key].tolist()
    return keys if len(keys) <= _MAX_MARKS else []


def return_seconds(history: History) -> list[float]:
    """Returns the times at which returns are marked; none if they would be too many."""
    if history.returned is None:
        return []
    back: list[float] = history.pts_seconds[history.returned > 0].tolist()
    return back if len(back) <= _MAX_MARKS else []


def binned(history: History, values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Averages values ``[.., T]`` in bins: a long video has many frames in a bin.

    Returns:
        The edges ``[B + 1]`` and the means ``[.., B + 1]``. The last mean is repeated, since steps
        are drawn up to an edge.
    """
    at = bin_starts(history, bins)
    frames = np.diff(np.append(at, values.shape[-1]))
    means = np.add.reduceat(values, at, -1) / frames
    edges = np.append(history.pts_seconds.numpy()[at], history.end)
    return edges, np.concatenate([means, means[..., -1:]], -1)


def bin_starts(history: History, bins: int) -> np.ndarray:
    """Returns the first frame of every bin."""
    count = len(history.changed)
    return np.arange(0, count, -(-count // bins))


def plain(axes: Axes, palette: Palette) -> None:
    """Removes lines that are not needed."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(palette.faint)
    axes.tick_params(colors=palette.ink, labelsize=8)
