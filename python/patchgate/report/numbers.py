"""The numbers of the plot over time, as a table and as CSV.

Letters: T frames (or tubelets), B rows.
"""

import base64
import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from patchgate.report.history import History

_MOST_ROWS = 20_000  # of the CSV in a page: a megabyte
_TABLE_ROWS = 40  # that a reader looks through


class Light(NamedTuple):
    """The light of some neighbouring frames, of luma, by a gate that follows it."""

    gain: float  # all frames' together: what the last one's light is of that before the first
    offset: float  # in grey levels
    mid_grey: float  # mean of what a mid-grey (128) of the last key frame has become


class Stretch(NamedTuple):
    """Some neighbouring frames: a row of the table."""

    seconds: float  # of the first frame
    frames: int
    changed: float  # mean share of cells
    moved: float
    key_frames: int
    error: float  # of the worst sub-block of the worst frame, in grey levels of 255
    adjacent_error: float  # the same of an adjacent-frame gate
    light: Light | None = None  # None: the gate does not follow it


def stretches(
    history: History, error: np.ndarray, adjacent_error: np.ndarray, most: int
) -> Iterator[Stretch]:
    """Yields at most ``most`` rows, of equally many frames each.

    Args:
        error, adjacent_error: ``[T]``, of every frame.
    """
    count = len(history.changed)
    step = -(-count // most)
    changed, moved = history.kept_share.numpy(), history.moved.numpy() / history.cells
    levels = history.mid_grey
    for first in range(0, count, step):
        part = slice(first, first + step)
        yield Stretch(
            float(history.pts_seconds[first]),
            len(changed[part]),
            float(changed[part].mean()),
            float(moved[part].mean()),
            int(history.is_key[part].sum()),
            float(error[part].max()),
            float(adjacent_error[part].max()),
            None if levels is None else _light(history, levels, part),
        )


def _light(history: History, levels: Tensor, part: slice) -> Light:
    """Returns the light of a part of the frames, whose mid-grey has these levels ``[T]``."""
    assert history.weights is not None
    gain, offset = 1.0, 0.0
    for g, o in history.weights[part].tolist():
        gain, offset = g * gain, g * offset + o
    return Light(gain, offset, float(levels[part].mean()))


def table(history: History, error: np.ndarray, adjacent_error: np.ndarray) -> list[Stretch]:
    """Returns few enough rows for a page."""
    return list(stretches(history, error, adjacent_error, _TABLE_ROWS))


def as_csv(history: History, error: np.ndarray, adjacent_error: np.ndarray) -> str:
    """Returns a row for each frame (of a long video, for some neighbouring ones), as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    lit = () if history.weights is None else Light._fields
    writer.writerow([*Stretch._fields[:-1], *lit])
    for row in stretches(history, error, adjacent_error, _MOST_ROWS):
        values = [*row[:-1], *(row.light or ())]
        writer.writerow([f"{each:.6g}" if isinstance(each, float) else each for each in values])
    return out.getvalue()


def as_link(text: str) -> str:
    """Returns the address of a file with this text, which is part of the page."""
    return "data:text/csv;base64," + base64.b64encode(text.encode()).decode()
