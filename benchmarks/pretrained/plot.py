"""Errors over work and over time, a row of two panels for each clip."""

from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import plots
from harness import grouped
from matplotlib.ticker import NullLocator

from pretrained.ladder import DENSE, OTHERS

_FLOOR = 1e-6  # for a logarithmic axis
_TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)


def draw(panels: Mapping[str, Sequence[dict[str, Any]]], path: Path) -> None:
    """Draws a plot for each title and its rows."""
    figure, axes = plots.panels(2, height=3.6, rows=len(panels))
    for (left, right), (title, rows) in zip(axes, panels.items(), strict=True):
        lines = grouped((row for row in rows if row["family"] != DENSE), lambda row: row["family"])
        for axis, x in ((left, "work"), (right, "time")):
            for name, some in lines.items():
                own = sorted((row for row in some if row[x] is not None), key=itemgetter("work"))
                errors = [max(row["changed"], _FLOOR) for row in own]
                plots.line(axis, name, [row[x] for row in own], errors, joined=name != OTHERS)
            axis.set(xscale="log", yscale="log", title=title, ylabel="error, changed cells")
            axis.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS])
            axis.xaxis.set_minor_locator(NullLocator())
        left.set_xlabel("work, share of the dense tower's operations")
        right.set_xlabel("time, share of the dense tower's (of held frames: by construction)")
    plots.legend_beside(axes[0, 1])
    plots.save(figure, path)
