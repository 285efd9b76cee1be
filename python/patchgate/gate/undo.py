"""Undoes a push with a copy of the state from before it.

A push begins by updating the copy. It copies only what the push before it changed: nothing of a
picture that stood still, and of a large one only the rows of cells that changed. On a GPU the state
is copied whole, because reading what changed would synchronise. Undoing needs no memory, so that it
works when memory has run out.

Letters: S streams, T frames (or tubelets), h w cells, A the gate's max_age, or 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from patchgate.gate.bank import Bank
from patchgate.gate.tensors import State, StateLayout

_FEW_BIRTHS = 8192  # so many are always copied
_LARGE = 1 << 21  # bytes; a larger state is not copied whole if only a few cells changed


class Home(NamedTuple):
    """Where a state lies: in a block of its own, or in the slot of a bank."""

    state: State
    flat: Tensor | None  # [size] uint8: the block; None: it is in a bank
    bank: Bank | None = None
    slot: int = 0


class Before:
    """The state from before the current push.

    On the CPU, numpy copies it in one thread; torch would wake others and wait for them.

    Args:
        layout: where the tensors lie in a block of their own.
        home: where the state lies now.
    """

    def __init__(self, layout: StateLayout, home: Home) -> None:
        self._layout, self._is_large = layout, layout.size > _LARGE
        self._copy: Any = None  # the copy of the state
        self._copies: dict[str, Any] = {}  # its tensors, as they are copied
        self._kept: State | None = None  # its tensors
        self._at = _At.of(home)
        self._still = torch.empty(
            0, dtype=torch.uint8, device="cpu"
        )  # kinds of frames that stand still
        # What may have changed since the copy was made, besides what every frame changes:
        self._all = False  # anything may have changed
        self._rows = np.zeros(layout.shapes["source"][1], np.bool_)  # [h]: cells of these did
        self._frames = 0  # pushed since then
        self.still: bool | None = None  # whether nothing changed in the last push; None: not known

    def keep(self) -> None:
        """Copies the current state, which ``back`` restores."""
        everything = self._all or not self.home.state.clock.is_cpu
        if self._copy is None:
            everything = True
            self._new_copy()
        rows = 0 if everything else int(np.count_nonzero(self._rows))
        self._all = True  # until the copy is complete
        if everything:
            self._keep_all()
        else:
            self._keep_clocks()
            if rows:
                self._keep_rows()
        self._all, self._frames = False, 0
        self._rows[:] = False

    def back(self) -> None:
        """Restores the kept state. It may be called again."""
        if self._at.flat is not None:
            _write(self._at.flat, self._copy)
        else:
            for name, own in self._at.parts.items():
                _write(own, self._copies[name])
        self._all = False
        self._rows[:] = False

    def changing(self, frames: int) -> bool:
        """Call it before the op. Returns the argument ``before`` of ``changed``."""
        before, self._all = self._all, True
        self._frames += frames
        return before

    def changed(self, before: bool, kind: Tensor, lit: Tensor, still: bool | None = None) -> None:
        """Notes which cells the op changed; call it after the op, which writes to no others.

        Args:
            before: what ``changing`` returned.
            kind: ``[S, T, h, w]``, the op's answer; 0 where a cell stands still.
            lit: ``[S, T, h or 0, w]`` bool, cells of the reference that took the light.
            still: whether all of them do, if that is known.
        """
        if not kind.is_cpu:
            return  # reading it would synchronise
        if still is None:
            if self._still.shape != kind.shape:
                self._still = torch.zeros_like(kind)
            still = torch.equal(kind, self._still)
        self.still = still
        relit = lit.numel() > 0 and bool(np.count_nonzero(lit.numpy()))
        self._all = before or relit or not (still or self._is_large)
        if not still and self._is_large:
            self._rows |= kind.amax((0, 1, 3)).bool().numpy()

    def start(self) -> State:
        """Returns the state at hand, to read from until the next ``keep``.

        It is not copied if this is the state that ``keep`` has just copied.
        """
        if self._kept is None or self._all or self._frames:
            return self.snapshot()
        return self._kept

    def lent(self) -> None:
        """Notes that the state was handed out, so that its holder may have written to it."""
        self._all = True

    @property
    def home(self) -> Home:
        """Where the state lies."""
        return self._at.home

    def move(self, home: Home) -> None:
        """Copies the state to another place, which is its home from then on."""
        for new, own in zip(home.state, self.home.state, strict=True):
            new.copy_(own)
        self._at = _At.of(home)

    def flat(self) -> Tensor:
        """Returns the state in one piece, ``[size]`` uint8: its own memory, or a copy of it."""
        if self.home.flat is not None:
            return self.home.flat
        device = self.home.state.clock.device
        flat = torch.zeros(self._layout.size, dtype=torch.uint8, device=device)
        for new, own in zip(self._layout.parts(flat), self.home.state, strict=True):
            new.copy_(own)
        return flat

    def snapshot(self) -> State:
        """Returns a copy of the state at hand, for ``set_back``."""
        return State(*(part.clone() for part in self.home.state))

    def set_back(self, then: State) -> None:
        """Brings back the state of a ``snapshot``, as often as is wanted."""
        for own, copy in zip(self.home.state, then, strict=True):
            own.copy_(copy)

    def _new_copy(self) -> None:
        state = self.home.state
        with torch.inference_mode(False):
            size, device = self._layout.size, state.clock.device
            flat = torch.empty(size, dtype=torch.uint8, device=device)
        self._kept = self._layout.parts(flat)
        self._copies = _raw_parts(self._kept)
        self._copy = _raw(flat)

    def _keep_all(self) -> None:
        if self._at.flat is not None:
            _write(self._copy, self._at.flat)
            return
        for name, own in self._at.parts.items():
            _write(self._copies[name], own)

    def _keep_clocks(self) -> None:
        """Copies what every frame changes."""
        begin, births = self._layout.begin, self._at.parts["births"]
        few = births.size <= _FEW_BIRTHS
        if self._at.flat is not None:
            end = begin["source" if few else "births"]
            _write(self._copy[:end], self._at.flat[:end])
        else:
            for name in ("clock", "quartiles", *(["births"] if few else [])):
                _write(self._copies[name], self._at.parts[name])
        if few:
            return
        age, copy = births.shape[1], self._copies["births"]
        for s, (frames, _) in enumerate(self.home.state.clock.tolist()):
            begun = frames <= self._frames  # since then: its first frame cleared all
            at = np.arange(age if begun else min(self._frames, age))
            at = (frames - 1 - at) % age
            copy[s, at] = births[s, at]

    def _keep_rows(self) -> None:
        """Copies the sources, light, ids and pixels of the cells in some rows."""
        edges = np.flatnonzero(np.diff(self._rows, prepend=False, append=False)).tolist()
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            for name in ("source", "light", "ids", "picture"):
                copy, own = self._copies[name], self._at.parts[name]
                side = own.shape[-2] // len(self._rows)
                band = slice(begin * side, end * side)
                _write(copy[..., band, :], own[..., band, :])


class _At(NamedTuple):
    """A home, and its memory as it is copied."""

    home: Home
    flat: Any  # None: it is in a bank
    parts: dict[str, Any]

    @classmethod
    def of(cls, home: Home) -> _At:
        flat = None if home.flat is None else _raw(home.flat)
        return cls(home, flat, _raw_parts(home.state))


def _raw_parts(state: State) -> dict[str, Any]:
    return {name: _raw(part) for name, part in state._asdict().items()}


def _raw(tensor: Tensor) -> Any:
    return tensor.numpy() if tensor.is_cpu else tensor


def _write(to: Any, what: Any) -> None:
    if isinstance(to, Tensor):
        to.copy_(what)
    else:
        np.copyto(to, what)
