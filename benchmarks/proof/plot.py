"""The proof's plots, drawn from its JSON."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator, PercentFormatter

TableRow = dict[str, Any]
OURS = "patchgate"
# Colours of Okabe and Ito, told apart by the colour-blind too; others are thin and grey.
_COLOURS = {
    OURS: "#0072B2", "patchgate, fewer frames": "#004B75", "patchgate, merged": "#7A3E9D",
    "patchgate, sub_blocks=4": "#4D9BC7", "patchgate, sub_blocks=8": "#8CC0DE",
    "dense": "#000000", "RLT": "#D55E00", "EVS": "#009E73",
    "GRT gate, SSIM": "#E69F00", "uniform": "#555555", "codec-patch-stream": "#CC79A7",
    "FrameFusion": "#56B4E9",
}  # fmt: skip
_GREY, _MARKERS = "#b0b0b0", "sD^v<>ph*Xd"


def reading(rows: Sequence[TableRow], path: Path) -> None:
    """Retention against tokens, one panel a reader."""
    readers = list(dict.fromkeys(row["reader"] for row in rows))
    figure, axes = plt.subplots(1, len(readers), figsize=(6.2 * len(readers), 4.6), squeeze=False)
    for axis, reader in zip(axes[0], readers, strict=True):
        own = [row for row in rows if row["reader"] == reader and row["method"] != "dense"]
        for method, found in _by([row | {"line": _knob(row)} for row in own], "line"):
            points = sorted((row["tokens/s"], row["retained"]) for row in found)
            _line(axis, method, [p[0] for p in points], [p[1] for p in points])
        axis.set(title=f"{reader}", xlabel="tokens a second", xscale="log",
                 ylabel="of what is read from the dense video")  # fmt: skip
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0, -1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))
    _save(figure, path)


def _knob(row: TableRow) -> str:
    """A line for each knob: of ours, thresholds are on one if all else is the same."""
    if row["method"] != OURS or row["setting"] == "default":
        return str(row["method"])
    others = [name for name in row["setting"].split(", ") if not name.startswith("threshold=")]
    return ", ".join([OURS, *others])


def rates(rows: Sequence[TableRow], path: Path) -> None:
    """Accuracy against frames a second, one panel a budget."""
    budgets = [b for b, _ in _by(rows, "budget") if b != "all"]
    figure, axes = plt.subplots(1, len(budgets), figsize=(6.2 * len(budgets), 4.6), squeeze=False)
    for axis, budget in zip(axes[0], budgets, strict=True):
        for row in (row for row in rows if row["budget"] in (budget, "all")):
            points = [(float(name.split()[0]), value) for name, value in row.items()
                      if name.endswith(" fps") and value != "-"]  # fmt: skip
            _line(axis, row["method"], [p[0] for p in points], [p[1] for p in points])
        axis.set(title=f"tokens of {budget} whole frames a second", xscale="log",
                 xlabel="frames a second looked at", ylabel="questions answered right")  # fmt: skip
        axis.set_xticks([float(name.split()[0]) for name in rows[0] if name.endswith(" fps")])
        axis.xaxis.set_major_formatter("{x:g}")
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes[0, -1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1))
    _save(figure, path)


def stages(rows: Sequence[TableRow], names: Sequence[str], path: Path) -> None:
    """Milliseconds a frame, stacked, one panel a clip."""
    clips = list(_by(rows, "clip"))
    figure, axes = plt.subplots(1, len(clips), figsize=(6.2 * len(clips), 6), squeeze=False)
    for axis, (clip, found) in zip(axes[0], clips, strict=True):
        methods, left = [row["method"] for row in found], [0.0] * len(found)
        for name in names:
            spent = [row[name] for row in found]
            axis.barh(methods, spent, left=left, label=name)
            left = [a + b for a, b in zip(left, spent, strict=True)]
        axis.invert_yaxis()
        axis.set(title=str(clip), xlabel="ms a frame")
    axes[0, -1].legend(fontsize=8)
    _save(figure, path)


def scaling(tables: dict[str, list[TableRow]], path: Path) -> None:
    """Three panels, both axes logarithmic."""
    figure, (first, second, third) = plt.subplots(1, 3, figsize=(16, 4.6))
    rate = tables["frames a second"]
    for name in ("dense", "RLT", OURS):
        x = [row["frames a second"] for row in rate]
        _line(first, name, x, [row[f"{name}, ms a second"] for row in rate])
    first.set(xlabel="frames a second", ylabel="ms for a second of video", title="rate")
    size = tables["resolution"]
    x = [row["pixels"] for row in size]
    _line(second, OURS, x, [row["tokens a frame"] for row in size])
    _line(second, "dense", x, [row["cells a frame"] for row in size])
    second.set(xlabel="pixels of the grid", ylabel="tokens a frame", title="resolution")
    length = tables["length"]
    x = [row["seconds"] for row in length]
    _line(third, "peak MB", x, [row["peak MB"] for row in length])
    _line(third, "frames/s", x, [row["frames/s, all in all"] for row in length])
    third.set(xlabel="seconds of video", title="length (command line, no tower)")
    for axis in (first, second, third):
        axis.set(xscale="log", yscale="log")
        axis.legend(fontsize=8)
    _save(figure, path)


def _line(axis: Axes, method: str, x: Sequence[float], y: Sequence[float]) -> None:
    colour = _COLOURS.get(method, _GREY)
    marker = "o" if method == OURS else _MARKERS[sum(method.encode()) % len(_MARKERS)]
    width, order = (2.2, 3) if method == OURS else (1.0, 2)
    axis.plot(x, y, label=method, color=colour, marker=marker, markersize=4, linewidth=width,
              zorder=order)  # fmt: skip
    axis.grid(which="both", color="#e5e5e5", linewidth=0.6)
    axis.set_axisbelow(True)


def _by(rows: Sequence[TableRow], key: str) -> Iterator[tuple[Any, list[TableRow]]]:
    for value in dict.fromkeys(row[key] for row in rows):
        yield value, [row for row in rows if row[key] == value]


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
