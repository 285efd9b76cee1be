"""Retention against tokens and against work, a line per family."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from reading.score import ENOUGH, TOWER, Row, Total, grouped, total


class Style(NamedTuple):
    """Colours of Okabe and Ito, told apart by the colour-blind too, and a marker each."""

    label: str
    colour: str
    marker: str
    line: str


STYLES = {
    "patchgate": Style("patchgate, by threshold", "#0072B2", "o", "-"),
    "settings": Style("patchgate, other settings", "#56B4E9", ".", ""),
    "adjacent": Style("adjacent frames (RLT), by tau", "#D55E00", "s", "-"),
    "adjacent, sub-blocks": Style("adjacent frames, our sub-block test", "#E69F00", "D", "--"),
    "top-k": Style("top-k (EVS on pixels)", "#009E73", "^", "-"),
    "uniform": Style("uniform sampling", "#555555", "v", ":"),
    "dense": Style("dense", "#000000", "*", ""),
}


def draw(rows: Sequence[Row], path: Path) -> None:
    """One row of two panels per reader."""
    readers = grouped(rows, lambda row: row.reader)
    figure, axes = plt.subplots(
        len(readers), 2, figsize=(11, 4.4 * len(readers)), squeeze=False, sharey="row"
    )
    for (left, right), (reader, own) in zip(axes, readers.items(), strict=True):
        points = _points(own)
        for axis in (left, right):
            _panel(axis)
        for name, totals in points.items():
            style = STYLES[name]
            _series(left, [each.rate for each in totals], totals, style)
            _series(right, [each.own_flops for each in totals], totals, style)
        _mark_default(left, right, own)
        left.set(title=f"{reader}: retention against tokens", xlabel="tokens a second")
        left.set_ylabel("of what is read from dense video")
        right.set(title=f"{reader}: retention against work")
        right.set_xlabel(f"share of the dense operations ({_tower(own)})")
    axes[0, 1].legend(loc="lower right", fontsize=8, framealpha=0.9)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def _tower(rows: Sequence[Row]) -> str:
    own = any(row.cost.own_flops != row.cost.full_flops for row in rows)
    return "the reader's own tower" if own else f"{TOWER}, full context"


def _points(rows: Sequence[Row]) -> dict[str, list[Total]]:
    """Per series, its methods from few tokens to many."""
    found = grouped(rows, lambda row: row.method)
    series = grouped((own[0] for own in found.values()), lambda row: _series_of(row.method))
    return {
        name: sorted((total(found[row.method]) for row in series[name]), key=lambda t: t.tokens)
        for name in STYLES
        if name in series
    }


def _series_of(method: tuple[str, str]) -> str:
    family, setting = method
    by_threshold = setting == "default" or (setting.startswith("threshold=") and "," not in setting)
    return family if family != "patchgate" or by_threshold else "settings"


def _series(axis: Axes, x: list[float], totals: list[Total], style: Style) -> None:
    axis.plot(
        x, [each.retention for each in totals], label=style.label, color=style.colour,
        marker=style.marker, linestyle=style.line, markersize=5, linewidth=1.5,
    )  # fmt: skip


def _mark_default(left: Axes, right: Axes, rows: Sequence[Row]) -> None:
    own = [row for row in rows if row.method == ("patchgate", "default")]
    if own:
        default = total(own)
        for axis, x in ((left, default.rate), (right, default.own_flops)):
            axis.annotate(
                "default", (x, default.retention), xytext=(0, -16), textcoords="offset points",
                ha="center", fontsize=8, color=STYLES["patchgate"].colour,
            )  # fmt: skip


def _panel(axis: Axes) -> None:
    axis.set_xscale("log")
    axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axis.axhline(ENOUGH, color="#999999", linewidth=0.8)
    axis.grid(which="both", color="#e5e5e5", linewidth=0.6)
    axis.set_axisbelow(True)
