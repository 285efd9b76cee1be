"""reading.md: the tables, with nothing said beside them that they do not show."""

from collections.abc import Iterator, Sequence
from typing import Any

import table
from harness import grouped

from reading import tables
from reading.methods import Adjacent, Ours, TopK, Uniform
from reading.score import ENOUGH, TOWER, Row

_WORDS = f"""\
`questions`: asked over all clips. `right`: the share answered right. `retained`: of those that the
reader answers right from the dense video, the share that it still does; `95 %`: of a bootstrap over
clips, which of clips without a loss can say nothing but 1. `tokens/s`: kept cells of 16 px a
second. `work`: floating-point operations
of the layers of {TOWER} on the kept cells over those on all, where kept cells attend to kept cells
of their frame (`kept`) or to all cells of it (`full`); `own`: what the reader's own tower did, and
the same as `full` for readers that have none."""


def text(rows: Sequence[Row], source: dict[str, Any], real: Sequence[dict[str, Any]]) -> str:
    """The page, as Markdown; ``real``: rows of ``real.py``, none if it was not run."""
    return "\n".join(_lines(rows, source, real)).rstrip() + "\n"


def _lines(
    rows: Sequence[Row], source: dict[str, Any], real: Sequence[dict[str, Any]]
) -> Iterator[str]:
    yield from ("# Dense reading", "")
    yield from ("Made by `benchmarks/reading/curve.py`; raw figures: `reading.json`.", "")
    yield from (f"{table.told(source)} The run took {source['seconds']} s.", "")
    yield from (_WORDS, "", "![retention against tokens and work](reading.png)", "")
    yield from ("## Our default under every reader", "")
    yield from (*table.markdown(list(tables.side_by_side(rows))), "")
    for reader, own in grouped(rows, lambda row: row.reader).items():
        yield from _reader(reader, own)
    yield from ("## A real recording", "", *_real(real), "")


def _reader(reader: str, rows: Sequence[Row]) -> Iterator[str]:
    clips = {row.clip for row in rows}
    peers = any(row.family in tables.ADJACENT for row in rows)
    single = tables.best_single(rows, tables.ADJACENT)
    compared = [
        tables.DEFAULT,
        (Adjacent.family, Adjacent(0.1).setting),
        *([single] if single else []),
        (TopK.family, TopK().setting),
        (Uniform.family, Uniform(2).setting),
    ]
    yield from (f"## {reader}", "", f"{len(clips)} clips.", "")
    yield from ("### Retained, by group", "", *(_single(single) if peers else ()), "")
    yield from (*table.markdown(list(tables.by_group(rows, compared)), hide=("reader",)), "")
    summary = grouped(tables.summary(rows), lambda row: row["family"])
    for family, own in summary.items():
        shown = table.markdown(own, hide=("reader", "family"))
        yield from (f"### {_title(family)}", "", *shown, "")


def _real(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return ["Not part of this run."]
    first = rows[0]
    told = (
        f"`{first['video']}`, {first['seconds']:.0f} s at {first['grid'][0]} x {first['grid'][1]}: "
        f"{first['strings']} strings that PP-OCR reads with confidence from the dense video."
    )
    shown = [
        {
            "method": row["method"],
            "strings equal": tables.number(row["equal"] / max(1, row["strings"])),
            "characters right": tables.number(row["characters_right"] / max(1, row["characters"])),
            "tokens/s": round(row["tokens_per_second"]),
            "kept": tables.number(row["kept_share"], 4),
        }
        for row in rows
    ]
    return [told, "", *table.markdown(shown)]


def _single(single: tuple[str, str] | None) -> list[str]:
    if single is None:
        return [f"No one setting of the adjacent gate retains {ENOUGH:.0%} over all clips."]
    return [f"`{', '.join(single)}`: the adjacent gate of fewest tokens that retains {ENOUGH:.0%} "
            "over all clips together."]  # fmt: skip


def _title(family: str) -> str:
    return "patchgate: thresholds and other settings" if family == Ours.family else family
