"""Retention against tokens and against work, a line per family."""

from collections.abc import Sequence
from pathlib import Path

import plots
from harness import grouped

from reading.score import ENOUGH, TOWER, Row, Total, total

BY_THRESHOLD, SETTINGS = "patchgate, by threshold", "patchgate, other settings"


def draw(rows: Sequence[Row], path: Path) -> None:
    """One row of two panels per reader that was asked under more than our default."""
    readers = {
        reader: own
        for reader, own in grouped(rows, lambda row: row.reader).items()
        if len({row.method for row in own}) > 2 or len({row.reader for row in rows}) == 1
    }
    figure, axes = plots.panels(2, rows=len(readers))
    for (left, right), (reader, own) in zip(axes, readers.items(), strict=True):
        for axis, x in ((left, "rate"), (right, "own_flops")):
            points = {name: [(getattr(each, x), each.retention) for each in totals]
                      for name, totals in _lines(own).items()}  # fmt: skip
            plots.retention(axis, points, apart=(SETTINGS,))
            axis.axhline(ENOUGH, color="#999999", linewidth=0.8)
        left.set(title=f"{reader}: retention against tokens", xlabel="tokens a second")
        right.set(title=f"{reader}: retention against work")
        right.set_xlabel(f"share of the dense operations ({_tower(own)})")
    plots.legend_beside(axes[0, 1])
    plots.save(figure, path)


def _tower(rows: Sequence[Row]) -> str:
    own = any(row.cost.own_flops != row.cost.full_flops for row in rows)
    return "the reader's own tower" if own else f"{TOWER}, full context"


def _lines(rows: Sequence[Row]) -> dict[str, list[Total]]:
    """Per line, its methods."""
    found = grouped(rows, lambda row: row.method)
    lines = grouped((own[0] for own in found.values()), lambda row: _line_of(*row.method))
    return {name: [total(found[row.method]) for row in own] for name, own in lines.items()}


def _line_of(family: str, setting: str) -> str:
    if family != plots.OURS:
        return family
    alone = setting == "default" or (setting.startswith("threshold=") and "," not in setting)
    return BY_THRESHOLD if alone else SETTINGS
