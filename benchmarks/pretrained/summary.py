"""Rows of measure.py beside each other: against sampling at equal work, and medians over clips."""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from harness import grouped

from pretrained.equal import between, sampled
from pretrained.ladder import DEFAULTS, DENSE, SAMPLED

Row = dict[str, Any]
ERRORS = ("every", "changed", "worst", "cls", "saliency")
NOTHING = 1e-5  # an error below which two methods are not told apart


def against(rows: Sequence[Row]) -> list[Row]:
    """Rows of clips with ``sampled <error>``, what the dense tower on every k-th frame errs by at
    the same work, and ``<error> / sampled``; None where neither errs.
    """
    found = []
    for own in grouped(rows, where).values():
        points = {error: [(row["work"], row[error]) for row in own if row["family"] == SAMPLED]
                  for error in ERRORS}  # fmt: skip
        for row in own:
            more: Row = {}
            for error in ERRORS:
                theirs, ours = sampled(points[error], row["work"]), row[error]
                more[f"sampled {error}"] = theirs
                more[f"{error} / sampled"] = ratio(ours, theirs)
            found.append(row | more)
    return found


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """None where it says nothing."""
    if ours is None or theirs is None or max(ours, theirs) < NOTHING:
        return None
    return ours / max(theirs, NOTHING)


def where(row: Row) -> tuple[str, int]:
    """A row's clip or scene, and size."""
    return row.get("clip") or row["scene"], row["side"]


def defaults(rows: Sequence[Row]) -> list[Row]:
    """Those of ``gated`` as it is."""
    return [row for row in rows if row["method"] == DEFAULTS.name]


def medians(rows: Sequence[Row]) -> list[Row]:
    """A row for each method at each size: the median over clips of every number."""
    found = []
    for own in grouped(rows, lambda row: (row["side"], row["method"])).values():
        values: Row = {}
        for name in own[0]:
            known = [row[name] for row in own if isinstance(row.get(name), int | float)]
            values[name] = median(known) if known else own[0][name]
        found.append(values | {"clip": "median", "clips": len(own), "side": own[0]["side"]})
    return found


def alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of clips at one size, in parts whose medians can be compared: the methods that all clips
    have; then, if there are other methods, the clips that have all of them.
    """
    has = {clip: {row["method"] for row in own}
           for clip, own in grouped(rows, lambda row: row["clip"]).items()}  # fmt: skip
    every, some = set.intersection(*has.values()), set.union(*has.values())
    parts = [[row for row in rows if row["method"] in every]]
    if every != some:
        parts.append([row for row in rows if has[row["clip"]] == some])
    return [part for part in parts if part]


def marks(rows: Sequence[Row]) -> list[Row]:
    """Rows of scenes with ``behind``: J of the dense tower less theirs."""
    found = []
    for own in grouped(rows, where).values():
        (dense,) = (row["j"] for row in own if row["family"] == DENSE)
        found += [row | {"behind": dense - row["j"]} for row in own]
    return found


def ahead(rows: Sequence[Row], ours: str, peers: Sequence[str]) -> Iterator[Row]:
    """The peers' rows that err less over changed cells than our curve does at the same work;
    ``ours``: the family of our curve. A peer's row outside of the curve is compared with nothing.
    """
    for own in grouped(rows, where).values():
        points = [(row["work"], row["changed"]) for row in own if row["family"] == ours]
        for row in own:
            mine = between(points, row["work"]) if row["family"] in peers else None
            compared = ratio(mine, row["changed"])
            if compared is not None and compared > 1:
                yield row | {"ours / peer": compared}
