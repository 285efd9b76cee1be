"""A push of a gate that can be made together with those of other gates.

Letters: S streams, T frames (or tubelets).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from torch import Tensor

from patchgate.gate.gate import Gate
from patchgate.gate.longterm.streams import Returned
from patchgate.gate.run import GateResult, Push, captures, run_together


class GateStep:
    """A push of one gate, which is checked at once, and made by ``alone`` or ``together``.

    Gates of one stream each, with the same rules and frames of one shape, are served by one call of
    the op; those that remember pictures are not. Whoever makes it has marked all of these gates, so
    that it can be undone.

    Attributes:
        key: steps of one key may be made together.
    """

    def __init__(self, gate: Gate, planes: Tensor) -> None:
        """``planes``: the next frames, as ``Gate.push`` takes them.

        Raises:
            TypeError, ValueError: as ``Gate.push`` raises them.
        """
        self._gate, self._planes = gate, planes
        self._push: Push | None = None
        self.key: Hashable = ("gate", id(self))
        if type(gate) is not Gate:  # another kind of gate decides in its own way
            return
        self._push = gate._begun(planes, None)
        tubelets, memory, *_ = self._push
        alone = gate.settings.memory or memory.fixed or captures(memory)
        if len(tubelets) == 1 and tubelets.shape[1] and not alone:
            age, light = memory.layout.shapes["births"][1], gate.settings.illumination
            self.key = ("gate", tubelets.shape, tubelets.device, age, light, memory.rules)

    @property
    def rows(self) -> int:
        """The number of frames."""
        return self._planes.shape[-4]

    def alone(self) -> GateResult:
        """Makes the push; see ``Gate.push``."""
        gate, push = self._gate, self._push
        if push is None:
            return gate._pushed(self._planes, None)
        return gate._ended(push, gate._run(push))

    def together(self, steps: Sequence[GateStep]) -> list[GateResult]:
        """Makes the pushes of several steps of one key, this one among them."""
        pushes = [step._push for step in steps if step._push is not None]
        results = run_together([(push.tubelets, push.memory) for push in pushes])
        return [step._gate._ended(push, Returned(result, (), ((),)))
                for step, push, result in zip(steps, pushes, results, strict=True)]  # fmt: skip
