"""The proof's plots, drawn from its JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plots
from harness import grouped
from matplotlib.ticker import NullLocator
from plots import OURS

TableRow = dict[str, Any]


def reading(rows: Sequence[TableRow], path: Path) -> None:
    """Retention against tokens, one panel a reader."""
    shown = [row | {"line": _knob(row)} for row in rows if row["method"] != "dense"]
    readers = list(grouped(shown, lambda row: row["reader"]).items())
    figure, axes = plots.panels(len(readers))
    for axis, (reader, own) in zip(axes[0], readers, strict=True):
        lines = grouped(own, lambda row: row["line"])
        points = {
            name: [(r["tokens/s"], r["retained"]) for r in some] for name, some in lines.items()
        }
        plots.retention(axis, points)
        axis.set(title=reader, xlabel="tokens a second")
    plots.legend_beside(axes[0, -1])
    plots.save(figure, path)


def _knob(row: TableRow) -> str:
    """A line for each knob: of ours, thresholds are on one if all else is the same."""
    if row["method"] != OURS or row["setting"] == "default":
        return str(row["method"])
    others = [name for name in row["setting"].split(", ") if not name.startswith("threshold=")]
    return ", ".join([OURS, *others])


def rates(rows: Sequence[TableRow], path: Path) -> None:
    """Accuracy against frames a second, one panel a budget."""
    budgets = [b for b in grouped(rows, lambda row: row["budget"]) if b != "all"]
    figure, axes = plots.panels(len(budgets))
    for axis, budget in zip(axes[0], budgets, strict=True):
        for row in (row for row in rows if row["budget"] in (budget, "all")):
            points = [(float(name.split()[0]), value) for name, value in row.items()
                      if name.endswith(" fps") and value != "-"]  # fmt: skip
            plots.line(axis, row["method"], [p[0] for p in points], [p[1] for p in points])
        axis.set(title=f"tokens of {budget} whole frames a second", xscale="log",
                 xlabel="frames a second looked at", ylabel="questions answered right")  # fmt: skip
        axis.set_xticks([float(name.split()[0]) for name in rows[0] if name.endswith(" fps")])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        plots.percent(axis)
    plots.legend_beside(axes[0, -1])
    plots.save(figure, path)


def stages(rows: Sequence[TableRow], names: Sequence[str], path: Path) -> None:
    """Milliseconds a frame, stacked, one panel a clip."""
    clips = list(grouped(rows, lambda row: row["clip"]).items())
    figure, axes = plots.panels(len(clips), height=6)
    for axis, (clip, found) in zip(axes[0], clips, strict=True):
        methods, left = [row["method"] for row in found], [0.0] * len(found)
        for name in names:
            spent = [row[name] for row in found]
            axis.barh(methods, spent, left=left, label=name)
            left = [a + b for a, b in zip(left, spent, strict=True)]
        axis.invert_yaxis()
        axis.set(title=str(clip), xlabel="ms a frame")
    plots.legend_beside(axes[0, -1])
    plots.save(figure, path)


def scaling(tables: dict[str, list[TableRow]], path: Path) -> None:
    """Three panels, both axes logarithmic."""
    figure, ((first, second, third),) = plots.panels(3)
    _series(first, tables["frames a second"], "frames a second",
            {name: f"{name}, ms a second" for name in ("dense", "RLT", OURS)})  # fmt: skip
    first.set(xlabel="frames a second", ylabel="ms for a second of video", title="rate")
    _series(second, tables["resolution"], "pixels",
            {OURS: "tokens a frame", "dense": "cells a frame"})  # fmt: skip
    second.set(xlabel="pixels of the grid", ylabel="tokens a frame", title="resolution")
    _series(third, tables["length"], "seconds",
            {"peak MB": "peak MB", "frames/s": "frames/s, all in all"})  # fmt: skip
    third.set(xlabel="seconds of video", title="length (command line, no tower)")
    for axis in (first, second, third):
        axis.set(xscale="log", yscale="log")
        axis.legend(fontsize=8)
    plots.save(figure, path)


def _series(axis: Any, rows: Sequence[TableRow], x: str, columns: dict[str, str]) -> None:
    for name, column in columns.items():
        plots.line(axis, name, [row[x] for row in rows], [row[column] for row in rows])
