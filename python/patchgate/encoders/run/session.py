"""Takes one clip through a gate and a tower, push after push.

Letters: T frames (or tubelets), f frames of a tubelet, C channels, H W pixels, N cells.
"""

from dataclasses import replace

import torch
from torch import Tensor

from patchgate.encoders.run.clip import ClipOutput, encode_steps
from patchgate.encoders.run.computed import Waiting, computed_cells
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import Memory
from patchgate.encoders.run.packed import Kept
from patchgate.encoders.run.pooling import Pool
from patchgate.encoders.run.still import stand_still
from patchgate.encoders.run.together import Steps, alone
from patchgate.encoders.tower import Tower
from patchgate.gate import CHANGED, Gate, GateResult
from patchgate.gate.calls import Undo
from patchgate.gate.longterm.turns import Turn
from patchgate.gate.step import GateStep


class Session:
    """The state that one push of a clip leaves for the next: the gate's, and the tower's memory.

    However a clip is cut, its pushes return together what one push of the whole clip returns. A
    call of a gated tower opens a session for each clip, and a stream keeps one. The pipeline has a
    gate of its own and keeps a session without a gate.
    """

    def __init__(self, fidelity: Fidelity, gate: Gate | None = None) -> None:
        """Begins a clip.

        Args:
            fidelity: the settings.
            gate: a gate without state. None: only ``encode`` is called, with another gate's result.
        """
        self.fidelity, self.gate = fidelity, gate
        self.memory: Memory | None = None  # None: there was no frame yet
        self.waiting = Waiting()

    @property
    def frames(self) -> int:
        """The number of frames (tubelets) so far."""
        return 0 if self.memory is None else self.memory.frames

    @property
    def emitted(self) -> int:
        """The number of tokens so far, which is the id of the next one."""
        return 0 if self.memory is None else self.memory.emitted

    @property
    def gated(self) -> bool:
        """Whether its own gate has seen frames."""
        return self.gate is not None and self.gate.picture_ids is not None

    def push(
        self, tower: Tower, frames: Tensor, planes: Tensor, hidden: list[int], last: bool = False
    ) -> tuple[ClipOutput, GateResult]:
        """Gates the next frames and encodes the cells that changed. Synchronises.

        ``pushing`` has the arguments.
        """
        return alone(self.pushing(tower, frames, planes, hidden, last))

    def pushing(
        self, tower: Tower, frames: Tensor, planes: Tensor, hidden: list[int], last: bool = False
    ) -> Steps[tuple[ClipOutput, GateResult]]:
        """Does what ``push`` does, in steps that ``together`` computes for several sessions.

        Args:
            frames: ``[T * f, C, H, W]``, as ``Tower.opened`` returns them.
            planes: uint8 ``[T * f, 3, H, W]``: the same frames as the gate compares them.
            hidden: the numbers of the hidden states that are wanted.
            last: whether the clip ends with these frames, so that nothing need be remembered.
        """
        assert self.gate is not None
        result = yield GateStep(self.gate, planes)  # undone by ``mark``
        later = None if last else later_ids(self.gate)
        kept = self.kept(tower, frames, result)._replace(turns=turns_of(self.gate))
        return (yield from self.encoding(tower, kept, hidden, later)), result

    def encode(
        self,
        tower: Tower,
        kept: Kept,
        hidden: list[int],
        later: Tensor | None,
        dense: bool = True,
        pool: Pool | None = None,
    ) -> ClipOutput:
        """Encodes the next frames, whose kept cells the caller chose. It checks nothing.

        ``encoding`` has the arguments.
        """
        return alone(self.encoding(tower, kept, hidden, later, dense, pool))

    def encoding(
        self,
        tower: Tower,
        kept: Kept,
        hidden: list[int],
        later: Tensor | None,
        dense: bool = True,
        pool: Pool | None = None,
    ) -> Steps[ClipOutput]:
        """Does what ``encode`` does, in steps that ``together`` computes for several sessions.

        Args:
            kept: the kept cells of these frames, and the token that explains each cell.
            hidden: the numbers of the hidden states that are wanted.
            later: integer ids of tokens that frames after these may name beside those that the last
                frame shows. None: the clip ends here, and nothing is remembered.
            dense: True computes the states of every token of every frame, False only the features
                of kept cells.
            pool: compute nothing but this vector of each frame.
        """
        memory = self.memory
        if memory is None:
            memory = Memory.empty(kept.mask.device, tower.computed_layers)
        given = kept, hidden, later, dense, pool
        output = yield from encode_steps(tower, self.fidelity, memory, *given)
        if later is not None:
            # Without gradients there is no graph that it could hold.
            grad = torch.is_grad_enabled()
            self.memory = output.memory.detached() if grad else output.memory
        return output

    def stands_still(self, tower: Tower, rows: int, source: Tensor) -> bool:
        """Whether the next frames show what the last one showed. If so, they are noted, and
        nothing needs to be encoded. Synchronises.

        Args:
            rows: how many cells have rows.
            source: ``[T, N]`` int64: the token that explains each cell.
        """
        memory, weight = self.memory, tower.weight
        if memory is None or memory.made_with is None:
            return False
        known = memory.made_with
        if (known.dtype, known.device) != (weight.dtype, weight.device):
            return False  # ``encoding`` says what is wrong
        if not stand_still(self.fidelity, memory, rows, source):
            return False
        self.memory = replace(memory, frames=memory.frames + len(source))
        return True

    def still(self, tower: Tower, source: Tensor) -> bool:
        """Does what ``computed`` and ``stands_still`` do together, for frames in which the gate
        kept and moved no cell. If this is False, nothing was noted.
        """
        if self.fidelity.pass_over is not None:  # cells of earlier frames may be due
            return False
        if not self.stands_still(tower, 0, source):
            return False
        self.waiting = Waiting(self.waiting.seen + len(source))
        return True

    def kept(self, tower: Tower, frames: Tensor, result: GateResult) -> Kept:
        """Takes the patches of the cells that are embedded from frames ``[T * f, C, H, W]``.
        Synchronises.
        """
        kind = result.kind.flatten(1)  # [T, N]
        mask, given = kind == CHANGED, self.computed(kind)
        index = given.flatten().nonzero().flatten()  # [G]
        count = int(mask.sum()) if self.fidelity.owns else len(index)
        return Kept(tower.rows(frames, index), mask, result.source.flatten(1), given, count)

    def computed(self, kind: Tensor) -> Tensor:
        """Returns which cells of the next frames enter the tower with their own pixels, ``[T, N]``
        bool. Call it once for each frame, in order: frames that are passed over are noted.

        Args:
            kind: ``[T, N]`` uint8, what the gate calls each cell.
        """
        cells, self.waiting = computed_cells(self.fidelity, kind, self.waiting)
        return cells

    def mark(self) -> Undo:
        """Notes the state. Calling what this returns brings it back."""
        # Never written to: each push makes others.
        memory, fidelity, waiting = self.memory, self.fidelity, self.waiting
        undo = None if self.gate is None else self.gate._mark()

        def back() -> None:
            if undo is not None:
                undo()
            self.memory, self.fidelity, self.waiting = memory, fidelity, waiting

        return back


def later_ids(gate: Gate) -> Tensor:
    """Returns the ids, integers, of tokens that later frames may name and the last may not show.

    They are a view of the gate's own memory, which its next push changes, or a copy. Motion can
    move single pixels of the reference picture so that they form a cell again, and cells of
    remembered pictures may return.
    """
    assert gate.picture_ids is not None
    ids, remembered = gate.picture_ids.flatten(), gate.memory_ids
    if remembered is None:
        return ids
    return torch.cat([ids.long(), remembered[remembered >= 0]])


def turns_of(gate: Gate) -> tuple[Turn, ...]:
    """Returns the turns of the last push of a gate of one stream."""
    return gate.turns[0] if gate.turns else ()
