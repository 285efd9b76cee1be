"""A stream's state as a safetensors file, so that another process can go on with it."""

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from os import PathLike
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from patchgate.beside import written_beside
from patchgate.encoders.gated.stream_check import contradiction
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.memory import LayerMemory, Memory, Sums, made_with
from patchgate.encoders.run.session import Session
from patchgate.encoders.tower import Tower
from patchgate.gate import GateSettings
from patchgate.gather import PixelSpec

_FORMAT = "patchgate.TowerStream/2"
_SAMPLE = 64  # values of each parameter that tell one tower from another
_COUNTS = ("emitted", "frames", "prefix", "cells", "layers")


def describe(
    model: nn.Module, tower: Tower, spec: PixelSpec, settings: GateSettings, fidelity: Fidelity
) -> dict[str, str]:
    """What a state belongs to: it fits no other."""
    kinds = [kind.__name__ for kind in type(tower).__mro__[:2]]
    if tower.ends_after is not None:
        kinds[1] = "_Truncated"  # as files of earlier versions say it
    return {
        "format": _FORMAT,
        "tower": f"{type(model).__name__} {_fingerprint(model)}",
        "layers": f"{tower.computed_layers} {kinds}",
        "pixels": f"mean {spec.mean}, std {spec.std}",
        "gate": json.dumps(asdict(settings)),
        "fidelity": json.dumps(asdict(fidelity)),
    }


def write(path: str | PathLike[str], session: Session, told: dict[str, str]) -> None:
    """Writes a stream's state beside the path, and moves it there when it is whole.

    Raises:
        OSError: the file cannot be written; an older one stands as it was.
        ValueError: the path is something else than a file.
    """
    assert session.gate is not None
    tensors = {f"gate.{name}": tensor for name, tensor in session.gate.state_dict().items()}
    memory = session.memory
    if memory is not None:
        tensors |= dict(_flat(memory))
        own = memory.made_with
        assert own is not None
        counts = (memory.emitted, memory.frames, own.prefix, own.cells, len(memory.layers))
        told = {**told, "counts": json.dumps(dict(zip(_COUNTS, counts, strict=True)))}
    # Rows may be shared between tables, which the format does not have.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with written_beside(path) as whole:
        try:
            save_file(copies, whole, {**told, "digest": _digest(copies)})
        except (OSError, SafetensorError) as error:
            raise OSError(f"{path}: the state could not be written there ({error})") from error


def restore(
    path: str | PathLike[str], told: dict[str, str], session: Session, tower: Tower
) -> None:
    """Brings what ``write`` wrote to a session, if it belongs to what is told.

    Args:
        session: a fresh one of the stream's settings. It is worth nothing if this raises.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such state, one of another tower, gate or fidelity, or a damaged one.
    """
    tensors, found = _read(path)
    for name, expected in told.items():
        if not _same(found.get(name), expected):
            raise ValueError(
                f"{path}: its {name} is {found.get(name)}, that of this stream {expected}"
            )
    try:
        session.memory = _checked(tensors, found, session, tower)
        # Last: what is wrong says more than that something is.
        if "digest" in found and found["digest"] != _digest(tensors):
            raise ValueError("its numbers are not those that were written")
    except (ValueError, KeyError, RecursionError) as error:
        told_of = f"{error} is missing" if isinstance(error, KeyError) else error
        raise ValueError(f"{path}: damaged: {told_of}") from error


def _read(path: str | PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error


def _checked(
    tensors: dict[str, Tensor], found: dict[str, str], session: Session, family: Tower
) -> Memory | None:
    """Raises a ``ValueError`` or a ``KeyError`` (of a tensor that is missing)."""
    assert session.gate is not None
    on = family.weight.device
    there = {name: tensor.to(on) for name, tensor in tensors.items()}
    own = {name[5:]: there.pop(name) for name in list(there) if name.startswith("gate.")}
    session.gate.load_state_dict(own)
    if "counts" not in found:
        if there or own:
            raise ValueError("it has tensors, but no counts")
        return None
    counts = _Counts.of(found["counts"])
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


class _Counts(NamedTuple):
    """Numbers beside the tensors."""

    emitted: int
    frames: int
    prefix: int
    cells: int
    layers: int

    @classmethod
    def of(cls, text: str) -> "_Counts":
        counts = json.loads(text)
        if not isinstance(counts, dict) or set(counts) != set(_COUNTS):
            raise ValueError(f"expected counts of {', '.join(_COUNTS)}, got {text[:80]}")
        if any(type(count) is not int or not 0 <= count < 2**53 for count in counts.values()):
            raise ValueError(f"expected counts of 0 to 2^53, got {text[:80]}")
        return cls(**counts)


def _tower(family: Tower, counts: _Counts, gate: Mapping[str, Tensor]) -> Tower:
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


def _same(found: str | None, expected: str) -> bool:
    """Whether they say the same: a threshold may have been written as 4, and be 4.0."""
    if found == expected:
        return True
    try:
        return bool(json.loads(found or "") == json.loads(expected))
    except (ValueError, RecursionError):  # not all is JSON
        return False


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


def _memory(tensors: dict[str, Tensor], counts: _Counts, tower: Tower) -> Memory:
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


def _fingerprint(model: nn.Module) -> str:
    """A hash of the names, shapes, dtypes and some values of all parameters."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // _SAMPLE)].double().cpu()
        digest.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]


def _digest(tensors: dict[str, Tensor]) -> str:
    """A checksum of all numbers: a disk may give others back."""
    sum_ = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        sum_ = zlib.crc32(f"{name} {list(tensor.shape)} {tensor.dtype}".encode(), sum_)
        numbers: Any = tensor.contiguous().view(-1).view(torch.uint8).numpy()
        sum_ = zlib.crc32(numbers, sum_)
    return f"crc32 {sum_:08x}"
