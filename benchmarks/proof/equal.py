"""RLT and ours at equal reading: each at its one setting for all clips, as ``readout`` found it.

The setting of fewest tokens that retains 99 % of what PP-OCR reads.
"""

import json
from typing import Any

import harness
from reading.ladder import LADDER

from proof import ways
from proof.ours import ours
from proof.towers import Sized
from proof.way import Way

READER = "PP-OCR"
NAMES = ("RLT", "patchgate")


def settings() -> dict[str, str]:
    """Each method's; nothing before ``readout`` has been run and has found one for both."""
    path = harness.RESULTS / "proof" / "readout.json"
    rows = json.loads(path.read_text())["rows"]["equal reading"] if path.exists() else []
    found = {row["method"]: row["setting"] for row in rows if row["reader"] == READER}
    steps = {step.setting for step in LADDER}
    there = found.get("RLT", "").startswith("tau=") and found.get("patchgate") in steps
    return {name: found[name] for name in NAMES} if there else {}


def both(tower: Sized) -> dict[str, Way]:
    """The two ways, by what ``named`` calls them."""
    said = settings()
    if not said:
        return {}
    tau = float(said["RLT"].removeprefix("tau="))
    changes = {step.setting: dict(step.changes) for step in LADDER}[said["patchgate"]]
    methods = (ways.before(tower, "RLT", tau, context="kept"),
               ours(tower, context="kept", **changes))  # fmt: skip
    return dict(zip(map(named, NAMES), methods, strict=True))


def named(method: str) -> str:
    """What it is called among all ways."""
    return f"{method}, equal reading"


def duel(rows: list[dict[str, Any]], ratio: float) -> dict[str, Any]:
    """One row of a clip, of those of all ways."""
    own = {name: next(r for r in rows if r["method"] == named(name)) for name in NAMES}
    return {
        "clip": rows[0]["clip"],
        **{f"{name}, kept": row["kept"] for name, row in own.items()},
        **{f"{name}, ms a frame": row["ms a frame"] for name, row in own.items()},
        "RLT / patchgate": round(ratio, 2),
        "settings": "; ".join(f"{name} {setting}" for name, setting in settings().items()),
    }
