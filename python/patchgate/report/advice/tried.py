"""The settings that ``advise`` tries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from patchgate._check import checked_count
from patchgate._check.text import nearest_first
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.gate import GateSettings
from patchgate.gate.settings import GateRules

EVERY = "every"  # the name of the setting that samples
_SAMPLED: tuple[dict[str, Any], ...] = tuple({EVERY: k} for k in (2, 3, 5, 10))
_PIXELS: tuple[dict[str, Any], ...] = (
    *({"threshold": level} for level in (2, 4, 8, 12)),
    {EVERY: 2, "threshold": 4},
    {EVERY: 2, "threshold": 8},
    {EVERY: 3, "threshold": 4},
)
_TOWER: tuple[dict[str, Any], ...] = (
    *({"threshold": 4, "tolerance": share} for share in (0.05, 0.1, 0.15, 0.2)),
    *({"threshold": 8, "tolerance": share} for share in (0.1, 0.2)),
    {"threshold": 12, "tolerance": 0.2},
    {EVERY: 2, "threshold": 4, "tolerance": 0.1},
    {EVERY: 2, "threshold": 8, "tolerance": 0.2},
    {EVERY: 3, "threshold": 4, "tolerance": 0.1},
)


@dataclass(frozen=True)
class Tried:
    """Settings that are tried: a gate, a fidelity, and how many frames apart they are taken."""

    given: dict[str, Any]  # by the names that ``advise`` takes
    every: int  # 1: every frame
    gate: GateSettings | None  # None: no gate; frames are taken whole
    fidelity: Fidelity | None  # None: there is no tower


def tried(
    wanted: Sequence[Mapping[str, Any]] | None, gate: GateSettings, fidelity: Fidelity | None
) -> list[Tried]:
    """Returns the settings to try, each once.

    Args:
        wanted: the user's; None: a handful, and those that gate and tower have.
        gate: the settings that each of them changes.
        fidelity: the same of the tower; None: there is no tower.

    Raises:
        TypeError: there is no such setting.
        ValueError: a value is out of range, or there are no settings.
    """
    if wanted is None:
        has_tolerance = fidelity is not None and fidelity.context == "full"
        usual = _TOWER if has_tolerance else _PIXELS
        own: dict[str, Any] = {"threshold": gate.threshold}
        own |= {"tolerance": fidelity.tolerance} if fidelity and has_tolerance else {}
        wanted = [own, *usual, *_SAMPLED]
    found: list[Tried] = []
    for each in wanted:
        one = _tried(each, gate, fidelity)
        same = [(other.every, other.gate, other.fidelity) for other in found]
        if (one.every, one.gate, one.fidelity) not in same:
            found.append(one)
    if not found:
        raise ValueError("settings: expected at least one, or None for the usual ones, got none")
    return found


def _tried(given: Mapping[str, Any], gate: GateSettings, fidelity: Fidelity | None) -> Tried:
    if not isinstance(given, Mapping):
        raise TypeError(
            "settings: expected dicts such as {'threshold': 8} or {'every': 2}, got "
            f"{type(given).__name__}"
        )
    rules = list(GateRules.__annotations__)
    inside = [each.name for each in fields(Fidelity)] if fidelity is not None else []
    for name in given:
        if name not in (EVERY, *rules, *inside):
            why = "" if fidelity is not None else " (without a tower)"
            listed = ", ".join(nearest_first(name, (EVERY, *rules, *inside)))
            raise TypeError(f"settings: expected names of {listed}{why}, got {name!r}")
    every = checked_count(EVERY, given.get(EVERY, 1), 1)
    if every > 1 and len(given) == 1:
        return Tried(dict(given), every, None, None)
    own = {name: value for name, value in given.items() if name in rules}
    near = {name: value for name, value in given.items() if name in inside}
    return Tried(
        dict(given),
        every,
        replace(gate, **own),
        None if fidelity is None else replace(fidelity, **near),
    )
