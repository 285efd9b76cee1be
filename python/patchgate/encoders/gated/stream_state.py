"""A stream's state as a flat dict of tensors, and back, so that another process can go on with it.

``stream_check`` says what such a state may be; ``stream_file`` brings it to a file.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from patchgate._tensors import whole
from patchgate.encoders.gated.stream_check import contradiction
from patchgate.encoders.run.memory import LayerMemory, Memory, Sums, made_with
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

COUNTS, BELONGS_TO = "counts", "belongs_to"
_MOST = 1 << 53


class Counts(NamedTuple):
    """The numbers beside the tables."""

    emitted: int
    frames: int
    prefix: int
    cells: int
    layers: int

    @classmethod
    def of(cls, numbers: Tensor) -> Self:
        """From a tensor ``[5]`` int64, in this order.

        Raises:
            ValueError: another tensor, or numbers below 0 or too large.
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
    """What a session remembers: the gate's state, the tower's tables, and counts. Not copies."""
    assert session.gate is not None
    found = {f"gate.{name}": tensor for name, tensor in session.gate.state_dict().items()}
    memory = session.memory
    if memory is not None:
        own = memory.made_with
        assert own is not None
        counts = Counts(memory.emitted, memory.frames, own.prefix, own.cells, len(memory.layers))
        found |= {**dict(_flat(memory)), COUNTS: whole(counts)}
    return found


def state_of(session: Session, told: dict[str, str]) -> Saved:
    """``tables``, what they belong to, and a digest: copies."""
    return sealed({**tables(session), BELONGS_TO: letters(json.dumps(told))})


def bring(
    state: Mapping[str, Tensor], told: dict[str, str], session: Session, tower: Tower
) -> None:
    """Brings what ``state_of`` gave to a session, if it belongs to what is told.

    Args:
        session: a fresh one of the stream's settings. It is worth nothing if this raises.

    Raises:
        ValueError: no such state, one of another tower, gate or fidelity, or a damaged one.
    """
    try:
        check_tensors(state, "stream_state_dict")
        left = {name: tensor.detach().clone() for name, tensor in state.items() if name != DIGEST}
        if BELONGS_TO not in left:
            raise ValueError(f"{BELONGS_TO} is missing")
        check_told(_told(left.pop(BELONGS_TO)), told)
        session.memory = remembered(left, session, tower)
        check_digest(state)
    except ValueError as error:
        raise ValueError(f"state: {error}") from error


def _told(tensor: Tensor) -> dict[str, Any]:
    text = text_of(BELONGS_TO, tensor)
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise ValueError(f"expected {BELONGS_TO} to hold JSON with names, got {text[:80]!r}")
    return told


def check_told(found: Mapping[str, Any], told: dict[str, str]) -> None:
    """That a state belongs to this stream.

    Raises:
        ValueError: it belongs to another tower, gate or fidelity.
    """
    if found.get("format") != told["format"]:
        raise ValueError(
            f"expected a state of format {told['format']}, got {found.get('format')}; another "
            "version of patchgate made it, which computes other cells: encode the clip from its "
            "beginning"
        )
    for name, expected in told.items():
        if not _same(found.get(name), expected):
            raise ValueError(f"its {name} is {found.get(name)}, that of this stream {expected}")


def _same(found: Any, expected: str) -> bool:
    """Whether they say the same: a threshold may have been written as 4, and be 4.0."""
    if found == expected:
        return True
    try:
        return bool(json.loads(found or "") == json.loads(expected))
    except (TypeError, ValueError, RecursionError):  # not all is JSON
        return False


def remembered(state: Mapping[str, Tensor], session: Session, family: Tower) -> Memory | None:
    """The memory that ``tables`` were made of; the session's gate is given its state.

    Raises:
        ValueError: a tensor is missing, or tables that cannot be.
    """
    try:
        return _remembered(state, session, family)
    except KeyError as error:
        raise ValueError(f"{error} is missing") from error


def _remembered(state: Mapping[str, Tensor], session: Session, family: Tower) -> Memory | None:
    assert session.gate is not None
    there = {name: tensor.to(family.weight.device) for name, tensor in state.items()}
    own = {name[5:]: there.pop(name) for name in list(there) if name.startswith("gate.")}
    session.gate.load_state_dict(own)
    if COUNTS not in there:
        if there or own:
            raise ValueError("it has tensors, but no counts")
        return None
    if not own:  # of ``encode``
        session.fidelity = session.fidelity.without_frames()
    counts = Counts.of(there.pop(COUNTS))
    if there["source"].numel() != counts.cells:  # by which tables of the tower are made
        raise ValueError(f"expected source [{counts.cells}], got {list(there['source'].shape)}")
    tower = _tower(family, counts, own)
    memory = _memory(there, counts, tower)
    unknown = there.keys() - dict(_flat(memory)).keys()
    if unknown:
        raise ValueError(f"it has tensors that mean nothing: {', '.join(sorted(unknown))}")
    if wrong := contradiction(memory, own, tower, session.fidelity):
        raise ValueError(wrong)
    return memory


def _tower(family: Tower, counts: Counts, gate: Mapping[str, Tensor]) -> Tower:
    """The tower for pictures of the size that was saved."""
    own, side = family.grid_size, family.patch * family.merge
    size = (side, side * counts.cells)  # of rows: where cells lie plays no part in what is checked
    if gate:
        height, width = gate["picture"].shape[-2:]
        size = height, width
    if own is not None and (not gate or size == own):
        size = family.size  # of which the grid covers the whole patches
    tower = family.remade(*size, counts.prefix)
    layers = tower.computed_layers + 1
    if (tower.cells, layers) != (counts.cells, counts.layers):
        raise ValueError(
            f"expected {tower.cells} cells and {layers} layers, got {counts.cells} and "
            f"{counts.layers}"
        )
    return tower


def _flat(memory: Memory) -> Iterator[tuple[str, Tensor]]:
    for name in ("ids", "source", "patches", "pooled"):
        if (tensor := getattr(memory, name)) is not None:
            yield name, tensor
    parts = {f"layer.{i}": layer for i, layer in enumerate(memory.layers)}
    parts |= {f"output.{name}": output for name, output in memory.outputs.items()}
    for name, part in parts.items():
        yield f"{name}.row", part.row
        for table, rows in part.tables.items():
            yield f"{name}.table.{table}", rows
        for field, tensor in part.sums._asdict().items() if part.sums is not None else ():
            yield f"{name}.sums.{field}", tensor


def _memory(tensors: dict[str, Tensor], counts: Counts, tower: Tower) -> Memory:
    outputs = {name.split(".")[1] for name in tensors if name.startswith("output.")}
    return Memory(
        ids=tensors["ids"],
        layers=tuple(_layer(tensors, f"layer.{i}.") for i in range(counts.layers)),
        outputs={name: _layer(tensors, f"output.{name}.") for name in outputs},
        emitted=counts.emitted,
        frames=counts.frames,
        source=tensors.get("source"),
        patches=tensors.get("patches"),
        pooled=tensors.get("pooled"),
        made_with=made_with(tower),  # whose dtypes are in what is told
    )


def _layer(tensors: dict[str, Tensor], prefix: str) -> LayerMemory:
    own = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    tables = {name[6:]: rows for name, rows in own.items() if name.startswith("table.")}
    sums: Any = {name[5:]: tensor for name, tensor in own.items() if name.startswith("sums.")}
    if sums and sums.keys() != set(Sums._fields):
        raise ValueError(f"expected sums of {', '.join(Sums._fields)}, got {sorted(sums)}")
    return LayerMemory(own["row"], tables, Sums(**sums) if sums else None)
