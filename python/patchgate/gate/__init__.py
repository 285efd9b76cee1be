"""Which cells of every frame are new.

gate.py      Gate, the closed loop; now.py its state between two pushes
settings.py  its arguments, checked once; Kind, the kinds of cells
inputs.py    checks the arguments of a push
run.py       GateResult; calls the op, on the memory of one gate or several, or on a whole clip
step.py      a push that can be made together with those of other gates
memory.py    the gate's memory of its streams, and how many token ids are left
bank.py      the memories of several gates side by side
tensors.py   the tensors of that memory; state.py checks loaded ones
saved.py     the parts that all saved states of streams share: a digest, a safetensors file
calls.py     calls that change their object completely or not at all; only one runs at a time
pushing.py   takes the frames of a push through the op
longterm/    pictures that a stream remembers, and that may come back
undo.py      undoes a push with a copy of the state from before it

The rule by which a cell is called changed is the op's: ``reference/gate.py`` defines it in plain
torch, ``csrc/cpu/gate/`` and ``csrc/cuda/gate/`` compute it.
"""

from patchgate.gate.gate import Gate, GateResult
from patchgate.gate.settings import (
    CHANGED,
    MERGED,
    MOVED,
    RETURNED,
    STATIC,
    GateSettings,
    OnMotion,
)

__all__ = [
    "CHANGED",
    "MERGED",
    "MOVED",
    "RETURNED",
    "STATIC",
    "Gate",
    "GateResult",
    "GateSettings",
    "OnMotion",
]
