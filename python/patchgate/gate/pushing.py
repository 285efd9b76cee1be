"""Takes the frames of a push through the op, with what a stream remembers and the ids it has left.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from torch import Tensor

from patchgate.gate.longterm.pictures import Remembered
from patchgate.gate.longterm.streams import Returned, gate_with_memory
from patchgate.gate.longterm.turns import Turn
from patchgate.gate.memory import GateMemory
from patchgate.gate.run import GateResult, captures, joined, run, with_room
from patchgate.gate.settings import GateSettings


def push_tubelets(
    tubelets: Tensor,
    memory: GateMemory,
    remembered: tuple[Remembered, ...],
    factors: Tensor | None,
    settings: GateSettings,
) -> Returned:
    """Gates tubelets ``[S, T, f, C, H, W]``, and changes the memory.

    Args:
        remembered: the pictures of each stream, S; empty of a gate without memory or without
            frames.
        factors: ``[h, w]``, the push's threshold map.

    Raises:
        TokenIdsUsedUp: there may be too few token ids.
        RuntimeError: a gate with memory is captured in a CUDA graph.
    """
    if not settings.memory:
        return Returned(run(tubelets, memory, factors), (), ((),) * len(tubelets))
    if captures(memory):
        raise RuntimeError(
            "memory: a push that remembers pictures reads numbers from the device, which a CUDA "
            "graph cannot capture; push outside of it, or make the gate with memory=None"
        )
    if not remembered:
        grid = tuple(memory.state.source.shape[1:])
        remembered = (Remembered.nothing(settings.memory, grid),) * len(tubelets)
    if memory.has_room(tubelets.shape[1]):
        return gate_with_memory(tubelets, memory, remembered, factors, settings)
    parts: list[GateResult] = []
    turns: tuple[tuple[Turn, ...], ...] = ((),) * len(tubelets)
    for t, one in enumerate(with_room(tubelets, memory)):
        part, remembered, new = gate_with_memory(one, memory, remembered, factors, settings)
        parts.append(part)
        turns = tuple(
            (*old, *(turn._replace(frame=turn.frame + t) for turn in own))
            for old, own in zip(turns, new, strict=True)
        )
    return Returned(joined(parts, 1), remembered, turns)
