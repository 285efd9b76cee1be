"""Converts a stream's state to a flat dict of tensors, and back.

``stream_check`` finds what is wrong in such a state; ``stream_file`` writes it to a file.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import whole
from patchgate.encoders.gated.stream_check import contradiction
from patchgate.encoders.gated.stream_tables import flat, memory_of
from patchgate.encoders.run.computed import Waiting
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import Memory
from patchgate.encoders.run.session import Session
from patchgate.encoders.tower import Tower
from patchgate.gate.saved import (
    DIGEST,
    Saved,
    check_digest,
    check_tensors,
    letters,
    sealed,
    text_of,
)

_WAITING = ("waiting.cells", "waiting.frames")
COUNTS, BELONGS_TO = "counts", "belongs_to"
_MOST = 1 << 53


class Counts(NamedTuple):
    """The numbers of a state that are not in its tables."""

    emitted: int  # tokens so far
    frames: int  # frames so far
    prefix: int
    cells: int
    layers: int

    @classmethod
    def of(cls, numbers: Tensor) -> Self:
        """Makes counts of a tensor ``[5]`` int64, in this order.

        Raises:
            ValueError: it is another tensor, or has numbers below 0 or too large ones.
        """
        if numbers.dtype != torch.int64 or list(numbers.shape) != [len(cls._fields)]:
            raise ValueError(
                f"expected {COUNTS} [{len(cls._fields)}] of int64 ({', '.join(cls._fields)}), got "
                f"{list(numbers.shape)} {numbers.dtype}"
            )
        if not 0 <= int(numbers.min()) <= int(numbers.max()) < _MOST:
            raise ValueError(f"expected {COUNTS} of 0 to 2^53, got {numbers.tolist()}")
        return cls(*numbers.tolist())


def tables(session: Session) -> Saved:
    """Returns a session's state: that of the gate, the tower's tables, and counts. Not copies."""
    assert session.gate is not None
    found = {f"gate.{name}": tensor for name, tensor in session.gate.state_dict().items()}
    memory = session.memory
    if memory is not None:
        own = memory.made_with
        assert own is not None
        counts = Counts(memory.emitted, memory.frames, own.prefix, own.cells, len(memory.layers))
        found |= {**dict(flat(memory)), **_waiting(session.waiting), COUNTS: whole(counts)}
    return found


def state_of(session: Session, owner: dict[str, str]) -> Saved:
    """Returns copies of ``tables``, their owner (see ``stream_file.describe``), and a digest."""
    return sealed({**tables(session), BELONGS_TO: letters(json.dumps(owner))})


def load(
    state: Mapping[str, Tensor], owner: dict[str, str], session: Session, tower: Tower
) -> None:
    """Loads a state of ``state_of`` into a session, if it belongs to this stream.

    Args:
        state: the state.
        owner: what it must belong to, from ``stream_file.describe``.
        session: a new one with the stream's settings. If this raises, it must not be used.
        tower: the stream's tower.

    Raises:
        ValueError: it is no state, or a damaged one, or one of another tower, gate or fidelity.
    """
    try:
        check_tensors(state, "stream_state_dict")
        left = {name: tensor.detach().clone() for name, tensor in state.items() if name != DIGEST}
        if BELONGS_TO not in left:
            raise ValueError(f"{BELONGS_TO} is missing")
        check_owner(_owner(left.pop(BELONGS_TO)), owner)
        session.memory = remembered(left, session, tower)
        check_digest(state)
    except ValueError as error:
        raise ValueError(f"state: {error}") from error


def _owner(tensor: Tensor) -> dict[str, Any]:
    text = text_of(BELONGS_TO, tensor)
    try:
        owner = json.loads(text)
    except (ValueError, RecursionError):
        owner = None
    if not isinstance(owner, dict):
        raise ValueError(f"expected {BELONGS_TO} to hold a JSON object, got {text[:80]!r}")
    return owner


def check_owner(found: Mapping[str, Any], owner: dict[str, str]) -> None:
    """Checks that a state belongs to this stream.

    Raises:
        ValueError: it belongs to another tower, gate or fidelity.
    """
    if found.get("format") != owner["format"]:
        raise ValueError(
            f"expected a state of format {owner['format']}, got {found.get('format')}; another "
            "version of patchgate made it, which computes other cells: encode the clip from its "
            "beginning"
        )
    for name, expected in owner.items():
        if not _same(found.get(name), expected):
            raise ValueError(f"its {name} is {found.get(name)}, that of this stream {expected}")


def _same(found: Any, expected: str) -> bool:
    """Whether two descriptions are equal: a threshold of 4.0 may have been written as 4, and an
    older version had no setting of a rule that is off.
    """
    if found == expected:
        return True
    try:
        before, now = json.loads(found or ""), json.loads(expected)
        if isinstance(before, dict) and isinstance(now, dict):
            before = {name: None for name, value in now.items() if value is None} | before
        return bool(before == now)
    except (TypeError, ValueError, RecursionError):  # some descriptions are not JSON
        return False


def remembered(
    state: Mapping[str, Tensor], session: Session, tower: Tower, pooled: bool = True
) -> Memory | None:
    """Makes the memory whose ``tables`` these are, and loads the state of the session's gate.

    Args:
        pooled: whether a tower that pools has remembered that of the last frame.

    Raises:
        ValueError: a tensor is missing, or the tables contradict each other.
    """
    try:
        return _remembered(state, session, tower, pooled)
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error


def _remembered(
    state: Mapping[str, Tensor], session: Session, tower: Tower, pooled: bool
) -> Memory | None:
    assert session.gate is not None
    there = {name: tensor.to(tower.weight.device) for name, tensor in state.items()}
    own = {name[5:]: there.pop(name) for name in list(there) if name.startswith("gate.")}
    session.gate.load_state_dict(own)
    if COUNTS not in there:
        if there or own:
            raise ValueError("it has tensors, but no counts")
        return None
    if not own:  # of ``encode``
        session.fidelity = session.fidelity.without_frames()
    counts = Counts.of(there.pop(COUNTS))
    if there["source"].numel() != counts.cells:  # the tower is made for this number below
        raise ValueError(f"expected source [{counts.cells}], got {list(there['source'].shape)}")
    session.waiting = loaded_waiting(there, counts, session.fidelity)
    sized = _sized(tower, counts, own)
    memory = memory_of(there, counts.layers, sized)
    memory = replace(memory, emitted=counts.emitted, frames=counts.frames)
    unknown = there.keys() - dict(flat(memory)).keys()
    if unknown:
        raise ValueError(f"it has unknown tensors: {', '.join(sorted(unknown))}")
    if wrong := contradiction(memory, own, sized, session.fidelity, pooled):
        raise ValueError(wrong)
    return memory


def _waiting(waiting: Waiting) -> Saved:
    """What frames that were passed over leave; empty if the tower passes none over."""
    if waiting.cells is None:
        return {}
    return dict(zip(_WAITING, (waiting.cells, whole([waiting.frames])), strict=True))


def loaded_waiting(tensors: dict[str, Tensor], counts: Counts, fidelity: Fidelity) -> Waiting:
    """Takes what ``_waiting`` gave out of a state.

    Raises:
        ValueError: it cannot be.
    """
    cells, frames = (tensors.pop(name, None) for name in _WAITING)
    if fidelity.pass_over is None or (cells is None and frames is None):
        if cells is not None or frames is not None:
            raise ValueError(f"it has {_WAITING[0]}, but the tower passes no frame over")
        return Waiting(counts.frames)
    share, most = fidelity.pass_over
    if cells is None or cells.dtype != torch.bool or list(cells.shape) != [counts.cells]:
        raise ValueError(f"expected {_WAITING[0]} [{counts.cells}] of bool")
    if frames is None or frames.dtype != torch.int64 or list(frames.shape) != [1]:
        raise ValueError(f"expected {_WAITING[1]} [1] of int64")
    passed, count = int(frames), int(cells.sum())
    if count > share * counts.cells or not 0 <= passed <= most or (count == 0) != (passed == 0):
        raise ValueError(
            f"expected at most {share:g} of the cells to wait for at most {most} frames, got "
            f"{count} of {counts.cells} and {passed} frames"
        )
    return Waiting(counts.frames, cells, passed)


def _sized(tower: Tower, counts: Counts, gate: Mapping[str, Tensor]) -> Tower:
    """Returns the tower for pictures of the size that was saved."""
    own, side = tower.grid_size, tower.patch * tower.merge
    # A stream of rows has saved no size. No check depends on where its cells lie.
    size = (side, side * counts.cells)
    if gate:
        height, width = gate["picture"].shape[-2:]
        size = height, width
    if own is not None and (not gate or size == own):
        size = tower.size  # the grid covers only the whole patches of it
    sized = tower.remade(*size, counts.prefix)
    layers = sized.computed_layers + 1
    if (sized.cells, layers) != (counts.cells, counts.layers):
        raise ValueError(
            f"expected {sized.cells} cells and {layers} layers, got {counts.cells} and "
            f"{counts.layers}"
        )
    return sized
