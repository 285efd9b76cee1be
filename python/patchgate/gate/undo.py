"""Undoes a push with a copy of the state from before it.

A push begins by updating the copy. It copies only what the push before it changed: nothing of a
picture that stood still, and of a large one only the rows of cells that changed. On a GPU the state
is copied whole, because reading what changed would synchronise. Undoing needs no memory, so that it
works when memory has run out.

Letters: S streams, T frames (or tubelets), h w cells, A the gate's max_age, or 0.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from patchgate.gate.tensors import State, StateLayout

_FEW_BIRTHS = 8192  # so many are always copied
_LARGE = 1 << 21  # bytes; a larger state is not copied whole if only a few cells changed


class Before:
    """The state from before the current push.

    On the CPU, numpy copies it in one thread; torch would wake others and wait for them.

    Args:
        layout: where the tensors lie in the bytes.
        flat: ``[size]`` uint8, the bytes of the state.
        state: the tensors of the state.
    """

    def __init__(self, layout: StateLayout, flat: Tensor, state: State) -> None:
        self._layout, self._flat, self._state = layout, flat, state
        self._raw, self._is_large = _raw(flat), len(flat) > _LARGE
        self._copy: Any = None  # the copy of the state
        self._parts: list[tuple[Any, Any]] = []  # of what cells change: the copy, the state's
        self._still = torch.empty(
            0, dtype=torch.uint8, device="cpu"
        )  # kinds of frames that stand still
        # What may have changed since the copy was made, besides what every frame changes:
        self._all = False  # anything may have changed
        self._rows = np.zeros(layout.shapes["source"][1], np.bool_)  # [h]: cells of these did
        self._frames = 0  # pushed since then

    def keep(self) -> None:
        """Copies the current state, which ``back`` restores."""
        everything = self._all or not self._flat.is_cpu
        if self._copy is None:
            self._copy, everything = self._new_copy(), True
        rows = 0 if everything else int(np.count_nonzero(self._rows))
        self._all = True  # until the copy is complete
        if everything:
            _write(self._copy, self._raw)
        else:
            self._keep_clocks()
            if rows:
                self._keep_rows()
        self._all, self._frames = False, 0
        self._rows[:] = False

    def back(self) -> None:
        """Restores the kept state. It may be called again."""
        _write(self._raw, self._copy)
        self._all = False
        self._rows[:] = False

    def changing(self, frames: int) -> bool:
        """Call it before the op. Returns the argument ``before`` of ``changed``."""
        before, self._all = self._all, True
        self._frames += frames
        return before

    def changed(self, before: bool, kind: Tensor, lit: Tensor) -> None:
        """Notes which cells the op changed; call it after the op, which writes to no others.

        Args:
            before: what ``changing`` returned.
            kind: ``[S, T, h, w]``, the op's answer; 0 where a cell stands still.
            lit: ``[S, T, h or 0, w]`` bool, cells of the reference that took the light.
        """
        if not kind.is_cpu:
            return
        if self._still.shape != kind.shape:
            self._still = torch.zeros_like(kind)
        still = torch.equal(kind, self._still)
        relit = lit.numel() > 0 and bool(lit.any())
        self._all = before or relit or not (still or self._is_large)
        if not still and self._is_large:
            self._rows |= kind.amax((0, 1, 3)).bool().numpy()

    def lent(self) -> None:
        """Notes that the state was handed out, so that its holder may have written to it."""
        self._all = True

    def snapshot(self) -> Any:
        """Returns a copy of the state at hand, for ``set_back``."""
        return _raw(self._flat.clone())

    def set_back(self, then: Any) -> None:
        """Brings back the state of a ``snapshot``, as often as is wanted."""
        _write(self._raw, then)

    def _new_copy(self) -> Any:
        with torch.inference_mode(False):
            flat = torch.empty_like(self._flat)
        both = zip(self._layout.parts(flat), self._state, strict=True)
        parts = {
            name: (_raw(copy), _raw(own))
            for name, (copy, own) in zip(State._fields, both, strict=True)
        }
        self._parts = [parts[name] for name in ("source", "light", "ids", "picture")]
        self._births = parts["births"]
        return _raw(flat)

    def _keep_clocks(self) -> None:
        """Copies what every frame changes."""
        begin, (copy, births) = self._layout.begin, self._births
        few = births.size <= _FEW_BIRTHS
        end = begin["source" if few else "births"]
        _write(self._copy[:end], self._raw[:end])
        if few:
            return
        age = births.shape[1]
        for s, (frames, _) in enumerate(self._state.clock.tolist()):
            begun = frames <= self._frames  # since then: its first frame cleared all
            at = np.arange(age if begun else min(self._frames, age))
            at = (frames - 1 - at) % age
            copy[s, at] = births[s, at]

    def _keep_rows(self) -> None:
        """Copies the sources, light, ids and pixels of the cells in some rows."""
        edges = np.flatnonzero(np.diff(self._rows, prepend=False, append=False)).tolist()
        for begin, end in zip(edges[::2], edges[1::2], strict=True):
            for copy, own in self._parts:
                side = own.shape[-2] // len(self._rows)
                band = slice(begin * side, end * side)
                _write(copy[..., band, :], own[..., band, :])


def _raw(tensor: Tensor) -> Any:
    return tensor.numpy() if tensor.is_cpu else tensor


def _write(to: Any, what: Any) -> None:
    if isinstance(to, Tensor):
        to.copy_(what)
    else:
        np.copyto(to, what)
