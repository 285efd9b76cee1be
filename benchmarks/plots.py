"""What all plots of the benchmarks share: colours, lines, axes and saving."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

OURS = "patchgate"
# Colours of Okabe and Ito, told apart by the colour-blind too; methods without one are grey.
COLOURS = {
    OURS: "#0072B2", "patchgate, by threshold": "#0072B2", "patchgate, other settings": "#56B4E9",
    "patchgate, fewer frames": "#004B75", "patchgate, merged": "#7A3E9D",
    "patchgate, sub_blocks=4": "#4D9BC7", "patchgate, sub_blocks=8": "#8CC0DE",
    "dense": "#000000", "uniform": "#555555", "EVS": "#009E73", "top-k": "#009E73",
    "RLT": "#D55E00", "adjacent": "#D55E00", "adjacent, sub-blocks": "#E69F00",
    "GRT gate, SSIM": "#E69F00", "codec-patch-stream": "#CC79A7", "FrameFusion": "#56B4E9",
    "dense, every k-th frame, held": "#000000", "Eventful": "#009E73", "STC": "#CC79A7",
    "RLT, residual": "#D55E00",
}  # fmt: skip
_GREY, _MARKERS = "#b0b0b0", "sD^v<>ph*Xd"


def panels(count: int, height: float = 4.6, rows: int = 1) -> tuple[Figure, Any]:
    """A figure with ``rows`` times ``count`` panels, and its axes ``[rows, count]``."""
    return plt.subplots(rows, count, figsize=(6.2 * count, height * rows), squeeze=False)


def line(
    axis: Axes, name: str, x: Sequence[float], y: Sequence[float], joined: bool = True
) -> None:
    """One method, its points joined by a line or not. Ours is thick and in front."""
    ours = name.startswith("patchgate, by") or name == OURS
    marker = "o" if ours else _MARKERS[sum(name.encode()) % len(_MARKERS)]
    axis.plot(x, y, label=name, color=COLOURS.get(name, _GREY), marker=marker, markersize=4,
              linestyle="-" if joined else "", linewidth=2.2 if ours else 1.0,
              zorder=3 if ours else 2)  # fmt: skip
    axis.grid(which="both", color="#e5e5e5", linewidth=0.6)
    axis.set_axisbelow(True)


def retention(
    axis: Axes, lines: Mapping[str, Iterable[tuple[float, float]]], apart: Sequence[str] = ()
) -> None:
    """What is still read against what it costs, a line of such points for each method.

    Args:
        apart: methods whose points are not joined.
    """
    for name, points in lines.items():
        x, y = zip(*sorted(points), strict=True)
        line(axis, name, x, y, joined=name not in apart)
    axis.set(xscale="log", ylabel="of what is read from dense video")
    percent(axis)


def percent(axis: Axes) -> None:
    """The vertical axis in per cent of 1."""
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))


def legend_beside(axis: Axes) -> None:
    """The legend at the right of a panel."""
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))


def save(figure: Figure, path: Path) -> None:
    """Writes the figure and frees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
