"""What the rows say, as tables: every figure is computed from them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness import grouped

from reading.methods import FAMILIES, Dense, Ours
from reading.score import Row, cheapest, interval, total

TableRow = dict[str, Any]

DEFAULT = (Ours.family, Ours().setting)
DENSE = (Dense.family, Dense.setting)
ADJACENT = ("adjacent", "adjacent, sub-blocks")  # what the textbook gate is tuned over


def summary(rows: Sequence[Row]) -> list[TableRow]:
    """Every method under every reader, over all clips."""
    found = grouped(rows, lambda row: (row.reader, *row.method))
    table = [summary_row(*key, own) for key, own in found.items()]
    order = {family: i for i, family in enumerate(FAMILIES)}
    return sorted(table, key=lambda r: (r["reader"], order[r["family"]]))


def summary_row(reader: str, family: str, setting: str, rows: Sequence[Row]) -> TableRow:
    all_, (low, high) = total(rows), interval(rows)
    return {
        "reader": reader,
        "family": family,
        "setting": setting,
        "questions": all_.asked,
        "right": number(all_.accuracy),
        "retained": number(all_.retention),
        "95 %": f"{number(low)}..{number(high)}",
        "tokens/s": round(all_.rate),
        "kept": number(all_.share, 4),
        "work, kept": number(all_.kept_flops, 4),
        "work, full": number(all_.full_flops, 4),
        "work, own": number(all_.own_flops, 4),
    }


def by_group(rows: Sequence[Row], methods: Sequence[tuple[str, str]]) -> Iterator[TableRow]:
    """What is retained of each group under some methods, and what the dense video gives."""
    for reader, own in grouped(rows, lambda row: row.reader).items():
        groups = grouped(own, lambda row: row.group)
        for group, found in [*sorted(groups.items()), ("all", own)]:
            of = grouped(found, lambda row: row.method)
            dense = total(of[DENSE])
            yield {
                "reader": reader,
                "group": group,
                "asked": dense.asked,
                "dense, right": number(dense.accuracy),
                **{_short(m): number(total(of[m]).retention) for m in methods if m in of},
            }


def side_by_side(rows: Sequence[Row]) -> Iterator[TableRow]:
    """Our default under every reader."""
    for reader, own in grouped(rows, lambda row: row.reader).items():
        of = grouped(own, lambda row: row.method)
        (low, high), default = interval(of[DEFAULT]), total(of[DEFAULT])
        yield {
            "reader": reader,
            "questions": default.asked,
            "dense, right": number(total(of[DENSE]).accuracy),
            "our default, retained": number(default.retention),
            "95 %": f"{number(low)}..{number(high)}",
            "tokens/s": round(default.rate),
            "kept": number(default.share, 4),
            "work, own": number(default.own_flops, 4),
        }


def best_single(rows: Iterable[Row], families: Sequence[str]) -> tuple[str, str] | None:
    """The one setting of fewest tokens that retains enough over all clips together."""
    best = cheapest(row for row in rows if row.family in families)
    return None if best is None else (best.family, best.setting)


def number(value: float, digits: int = 3) -> float | str:
    """Rounded; a dash for what cannot be said, such as a share of nothing."""
    return "-" if math.isnan(value) else round(value, digits)


def _short(method: tuple[str, str]) -> str:
    return ", ".join(method)
