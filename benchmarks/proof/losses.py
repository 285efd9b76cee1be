"""What we lose on, said from the figures: the page begins with it."""

from collections.abc import Iterator
from typing import Any

from harness import grouped

OURS = "patchgate"
ENOUGH_SPEED = 0.95  # of dense, on any clip at any concurrency
OVER_RLT = 1.5  # on clips of a camera that stands still, at equal read-out
ONE_SETTING = "one setting, ours / best"  # a column of the groups
Tables = dict[str, list[dict[str, Any]]]


def of(sections: dict[str, Tables]) -> list[str]:
    """One sentence each; empty where nothing is lost."""
    found: list[str] = []
    sections_told = (
        ("readout", _reading), ("changing", _changing), ("rates", _rates), ("speed", _speed),
    )  # fmt: skip
    for name, told in sections_told:
        if name in sections:
            found += told(sections[name])
    return found


def _reading(tables: Tables) -> Iterator[str]:
    rows = tables["by group"]
    missed = [row for row in rows if row[""] == "missed"]
    more = [row for row in missed if row["ours / best"] > 1]
    if missed:
        yield (f"At equal reading, tuned clip by clip, the aim is missed in {len(missed)} of "
               f"{len(rows)} groups.")  # fmt: skip
    if more:
        listed = ", ".join(f"{row['group']} ({row['reader']}: {row['best peer']}, ours "
                           f"{row['ours / best']:g} x)" for row in more)  # fmt: skip
        yield f"There the best peer keeps fewer tokens than ours in {len(more)}: {listed}."
    same = [r for r in rows if isinstance(r.get(ONE_SETTING), float) and r[ONE_SETTING] > 1]
    if same:
        listed = ", ".join(f"{row['group']} ({row['reader']}: {row[ONE_SETTING]:g} x)"
                           for row in same)  # fmt: skip
        yield (f"With one setting for all clips, ours keeps more tokens than the peer that needs "
               f"fewest over all in {len(same)} of {len(rows)} groups: {listed}.")  # fmt: skip
    for reader, own in grouped(tables["equal reading"], lambda row: row["reader"]).items():
        spent = {row["method"]: row["tokens/s"] for row in own if "tokens/s" in row}
        fewer = [m for m, t in spent.items() if OURS in spent and t < spent[OURS]]
        if OURS not in spent:
            yield f"{reader}: none of our settings retains 99 % over all clips."
        elif fewer:
            listed = ", ".join(f"{m} {spent[m]}" for m in fewer)
            yield (f"{reader}: with one setting for all clips that retains 99 %, fewer tokens a "
                   f"second than our {spent[OURS]}: {listed}.")  # fmt: skip


def _changing(tables: Tables) -> Iterator[str]:
    for row in tables["aims of light and returns"]:
        if row[""] == "missed":
            yield f"{row['reader']}, {row['what']}: {row['is']}, where {row['aim']} was aimed at."


def _rates(tables: Tables) -> Iterator[str]:
    for budget in dict.fromkeys(row["budget"] for row in tables["rising"]):
        own = [row for row in tables["rising"] if row["budget"] == budget]
        gain = {row["method"]: row["gain"] for row in own}
        if OURS not in gain:
            continue
        if gain[OURS] <= 0:
            yield (f"At the tokens of {budget} frames a second, 30 frames a second tell ours no "
                   f"more than 1 ({gain[OURS]:+.3f}).")  # fmt: skip
        last = {row["method"]: row["30 fps"] for row in tables["accuracy"]
                if row["budget"] == budget and row["30 fps"] != "-"}  # fmt: skip
        others = [m for m in last if not m.startswith(OURS) and m != "dense"]
        better = [f"{m} ({last[m]:.3f})" for m in others if last[m] > last.get(OURS, 0)]
        if better:
            yield (f"At the tokens of {budget} frames a second and 30 frames a second looked at, "
                   f"more is answered than with ours ({last[OURS]:.3f}) by: "
                   f"{', '.join(better)}.")  # fmt: skip
    for row in tables["accuracy"]:
        every = {name: value for name, value in row.items() if name.endswith(" fps")}
        best = max(every, key=lambda name: every[name] if every[name] != "-" else 0.0)
        if row["method"].startswith(OURS) and every["30 fps"] < every[best]:
            yield (
                f"At the tokens of {row['budget']} frames a second {row['method']} answers "
                f"most at {best} ({every[best]:.3f}), fewer at 30 ({every['30 fps']:.3f})."
            )
    for row in tables["by scene"]:
        if "-" not in (row["1 fps"], row["30 fps"]) and row["30 fps"] < row["1 fps"]:
            yield (f"Scene {row['scene']}: at the tokens of {row['budget']} frames a second "
                   f"{row['method']} falls from {row['1 fps']:.3f} at 1 to {row['30 fps']:.3f} at "
                   "30 frames a second.")  # fmt: skip


def _speed(tables: Tables) -> Iterator[str]:
    for row in tables["stages"]:
        if row["method"].startswith(OURS) and row["speed-up"] < ENOUGH_SPEED:
            yield (f"{row['clip']}: {row['method']} runs at {row['speed-up']:g} x the speed of the "
                   "dense tower.")  # fmt: skip
    for row in tables["streams"]:
        if row["method"].startswith(OURS) and row["of dense"] < ENOUGH_SPEED:
            yield (f"{row['clip']}, {row['streams']} live streams: {row['method']} runs at "
                   f"{row['of dense']:g} x the speed of the dense tower.")  # fmt: skip
    for row in tables.get("at equal reading", []):
        if row["RLT / patchgate"] < OVER_RLT:
            yield (f"{row['clip']}: at equal reading RLT takes {row['RLT / patchgate']:g} x our "
                   f"time, less than {OVER_RLT:g} x.")  # fmt: skip
