"""Our gate from fine to coarse: what it is tuned over, as peers are over their sweeps.

A cell is compared by its worst sub-block. The smaller these are, the higher a threshold can be that
still sees one letter change, while noise and soft edges stay below it: thresholds are therefore
named together with the sub-blocks a side.
"""

from typing import Any

from patchgate.gate import GateSettings
from reading.methods import Ours, ours

PRECISE: dict[str, Any] = {"motion_precision": 4}
# What jumps by lines, and blank paper where something stood, is found further away.
FAR: dict[str, Any] = {"on_motion": "reuse", "search_radius": 31, **PRECISE}
# Rules for light that changes and for pictures that return; a gate has one of them.
RULED: tuple[dict[str, Any], ...] = ({"illumination": "global"}, {"memory": 4})
_NEAR_STEPS = {2: (2, 3, 4, 8, 16), 4: (8, 12, 16, 24, 40), 8: (24, 40, 64), 16: (64, 100)}
_FAR_STEPS = {2: (8,), 4: (8, 12, 16, 24, 32, 48), 8: (24, 40, 64), 16: (64, 100)}


def at(sub_blocks: int, threshold: float, **changes: Any) -> Ours:
    """A step: our gate with so many sub-blocks a side."""
    parts = {} if sub_blocks == GateSettings().sub_blocks else {"sub_blocks": sub_blocks}
    return ours(**parts, threshold=threshold, **changes)


# To be tuned over by who knows the answers; no longer than the longest sweep of a peer.
LADDER: tuple[Ours, ...] = (
    ours(),
    *(at(parts, value, **PRECISE) for parts, own in _NEAR_STEPS.items() for value in own),
    *(at(parts, value, **FAR) for parts, own in _FAR_STEPS.items() for value in own),
    *(at(4, 12, **FAR, **rule) for rule in RULED),
)
# To meet a budget with, the finest first: thresholds by factors of the cube root of 2, 8 to 203.
# Far between frames, things have far to go.
BUDGET: tuple[Ours, ...] = tuple(
    at(8, round(8 * 2 ** (step / 3), 1), search_radius=16, **PRECISE) for step in range(15)
)
LEGIBLE = BUDGET[:10]  # up to 64 grey levels: above, letters are lost before frames need be
