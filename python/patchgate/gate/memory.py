"""The gate's memory of its streams, and how many token ids are left.

Letters: S streams, T frames (or tubelets), f frames of a tubelet, C planes, H W pixels, h w cells,
N = h * w, A the gate's max_age, or 0.
"""

import math
from typing import Any, Self

import torch
from torch import Tensor

from patchgate.gate.bank import Bank
from patchgate.gate.settings import GateSettings
from patchgate.gate.tensors import State, StateLayout, shapes_of
from patchgate.gate.undo import Before, Home

MOST_TOKENS = 2**31 - 2  # of a stream since its reset: ids have 32 bits (csrc/cpu/gate/gate.cpp)


class TokenIdsUsedUp(ValueError):
    """A stream may need more token ids than int32 has numbers."""


class GateMemory:
    """The state of a gate's streams, which pushes change in place, and a copy from before a push.

    Args:
        picture: ``[S, f, C, H, W]``, the shape of the reference picture.
        settings: the gate's settings.
        device: the device of the state.
    """

    layout: StateLayout
    cells: int  # N
    rules: tuple[Any, ...]  # of the op
    before: Before
    fixed = False  # whether the state must stay where it is: a CUDA graph writes to it

    def __init__(
        self, picture: tuple[int, ...], settings: GateSettings, device: torch.device
    ) -> None:
        self.layout = StateLayout(shapes_of(picture, settings))
        self.cells = math.prod(self.layout.shapes["source"][1:])
        self.follow(settings)
        with torch.inference_mode(False):  # later pushes may come from outside of it
            flat = torch.zeros(self.layout.size, dtype=torch.uint8, device=device)
            home = Home(self.layout.parts(flat), flat)
        self.before = Before(self.layout, home)
        self._spare: State | None = None
        self._most: int | None = 0  # tokens that any stream has emitted, at most; None: look it up

    @property
    def state(self) -> State:
        """The tensors of the state."""
        return self.before.home.state

    @property
    def bytes(self) -> Tensor:
        """The state in one piece, ``[size]`` uint8; a copy if it lies in a bank."""
        return self.before.flat()

    @property
    def bank(self) -> Bank | None:
        """The bank in which the state lies, at ``slot``; None: it lies in a block of its own."""
        return self.before.home.bank

    @property
    def slot(self) -> int:
        return self.before.home.slot

    def move(self, bank: Bank, slot: int) -> None:
        """Moves the state into a slot of a bank."""
        old = self.bank
        self.before.move(Home(bank.part(slot, slot + 1), None, bank, slot))
        bank.members.add(self)
        if old is not None:
            old.members.discard(self)

    def follow(self, settings: GateSettings) -> None:
        """Takes the rules of these settings from now on; their geometry must be the same."""
        self.rules = tuple(settings.op_rules(self.cells).values())

    @classmethod
    def holding(cls, parts: dict[str, Tensor], settings: GateSettings) -> Self:
        """Makes a memory with a copy of a state that was checked."""
        memory = cls(tuple(parts["picture"].shape), settings, parts["picture"].device)
        for name, own in memory.state._asdict().items():
            own.copy_(parts[name])
        memory._most = None
        return memory

    @property
    def clock(self) -> Tensor:
        """Frames seen and tokens emitted, ``[S, 2]`` int64: the state's own, not a copy."""
        self._most = None
        return self.state.clock

    def lent(self) -> None:
        """Notes that the state was handed out, so that its holder may have written to it."""
        self._most = None
        self.before.lent()

    @staticmethod
    def streams(state: State, first: int) -> State:
        """Returns one stream's part of a state, as views."""
        if len(state.clock) == 1:
            return state
        return State(*(part[first : first + 1] for part in state))

    def spare(self) -> State:
        """Returns memory of a state's size to write to, whose numbers have no meaning."""
        if self._spare is None:
            with torch.inference_mode(False):
                device = self.state.clock.device
                flat = torch.empty(self.layout.size, dtype=torch.uint8, device=device)
                self._spare = self.layout.parts(flat)
        return self._spare

    def has_room(self, frames: int) -> bool:
        """Whether there are enough token ids if all cells of that many frames change.

        Waits for the device only if there may be too few.
        """
        more = frames * self.cells
        if self._most is None or self._most + more > MOST_TOKENS:
            self._most = max(self._emitted())
        if self._most + more > MOST_TOKENS:
            return False
        self._most += more
        return True

    def check_room(self) -> None:
        """Raises if there may be no token ids for the cells of another frame."""
        counts = self._emitted()
        if max(counts) + self.cells > MOST_TOKENS:
            s = counts.index(max(counts))
            raise TokenIdsUsedUp(
                f"planes: stream {s} has emitted {counts[s]} tokens since its reset, and the "
                f"{self.cells} cells of a frame may need more numbers than the {MOST_TOKENS} that "
                f"there are; reset it, by reset([{s}]) of a gate or reset() of a tower's stream: "
                "its next frame is whole, and its tokens count from 0"
            )
        self._most = max(counts) + self.cells

    def _emitted(self) -> list[int]:
        clocks: list[list[int]] = self.state.clock.tolist()
        if min(map(min, clocks)) < 0:  # somebody has written to what state_dict() lends
            raise ValueError(f"state: expected clock of 0 or more, got {min(clocks)}")
        return [tokens for _, tokens in clocks]

    def __getstate__(self) -> dict[str, Any]:
        own = ("layout", "cells", "rules", "bytes", "_most")
        return {name: getattr(self, name) for name in own}

    def __setstate__(self, own: dict[str, Any]) -> None:
        flat = own.pop("bytes")
        vars(self).update(own)
        self._spare = None
        self.before = Before(self.layout, Home(self.layout.parts(flat), flat))
