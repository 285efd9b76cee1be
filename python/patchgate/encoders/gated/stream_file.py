"""Writes a stream's state to a safetensors file, so that another process can go on with it."""

import hashlib
import json
from dataclasses import asdict
from os import PathLike

from torch import Tensor, nn

from patchgate._tensors import whole
from patchgate.encoders.gated.stream_state import COUNTS, Counts, check_owner, remembered, tables
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.encoders.run.session import Session
from patchgate.encoders.tower import Tower
from patchgate.gate import GateSettings, saved
from patchgate.gate.saved import DIGEST, Saved
from patchgate.gather import PixelSpec

_FORMAT = "patchgate.TowerStream/4"  # 4: with the light that cells have gone through
_SAMPLE = 64  # values of each parameter that tell one tower from another


def describe(
    model: nn.Module, tower: Tower, spec: PixelSpec, settings: GateSettings, fidelity: Fidelity
) -> dict[str, str]:
    """Describes the tower and the settings to which a state belongs."""
    kinds = [kind.__name__ for kind in type(tower).__mro__[:2]]
    if tower.ends_after is not None:
        kinds[1] = "_Truncated"  # files of earlier versions have this name
    return {
        "format": _FORMAT,
        "tower": f"{type(model).__name__} {_fingerprint(model)}",
        "layers": f"{tower.computed_layers} {kinds}",
        "pixels": f"mean {spec.mean}, std {spec.std}",
        "gate": json.dumps(asdict(settings)),
        "fidelity": json.dumps(asdict(fidelity)),
    }


def write(path: str | PathLike[str], session: Session, owner: dict[str, str]) -> None:
    """Writes a stream's state beside the path, and moves it there when it is complete.

    The file has the tables of ``stream_state_dict``. Its metadata has the other parts.

    Args:
        path: the file to write.
        session: the stream's session.
        owner: what the state belongs to, from ``describe``.

    Raises:
        OSError: the file cannot be written; an older one is unchanged.
        ValueError: the path exists and is not a file.
    """
    state = tables(session)
    metadata = dict(owner)
    if COUNTS in state:
        metadata[COUNTS] = json.dumps(Counts.of(state.pop(COUNTS))._asdict())
    # Tables may share rows, which the format does not support.
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    saved.write(path, copies, {**metadata, DIGEST: _digest(copies)})


def restore(
    path: str | PathLike[str], owner: dict[str, str], session: Session, tower: Tower
) -> None:
    """Reads a state that ``write`` wrote into a session, if it belongs to this stream.

    Args:
        path: the file to read.
        owner: what the state must belong to, from ``describe``.
        session: a new one with the stream's settings. If this raises, it must not be used.
        tower: the stream's tower.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file has no state, or a damaged one, or one of another tower, gate or
            fidelity.
    """
    tensors, metadata = saved.read(path)
    try:
        check_owner(metadata, owner)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        counts = {COUNTS: _counts(metadata[COUNTS])} if COUNTS in metadata else {}
        if COUNTS in tensors:
            raise ValueError(f"it has unknown tensors: {COUNTS}")
        session.memory = remembered({**tensors, **counts}, session, tower)
        # Last, because the other errors say more about what is wrong.
        if DIGEST in metadata and metadata[DIGEST] != _digest(tensors):
            raise ValueError("its numbers are not those that were written")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: {error}") from error


def _counts(text: str) -> Tensor:
    """Returns ``Counts`` from a file's metadata, as a tensor."""
    counts = json.loads(text)
    if not isinstance(counts, dict) or set(counts) != set(Counts._fields):
        raise ValueError(f"expected counts of {', '.join(Counts._fields)}, got {text[:80]}")
    if any(type(count) is not int or not 0 <= count < 2**53 for count in counts.values()):
        raise ValueError(f"expected counts of 0 to 2^53, got {text[:80]}")
    return whole(counts[name] for name in Counts._fields)


def _digest(tensors: Saved) -> str:
    """Returns a checksum of all numbers, to notice a damaged file."""
    return f"crc32 {saved.crc32(tensors):08x}"


def _fingerprint(model: nn.Module) -> str:
    """Returns a hash of the names, shapes, dtypes and some values of all parameters."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        values = parameter.detach().flatten()
        sample = values[:: max(1, len(values) // _SAMPLE)].double().cpu()
        digest.update(f"{name} {list(parameter.shape)} {parameter.dtype}".encode())
        digest.update(sample.numpy().tobytes())
    return digest.hexdigest()[:16]
