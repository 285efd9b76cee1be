"""A stream's state as a safetensors file, so that another process can go on with it."""

import hashlib
import json
from dataclasses import asdict
from os import PathLike

from torch import Tensor, nn

from patchgate._tensors import whole
from patchgate.encoders.gated.stream_state import COUNTS, Counts, check_told, remembered, tables
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.session import Session
from patchgate.encoders.tower import Tower
from patchgate.gate import GateSettings, saved
from patchgate.gate.saved import DIGEST, Saved
from patchgate.gather import PixelSpec

_FORMAT = "patchgate.TowerStream/3"  # 3: a still token wakes by how far its state would move
_SAMPLE = 64  # values of each parameter that tell one tower from another


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

    The file has the tables of ``stream_state_dict``, and as its metadata what is beside them there.

    Raises:
        OSError: the file cannot be written; an older one stands as it was.
        ValueError: the path is something else than a file.
    """
    state = tables(session)
    if COUNTS in state:
        told = {**told, COUNTS: json.dumps(Counts.of(state.pop(COUNTS))._asdict())}
    # Rows may be shared between tables, which the format does not have.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    saved.write(path, copies, {**told, DIGEST: _digest(copies)})


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
    tensors, found = saved.read(path)
    try:
        check_told(found, told)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        counts = {COUNTS: _counts(found[COUNTS])} if COUNTS in found else {}
        if COUNTS in tensors:
            raise ValueError(f"it has tensors that mean nothing: {COUNTS}")
        session.memory = remembered({**tensors, **counts}, session, tower)
        # Last: what is wrong says more than that something is.
        if DIGEST in found and found[DIGEST] != _digest(tensors):
            raise ValueError("its numbers are not those that were written")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: {error}") from error


def _counts(text: str) -> Tensor:
    """``Counts`` from a file's metadata, as a state has them."""
    counts = json.loads(text)
    if not isinstance(counts, dict) or set(counts) != set(Counts._fields):
        raise ValueError(f"expected counts of {', '.join(Counts._fields)}, got {text[:80]}")
    if any(type(count) is not int or not 0 <= count < 2**53 for count in counts.values()):
        raise ValueError(f"expected counts of 0 to 2^53, got {text[:80]}")
    return whole(counts[name] for name in Counts._fields)


def _digest(tensors: Saved) -> str:
    """A checksum of all numbers: a disk may give others back."""
    return f"crc32 {saved.crc32(tensors):08x}"


def _fingerprint(model: nn.Module) -> str:
    """A hash of the names, shapes, dtypes and some values of all parameters."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // _SAMPLE)].double().cpu()
        digest.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]
