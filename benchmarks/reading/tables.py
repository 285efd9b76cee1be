"""What the rows say, as tables: every figure and every verdict is computed from them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reading.methods import FAMILIES, Dense, Ours
from reading.score import ENOUGH, Row, Setting, Total, cheapest, grouped, interval, total, tuned

TableRow = dict[str, Any]

DEFAULT = (Ours.family, Ours().setting)
DENSE = (Dense.family, Dense.setting)
ADJACENT = ("adjacent", "adjacent, sub-blocks")  # what the textbook gate is tuned over
HALVED = ("scroll", "pan")  # groups whose name has one of these: the aim is half the tokens


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


def per_clip(rows: Sequence[Row], key: str) -> Iterator[TableRow]:
    """Our default, one setting for all, against the adjacent gate tuned on each clip.

    Args:
        rows: of one reader.
        key: "group" or "scene".
    """
    theirs, ours = tuned(rows, ADJACENT), tuned(rows, (Ours.family,))
    default = [row for row in rows if row.method == DEFAULT]
    parts = grouped(default, lambda row: getattr(row, key))
    for name, own in [*sorted(parts.items()), ("all", default)]:
        yield _duel(name, own, theirs, ours, halved=key == "group")


def _duel(
    name: str, own: list[Row], theirs: dict[str, Setting], ours: dict[str, Setting], halved: bool
) -> TableRow:
    clips = {row.clip for row in own}
    mine = total(own)
    aim = 0.5 if halved and any(word in name for word in HALVED) else 1.0
    against = total([row for row in own if row.clip in theirs])
    spent = sum(theirs[clip].total.tokens for clip in clips if clip in theirs)
    share = against.tokens / spent if spent else math.nan
    each = sorted(
        total([row for row in own if row.clip == clip]).tokens / theirs[clip].total.tokens
        for clip in clips
        if clip in theirs
    )
    return {
        "": name,
        "clips": len(clips),
        "tuned": sum(clip in theirs for clip in clips),
        "retained": number(mine.retention),
        "tokens/s": round(mine.rate),
        "adjacent, tuned per clip": _rate([theirs[clip].total for clip in clips if clip in theirs]),
        "patchgate, tuned per clip": _rate([ours[clip].total for clip in clips if clip in ours]),
        "tokens, share": number(share, 2),
        "of each clip": f"{each[0]:.2f}..{each[-1]:.2f}" if each else "",
        "aim": f"<= {aim:g}",
        f"retained >= {ENOUGH}": verdict(mine.retention >= ENOUGH, mine.retention),
        "clips that reach it": f"{sum(one <= aim for one in each)} of {len(each)}",
    }


def tuned_rows(rows: Sequence[Row]) -> Iterator[TableRow]:
    """Clip by clip, the setting that the oracle picked."""
    for reader, own in grouped(rows, lambda row: row.reader).items():
        picked = {name: tuned(own, families) for name, families in
                  (("adjacent", ADJACENT), (Ours.family, (Ours.family,)))}  # fmt: skip
        for name, found in picked.items():
            for clip, each in found.items():
                yield {"reader": reader, "clip": clip, "tuned": name, "family": each.family,
                       "setting": each.setting, "tokens": each.total.tokens}  # fmt: skip


def number(value: float, digits: int = 3) -> float | str:
    """Rounded; a dash for what cannot be said, such as a share of nothing."""
    return "-" if math.isnan(value) else round(value, digits)


def verdict(reached: bool, figure: float) -> str:
    """Of an aim; a dash where there is no figure to judge."""
    return "-" if math.isnan(figure) else "reached" if reached else "missed"


def _rate(totals: Sequence[Total]) -> float | str:
    seconds = sum(each.seconds for each in totals)
    return round(sum(each.tokens for each in totals) / seconds) if seconds else "-"


def _short(method: tuple[str, str]) -> str:
    return ", ".join(method)
