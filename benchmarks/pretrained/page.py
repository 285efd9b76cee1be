"""The page pretrained.md, from the JSON beside it: what we lose on, plots, tables."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import table
from harness import grouped

from pretrained import losses, plot, summary
from pretrained.ladder import DENSE
from pretrained.summary import Row

NAME = "pretrained"
COMMAND = "python benchmarks/pretrained/run.py"
_WORDS = """\
DINOv2-small (Oquab et al., arXiv 2304.07193) with its published weights, float32, pictures
stretched to a square; the same decoded frames and the same tower for all. Errors are 1 - cosine to
the features of the dense tower on the same frame: over `all` cells; over the `changed` ones, the
tenth that changed most in five frames; their 99th percentile (`99 %`); of `CLS`; and, of the map of
a `saliency` head above the tower, the mean absolute difference. `work`: counted operations, of the
dense tower's on all frames. `time`: of the dense tower's, the ratio of the medians of runs in turn;
a frame that is held costs nothing, so the time of the dense tower on every k-th frame is its share
of the frames by construction. `kept`: tokens that leave the tower, of all. `/ sampled`: an error
over that of the dense tower on every k-th frame, held, at equal work (between two k: a straight
line on logarithmic axes; above half of the work: a straight line to nothing)."""
_TRUTH = """\
A cut-out of one clip moves over another along a known path. The mask of the first frame is carried
on by nearest neighbours in the features, as DINO is tested on DAVIS; J is the intersection over the
union of carried and true masks, a mean over frames."""


def publish(folder: Path) -> Path:
    """Writes the page and its plots of ``folder``'s JSON, beside it."""
    content = json.loads((folder / f"{NAME}.json").read_text())
    clips = summary.against(content["rows"]["clip"])
    scenes = summary.marks(content["rows"]["scene"])
    sides = grouped(clips, lambda row: row["side"])
    # Of the clips that have all methods.
    middle = {side: summary.medians(summary.alike(rows)[-1]) for side, rows in sides.items()}
    plot.draw({_title(rows, side): rows for side, rows in middle.items()}, folder / f"{NAME}.png")
    for side, rows in sides.items():
        shown = grouped(rows, lambda row: row["clip"])
        titles = {f"{clip}, {side} px": own for clip, own in shown.items()}
        plot.draw(titles, folder / f"{NAME}_{side}.png")
    path = folder / f"{NAME}.md"
    path.write_text(text(clips, scenes, content["provenance"]))
    return path


def text(clips: Sequence[Row], scenes: Sequence[Row], source: Mapping[str, Any]) -> str:
    """The page as Markdown, of rows with what ``summary`` adds."""
    return "\n".join(_lines(clips, scenes, source)).rstrip() + "\n"


def _lines(clips: Sequence[Row], scenes: Sequence[Row], source: Mapping[str, Any]) -> Iterator[str]:
    load, seconds = source["highest load"], source["seconds"]
    yield from ("# A pretrained tower", "")
    yield from (f"Made by `{COMMAND}`; raw figures: `{NAME}.json`.", "")
    yield from ("## What we lose on", "")
    lost = losses.of(clips, scenes)
    yield from (f"- {each}" for each in lost or ["Nothing in what was measured."])
    told = table.told(dict(source))
    took = f"It took {seconds} s; the load of the machine when a part began: at most {load}."
    yield from ("", f"{told} {took}", "", _WORDS)
    yield from ("", "## At the defaults", "", *table.markdown(_defaults(clips)), "")
    sides = grouped(clips, lambda row: row["side"])
    yield from ("## Every method, the median over clips", "", f"![medians]({NAME}.png)", "")
    for side, rows in sides.items():
        for part in summary.alike(rows):
            middle = summary.medians(part)
            shown = table.markdown([_shown(row) for row in middle])
            yield from (f"### {_title(middle, side)}", "", *shown, "")
    yield from ("## A task with truth", "", _TRUTH, "", *_truth(scenes))
    yield from ("## Clip by clip", "")
    for side, rows in sides.items():
        yield from (f"![clip by clip at {side} px]({NAME}_{side}.png)", "")
        for clip, own in grouped(rows, lambda row: row["clip"]).items():
            shown = table.markdown([_shown(row) for row in own])
            yield from (f"### {clip}, {side} px, {own[0]['frames']} frames", "", *shown, "")


def _defaults(rows: Sequence[Row]) -> list[Row]:
    """A row for each clip at each size, and their medians."""
    own = summary.defaults(rows)
    return [
        {
            "clip": row["clip"], "px": row["side"], "kept": _number(row["kept"], 3),
            "work": _number(row["work"], 3), "speed-up": _number(1 / row["time"], 2),
            "of the counted": _number(row["work"] / row["time"], 2),
            "all": _number(row["every"]), "changed": _number(row["changed"]),
            "sampled, changed": _number(row["sampled changed"]),
            "changed / sampled": _number(row["changed / sampled"], 2),
            "all / sampled": _number(row["every / sampled"], 2),
            "CLS": _number(row["cls"]), "saliency": _number(row["saliency"]),
        }
        for row in [*own, *summary.medians(own)]
    ]  # fmt: skip


def _shown(row: Row) -> Row:
    """A method's row."""
    return {
        "method": row["method"], "kept": _number(row["kept"], 3), "work": _number(row["work"], 3),
        "time": _number(row["time"], 3), "all": _number(row["every"]),
        "changed": _number(row["changed"]), "99 %": _number(row["worst"]),
        "CLS": _number(row["cls"]), "saliency": _number(row["saliency"]),
        "changed / sampled": _number(row["changed / sampled"], 2),
        "all / sampled": _number(row["every / sampled"], 2),
    }  # fmt: skip


def _truth(rows: Sequence[Row]) -> Iterator[str]:
    """J of the dense tower by scene, then what every method does to it."""
    usual = {summary.where(row): row for row in summary.defaults(rows)}
    pairs = [(row, usual[summary.where(row)]) for row in rows if row["family"] == DENSE]
    yield from table.markdown([
        {"scene": dense["scene"], "px": dense["side"], "frames": dense["frames"],
         "J, dense": _number(dense["j"], 3), "at the defaults": _less(ours["behind"]),
         "work": _number(ours["work"], 3)}
        for dense, ours in pairs
    ])  # fmt: skip
    for side, own in grouped(rows, lambda row: row["side"]).items():
        methods = grouped((r for r in own if r["family"] != DENSE), lambda row: row["method"])
        yield from ("", f"### J less the dense tower's, {side} px", "")
        yield from table.markdown([
            {"method": name, "work": _number(mean(row["work"] for row in some), 3),
             "mean": _less(mean(row["behind"] for row in some)),
             "worst": _less(max(row["behind"] for row in some))}
            for name, some in methods.items()
        ])  # fmt: skip
    yield ""


def _title(middle: Sequence[Row], side: int) -> str:
    return f"{side} px, median of {middle[0]['clips']} clips"


def _less(behind: float) -> str:
    return f"{-behind:+.3f}"


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
