"""Where the time of a pipeline goes, and what a saving in its tower can be worth at most.

The stages are counted one after the other, as where each frame is waited for. ``tokenize`` decodes
beside the other stages: there the slower one of the two sides is what is waited for.

Source: G. M. Amdahl, "Validity of the single processor approach to achieving large scale computing
capabilities", AFIPS 1967.
"""

from collections.abc import Mapping
from statistics import median
from typing import Any, Protocol

from patchgate.cli.bench_ways import EVERY_CELL

TOWER = "tower"
# What the stages of a way are called here; the gate's way resizes a frame for the gate alone.
_WHOLE = {"gather": "resize", "encode": TOWER}
_GATED = {"grid": "resize", "gate": "gate", "compact": "gate", "gather": "gather", "encode": TOWER}
_ORDER = ("decode", "resize", "gate", "gather", TOWER, "rest")


class Measured(Protocol):
    """The measurements of one way."""

    stages: list[dict[str, float]]  # seconds of each run
    seconds: list[float]  # of each run


def where(
    measured: Mapping[str, Measured], decode_seconds: float, frames: int
) -> dict[str, dict[str, float]]:
    """Returns the milliseconds a frame of each part of each way, and their sum as ``total``.

    Args:
        measured: the measurements of each way, without decoding.
        decode_seconds: the time of decoding all frames.
        frames: the number of frames of one run.
    """
    found = {}
    for name, runs in measured.items():
        names = _WHOLE if name == EVERY_CELL else _GATED
        spent = dict.fromkeys([*names.values(), "rest"], 0.0)
        for stage, part in names.items():
            spent[part] += median(run.get(stage, 0.0) for run in runs.stages)
        both = zip(runs.seconds, runs.stages, strict=True)
        spent["rest"] = median(total - sum(run.values()) for total, run in both)
        spent["decode"] = decode_seconds
        if "encode" not in runs.stages[0]:
            del spent[TOWER]  # there is none
        ms = {part: 1e3 * spent[part] / frames for part in _ORDER if part in spent}
        found[name] = {**ms, "total": sum(ms.values())}
    return found


def shares(parts: Mapping[str, Mapping[str, float]]) -> dict[str, Any] | None:
    """Returns the tower's share of the time of every cell, and what saving in it is worth.

    Args:
        parts: the result of ``where``.

    Returns:
        None if there is no tower. Otherwise ``tower_share``, ``limit`` (how many times faster all
        would be with a tower that takes no time), and for each other way ``saving`` (the share of
        the tower's time that it saves), ``ceiling``, 1 / (1 - share * saving): how many times
        faster all is for that, the other parts being as they were, and ``times_faster``: what was
        measured, in which the gate costs time and cells that are not gathered save some.
    """
    plain = parts[EVERY_CELL]
    if TOWER not in plain:
        return None
    share = plain[TOWER] / plain["total"]
    ways = {}
    for name, spent in parts.items():
        if name == EVERY_CELL:
            continue
        saving = 1 - spent[TOWER] / plain[TOWER]
        ways[name] = {
            "saving": saving,
            "ceiling": 1 / (1 - share * saving),
            "times_faster": plain["total"] / spent["total"],
        }
    return {"tower_share": share, "limit": 1 / (1 - share), "ways": ways}


def lines(facts: Mapping[str, Any]) -> dict[str, str]:
    """Puts the facts ``where`` and ``shares`` in lines for people."""
    said = {}
    for name, spent in facts["where"].items():
        parts = ", ".join(
            f"{part} {ms:.2f} ({ms / spent['total']:.0%})"
            for part, ms in spent.items()
            if part != "total"
        )
        said[f"time, {name}"] = f"{spent['total']:.2f} ms a frame: {parts}"
    found = facts["shares"]
    if found is None:
        return {**said, "tower's share": "there is no tower: --tower shows its share of the time"}
    share = found["tower_share"]
    said["tower's share"] = (
        f"{share:.1%} of the time of {EVERY_CELL}: with a tower that takes no time, all would be "
        f"{found['limit']:.2f} x as fast"
    )
    for name, each in found["ways"].items():
        said[f"ceiling, {name}"] = (
            f"{each['saving']:.1%} of the tower saved: by itself {each['ceiling']:.2f} x as a "
            f"whole, 1 / (1 - {share:.3f} * {each['saving']:.3f}); measured, with what the other "
            f"parts cost and save, {each['times_faster']:.2f} x"
        )
    return said
