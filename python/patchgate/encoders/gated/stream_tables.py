"""Converts what a tower's stream remembers to tensors by name, and back."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from patchgate.encoders.run.memory import (
    LayerMemory,
    LayerPicture,
    Memory,
    Shown,
    Sums,
    made_with,
)
from patchgate.encoders.tower import Tower


def flat(memory: Memory) -> Iterator[tuple[str, Tensor]]:
    """Yields all tensors of a memory, and their names."""
    for name in ("ids", "source", "patches", "pooled"):
        if (tensor := getattr(memory, name)) is not None:
            yield name, tensor
    parts = {f"layer.{i}": layer for i, layer in enumerate(memory.layers)}
    parts |= {f"output.{name}": output for name, output in memory.outputs.items()}
    for name, part in parts.items():
        yield f"{name}.row", part.row
        for table, rows in part.tables.items():
            yield f"{name}.table.{table}", rows
        yield from _flat_sums(name, part.sums)
        for i, each in enumerate(part.pictures):
            if each is not None:
                yield f"{name}.picture.{i}.row", each.row
                yield from _flat_sums(f"{name}.picture.{i}", each.sums)
    for i, shown in enumerate(memory.pictures):
        for field, tensor in shown._asdict().items() if shown is not None else ():
            if tensor is not None:
                yield f"picture.{i}.{field}", tensor


def _flat_sums(name: str, sums: Sums | None) -> Iterator[tuple[str, Tensor]]:
    for field, tensor in sums._asdict().items() if sums is not None else ():
        yield f"{name}.sums.{field}", tensor


def memory_of(tensors: dict[str, Tensor], layers: int, tower: Tower) -> Memory:
    """Makes a memory of these tensors; its counts are 0.

    Args:
        layers: the number of layers of tables.
        tower: that of the stream, for pictures of the memory's size.

    Raises:
        KeyError: a tensor is missing.
        ValueError: sums are incomplete.
    """
    shown = {
        i: Shown(own["source"], own.get("pooled")) for i, own in _pictures(tensors, "").items()
    }
    outputs = {name.split(".")[1] for name in tensors if name.startswith("output.")}
    return Memory(
        ids=tensors["ids"],
        layers=tuple(_layer(tensors, f"layer.{i}.") for i in range(layers)),
        outputs={name: _layer(tensors, f"output.{name}.") for name in outputs},
        source=tensors.get("source"),
        patches=tensors.get("patches"),
        pooled=tensors.get("pooled"),
        made_with=made_with(tower),  # ``check_owner`` has compared the dtypes
        pictures=_numbered(shown),
    )


def _pictures(tensors: dict[str, Tensor], prefix: str) -> dict[int, dict[str, Tensor]]:
    """Returns the tensors of each picture, by its place and their names."""
    found: dict[int, dict[str, Tensor]] = {}
    start = f"{prefix}picture."
    for name, tensor in tensors.items():
        place, _, own = name.removeprefix(start).partition(".")
        if name.startswith(start) and place.isdecimal() and len(place) < 3:
            found.setdefault(int(place), {})[own] = tensor
    return found


def _numbered(found: dict[int, Any]) -> tuple[Any, ...]:
    """Returns what is found by place as a tuple, with None at places where nothing is."""
    return tuple(found.get(i) for i in range(max(found, default=-1) + 1))


def _layer(tensors: dict[str, Tensor], prefix: str) -> LayerMemory:
    own = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    tables = {name[6:]: rows for name, rows in own.items() if name.startswith("table.")}
    pictures = _pictures(own, "")
    kept = {i: LayerPicture(each["row"], _sums(each)) for i, each in pictures.items()}
    return LayerMemory(own["row"], tables, _sums(own), _numbered(kept))


def _sums(own: dict[str, Tensor]) -> Sums | None:
    sums: Any = {name[5:]: tensor for name, tensor in own.items() if name.startswith("sums.")}
    if sums and sums.keys() != set(Sums._fields):
        raise ValueError(f"expected sums of {', '.join(Sums._fields)}, got {sorted(sums)}")
    return Sums(**sums) if sums else None
