"""Which cells of every frame are new.

gate.py      Gate, the closed loop; GateResult
settings.py  its arguments, checked once, and what follows from them
inputs.py    what it accepts, and errors that say so
"""

from patchgate.gate.gate import Gate, GateResult
from patchgate.gate.settings import CHANGED, MERGED, MOVED, STATIC, GateSettings, OnMotion

__all__ = [
    "CHANGED",
    "MERGED",
    "MOVED",
    "STATIC",
    "Gate",
    "GateResult",
    "GateSettings",
    "OnMotion",
]
