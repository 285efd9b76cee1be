"""Which cells of every frame are new.

gate.py      Gate, the closed loop
settings.py  its arguments, checked once; Kind, what a cell is called
inputs.py    checks what a push is given
run.py       GateResult; calls the op, on a gate's memory or on a clip of its own
memory.py    what the gate remembers of its streams, and how many token ids are left
tensors.py   the tensors of that memory; state.py says what loaded ones may be
saved.py     what the saved states of streams have in common: a digest, a safetensors file
calls.py     a call changes its object wholly or not at all, and one call runs at a time
undo.py      takes a push back: a copy of the state from before it

The rule by which a cell is called changed is the op's: ``reference/gate.py`` defines it in plain
torch, ``csrc/cpu/gate/`` and ``csrc/cuda/gate/`` compute it.
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
