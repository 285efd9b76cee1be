"""A stream's state as a safetensors file, so that another process can go on with it."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from os import PathLike
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from patchgate.encoders.fidelity import Fidelity
from patchgate.encoders.memory import LayerMemory, MadeWith, Memory, Sums
from patchgate.encoders.processor import PixelSpec
from patchgate.encoders.tower import Tower
from patchgate.gate_settings import GateSettings

_FORMAT = "patchgate.TowerStream/2"
_SAMPLE = 64  # values of each parameter that tell one tower from another


class Saved(NamedTuple):
    """What a file holds."""

    gate: dict[str, Tensor]
    memory: Memory | None  # None: nothing was pushed yet


def describe(
    tower: nn.Module, family: Tower, spec: PixelSpec, settings: GateSettings, fidelity: Fidelity
) -> dict[str, str]:
    """What a state belongs to: it fits no other."""
    kinds = [kind.__name__ for kind in type(family).__mro__[:2]]  # one that ends early says so
    return {
        "format": _FORMAT,
        "tower": f"{type(tower).__name__} {_fingerprint(tower)}",
        "layers": f"{family.depth} {kinds}",
        "pixels": f"mean {spec.mean}, std {spec.std}",
        "gate": json.dumps(asdict(settings)),
        "fidelity": json.dumps(asdict(fidelity)),
    }


def write(path: str | PathLike[str], saved: Saved, told: dict[str, str]) -> None:
    """Raises OSError where the file cannot be written."""
    tensors = {f"gate.{name}": tensor for name, tensor in saved.gate.items()}
    if saved.memory is not None:
        tensors |= dict(_flat(saved.memory))
        counts = {name: getattr(saved.memory, name) for name in ("emitted", "frames")}
        assert saved.memory.made_with is not None
        own = {name: getattr(saved.memory.made_with, name) for name in ("prefix", "cells")}
        layers = len(saved.memory.layers)
        told = {**told, "counts": json.dumps({**counts, **own, "layers": layers})}
    # Rows may be shared between tables, which the format does not have.
    copies = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    try:
        save_file(copies, path, told)
    except (OSError, SafetensorError) as error:
        raise OSError(f"{path}: the state could not be written there ({error})") from error


def read(path: str | PathLike[str], told: dict[str, str], device: torch.device) -> Saved:
    """What ``write`` wrote, if it belongs to what is told.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such state, or one of another tower, gate or fidelity.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            found = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    for name, expected in told.items():
        if not _same(found.get(name), expected):
            raise ValueError(
                f"{path}: its {name} is {found.get(name)}, that of this stream {expected}"
            )
    gate = {name[5:]: tensor for name, tensor in tensors.items() if name.startswith("gate.")}
    if "counts" not in found:
        return Saved(gate, None)
    try:
        return Saved(gate, _memory(tensors, json.loads(found["counts"])))
    except KeyError as error:
        raise ValueError(f"{path}: damaged: {error} is missing") from error


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


def _memory(tensors: dict[str, Tensor], counts: dict[str, int]) -> Memory:
    layers = tuple(_layer(tensors, f"layer.{i}.") for i in range(counts["layers"]))
    outputs = {name.split(".")[1] for name in tensors if name.startswith("output.")}
    features = tensors["output.features.table.rows"]
    return Memory(
        ids=tensors["ids"],
        layers=layers,
        outputs={name: _layer(tensors, f"output.{name}.") for name in outputs},
        emitted=counts["emitted"],
        frames=counts["frames"],
        source=tensors.get("source"),
        patches=tensors.get("patches"),
        pooled=tensors.get("pooled"),
        made_with=MadeWith(features.dtype, features.device, counts["prefix"], counts["cells"]),
    )


def _layer(tensors: dict[str, Tensor], prefix: str) -> LayerMemory:
    own = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    tables = {name[6:]: rows for name, rows in own.items() if name.startswith("table.")}
    sums: Any = {name[5:]: tensor for name, tensor in own.items() if name.startswith("sums.")}
    return LayerMemory(own["row"], tables, Sums(**sums) if sums else None)


def _fingerprint(tower: nn.Module) -> str:
    """Of names, shapes, dtypes and some values of all parameters."""
    digest = hashlib.sha256()
    for name, parameter in tower.named_parameters():
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // _SAMPLE)].double().cpu()
        digest.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]
