"""Which cells of every frame are new.

gate.py      Gate, the closed loop; GateResult
settings.py  its arguments, checked once, and what follows from them
inputs.py    what it accepts, and errors that say so
memory.py    the gate's memory of its streams, and how many token ids are left
run.py       the gate's op on a state, and on a clip of its own
state.py     what a gate's state may be: the one place that knows
tensors.py   the tensors of the gate's stream state
saved.py     what the saved states of streams have in common: a digest, a safetensors file
calls.py     calls that change an object wholly or not at all, and one at a time
undo.py      how a push is taken back: a copy of the state from before it
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
