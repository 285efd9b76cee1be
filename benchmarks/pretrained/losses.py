"""What we lose on, said from the figures: the page begins with it."""

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter

from plots import OURS

from pretrained import summary
from pretrained.ladder import FEWER, MINE, RLT
from pretrained.summary import Row

LOST_J = 0.01  # of J, below the dense tower's
ENOUGH = 0.8  # of the counted ratio, as a speed-up
_MOST = 6  # cases that are named one by one
_TOLD = {
    "changed": "cells that changed most", "every": "all cells", "cls": "CLS",
    "saliency": "the saliency map",
}  # fmt: skip


def of(clips: Sequence[Row], scenes: Sequence[Row]) -> list[str]:
    """A sentence each, of rows with what ``summary`` adds; empty where nothing is lost."""
    return [*_errors(summary.defaults(clips)), *_times(clips), *_peers(clips), *_truth(scenes)]


def _errors(rows: Sequence[Row]) -> Iterator[str]:
    for error, told in _TOLD.items():
        name = f"{error} / sampled"
        more = [row for row in rows if (row[name] or 0) > 1]
        if more:
            yield (f"At the defaults, ours errs more over {told} than the dense tower on every "
                   f"k-th frame at equal work in {len(more)} of {len(rows)}: "
                   f"{_listed(more, itemgetter(name))}.")  # fmt: skip


def _times(rows: Sequence[Row]) -> Iterator[str]:
    mine = [row for row in rows if row["family"] in MINE and row["time"] is not None]
    slow = [row for row in mine if row["time"] > 1]
    if slow:
        listed = _listed(slow, itemgetter("time"), "{:.2f} of its time", method=True)
        yield f"Slower than the dense tower in {len(slow)} of {len(mine)} runs of ours: {listed}."
    usual = summary.defaults(rows)
    short = [row for row in usual if row["work"] < ENOUGH * row["time"]]
    if short:
        listed = _listed(short, lambda row: row["time"] / row["work"], "time {:.2f} x work")
        yield (f"At the defaults, less than {ENOUGH:g} of the counted saving is felt as time in "
               f"{len(short)} of {len(usual)}: {listed}.")  # fmt: skip


def _peers(rows: Sequence[Row]) -> Iterator[str]:
    for peer in ("Eventful", "STC", RLT):
        own = [row for row in rows if row["family"] == peer]
        found = list(summary.ahead(rows, OURS, [peer]))
        if found:
            listed = _listed(found, itemgetter("ours / peer"), "ours {:.2f} x", method=True)
            yield (f"{peer} errs less over changed cells than our tolerances at equal work in "
                   f"{len(found)} of {len(own)}: {listed}.")  # fmt: skip
    fewer = list(summary.ahead(rows, OURS, [FEWER]))
    if fewer:
        listed = _listed(fewer, itemgetter("ours / peer"), "every frame {:.2f} x", method=True)
        yield (f"Fewer frames and the gate together err less than the gate on every frame at equal "
               f"work in {len(fewer)}: {listed}.")  # fmt: skip


def _truth(rows: Sequence[Row]) -> Iterator[str]:
    usual = summary.defaults(rows)
    behind = [row for row in usual if row["behind"] > LOST_J]
    if behind:
        listed = _listed(behind, itemgetter("behind"), "{:.3f}")
        yield (f"At the defaults, J of the task with truth is more than {LOST_J:g} below the dense "
               f"tower's in {len(behind)} of {len(usual)}: {listed}.")  # fmt: skip


def _listed(
    rows: Sequence[Row], value: Callable[[Row], float], form: str = "{:.2f} x",
    method: bool = False,
) -> str:  # fmt: skip
    """Where, and by how much: the worst first, not all of many."""
    worst = sorted(rows, key=value, reverse=True)
    told = []
    for row in worst[:_MOST]:
        name, side = summary.where(row)
        what = f", {row['method']}" if method else ""
        told.append(f"{name} at {side} px{what} ({form.format(value(row))})")
    more = [f"and {len(rows) - _MOST} more"] if len(rows) > _MOST else []
    return "; ".join(told + more)
