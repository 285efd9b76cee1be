"""The states of several gates side by side, so that one call of the op serves all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from weakref import WeakSet

import torch

from patchgate.gate.tensors import State


class Movable(Protocol):
    """The memory of a gate."""

    @property
    def state(self) -> State: ...

    def move(self, bank: Bank, slot: int) -> None: ...


class Bank:
    """One block of memory for each tensor of the state, with a slot for each of several gates.

    Each gate keeps its own memory, whose tensors are then views of its slot. Neighbours can be
    gated in one call, because their slots are one tensor.
    """

    def __init__(self, memories: Sequence[Movable]) -> None:
        """Moves the states there, in this order. All are of one stream, one shape and device."""
        with torch.inference_mode(False):  # later pushes may come from outside of it
            first = memories[0].state
            self._state = State(
                *(part.new_empty((len(memories), *part.shape[1:])) for part in first)
            )
        self.members: WeakSet[Movable] = WeakSet()
        for slot, memory in enumerate(memories):
            memory.move(self, slot)

    def part(self, first: int, end: int) -> State:
        """Returns the state of some neighbours, as views."""
        with torch.inference_mode(False):
            return State(*(tensor[first:end] for tensor in self._state))
