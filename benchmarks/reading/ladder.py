"""Our gate from fine to coarse: what it is tuned over, as peers are over their sweeps.

A cell is compared by its worst sub-block. The smaller these are, the higher a threshold can be that
still sees one letter change, while noise and soft edges stay below it: thresholds are therefore
named together with the sub-blocks a side.
"""

from dataclasses import fields
from typing import Any

from patchgate.gate_settings import GateSettings
from reading.methods import Ours, ours

_WHOLE = {2: (1, 2, 3, 6, 8, 12, 16, 24, 32), 4: (8, 16, 24, 32, 48, 64),
          8: (16, 24, 32, 48, 64, 100)}  # fmt: skip
_QUARTERS = {2: (4,), 4: (12, 24, 32), 8: (24, 32, 64)}
# Motion to a quarter of a pixel, where the gate has it.
PRECISE: dict[str, Any] = (
    {"motion_precision": 4} if "motion_precision" in {f.name for f in fields(GateSettings)} else {}
)


def at(sub_blocks: int, threshold: float, **changes: Any) -> Ours:
    """A step: our gate with so many sub-blocks a side."""
    parts = {} if sub_blocks == GateSettings().sub_blocks else {"sub_blocks": sub_blocks}
    return ours(**parts, threshold=threshold, **changes)


# To be tuned over by who knows the answers; no longer than the longest sweep of a peer.
LADDER: tuple[Ours, ...] = (
    ours(),
    *(at(parts, value) for parts, own in _WHOLE.items() for value in own),
    *(at(parts, value, **PRECISE) for parts, own in _QUARTERS.items() for value in own if PRECISE),
)
# To meet a budget with, the finest first: thresholds by factors of the cube root of 2, 8 to 203.
# Far between frames, things have far to go.
BUDGET: tuple[Ours, ...] = tuple(
    at(8, round(8 * 2 ** (step / 3), 1), search_radius=16, **PRECISE) for step in range(15)
)
LEGIBLE = BUDGET[:10]  # up to 64 grey levels: above, letters are lost before frames need be
