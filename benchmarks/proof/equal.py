"""Time at equal reading: RLT and ours, each at its one setting for all clips.

The setting of fewest tokens that retains 99 % of what PP-OCR reads: as ``readout`` found it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import harness
from reading.ladder import LADDER

from proof import ways
from proof.frames import decoded
from proof.ours import ours
from proof.towers import Sized
from proof.way import Done, Way, timed

READER = "PP-OCR"


def against_rlt(tower: Sized, path: Path, frames: int, rounds: int) -> Iterator[dict[str, Any]]:
    """One row of a clip; none before ``readout`` has been run."""
    said = found()
    if not {"RLT", "patchgate"} <= set(said):
        return
    batch = decoded(path, frames)
    tau = float(said["RLT"].removeprefix("tau="))
    changes = {step.setting: dict(step.changes) for step in LADDER}[said["patchgate"]]
    both: dict[str, Way] = {
        "RLT": ways.before(tower, "RLT", tau, context="kept"),
        "patchgate": ours(tower, context="kept", **changes),
    }
    runs: dict[str, list[tuple[Done, dict[str, float], float]]] = {name: [] for name in both}
    for _ in range(rounds + 1):  # the first warms
        for name, way in both.items():
            runs[name].append(timed(way, batch))
    seconds = {name: [spent for *_, spent in own[1:]] for name, own in runs.items()}
    cells = len(batch) * tower.cells[0] * tower.cells[1]
    yield {
        "clip": path.name,
        **{f"{name}, kept": round(own[0][0].tokens / cells, 4) for name, own in runs.items()},
        **{f"{name}, ms a frame": round(1e3 * median(own) / len(batch), 3)
           for name, own in seconds.items()},
        "RLT / patchgate": round(harness.ratio(seconds["RLT"], seconds["patchgate"]), 2),
        "settings": f"RLT {said['RLT']}; {said['patchgate']}",
    }  # fmt: skip


def found() -> dict[str, str]:
    """Each method's one setting, by ``readout``; nothing if it has not been run."""
    path = harness.RESULTS / "proof" / "readout.json"
    if not path.exists():
        return {}
    rows = json.loads(path.read_text())["rows"]["equal reading"]
    return {row["method"]: row["setting"] for row in rows if row["reader"] == READER}
