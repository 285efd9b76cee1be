"""Reads and writes video tokens as a safetensors file; ``check`` says what may be in one.

docs/token-file.md describes the files.
"""

import json
import warnings
from collections.abc import Mapping
from os import PathLike
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from patchgate._ops.library import build_info
from patchgate.beside import written_beside
from patchgate.gate import RETURNED
from patchgate.tokens.check import FIELDS, OPTIONAL, contradiction
from patchgate.tokens.check_layout import GRID, LAYOUT

_FORMAT = "patchgate.VideoTokens/1"
_NEWER = "patchgate.VideoTokens/2"  # what readers of 1 would get wrong: see ``metadata``
EMBEDDING = "patchgate.Embedding/1"

Fields = dict[str, Any] | None  # those of a TokenLayout or a TokenGrid; None: there is none


def metadata(
    layout: Fields,
    about: Mapping[str, str] = MappingProxyType({}),
    complete: bool = True,
    grid: Fields = None,
    newer: bool = False,
) -> dict[str, str]:
    """Makes the metadata of a file of tokens, with their layout and grid; see ``described``.

    Args:
        newer: whether cells return to earlier tokens (kind 4), or follow the light by weights.
    """
    own = {"layout": json.dumps(layout), "grid": json.dumps(grid)}
    return described(_NEWER if newer else _FORMAT, about, complete) | own


def returns(kind: Tensor) -> bool:
    """Returns whether any of these cells ``[T, h, w]`` returns to an earlier token."""
    return bool((kind == RETURNED).any())


def described(form: str, about: Mapping[str, str], complete: bool) -> dict[str, str]:
    """Makes a file's metadata.

    Args:
        form: its format and the format's version.
        about: where its contents come from.
        complete: whether these are all frames that were asked for.
    """
    version = str(build_info()["version"])
    return {**about, "format": form, "complete": json.dumps(complete), "patchgate": version}


def write(
    path: str | PathLike[str], tensors: dict[str, Tensor], layout: Fields, grid: Fields = None
) -> None:
    """Writes the tensors beside the path, and moves the file there when it is complete.

    Raises:
        OSError: the file cannot be written; an older one stays as it was.
        ValueError: ``read`` would refuse the tensors, or the path is no file.
    """
    if wrong := contradiction(tensors, layout, grid):
        raise ValueError(f"{path}: these tokens could not be read again: {wrong}")
    dense = {name: value.contiguous() for name, value in tensors.items()}
    with written_beside(path) as whole:
        try:
            newer = returns(tensors["kind"]) or "weights" in dense
            save_file(dense, whole, metadata(layout, grid=grid, newer=newer))
        except (OSError, SafetensorError) as error:
            raise OSError(f"{path}: the tokens could not be written there ({error})") from error


def read(path: str | PathLike[str]) -> tuple[dict[str, Tensor], Fields, Fields]:
    """Returns the tensors by name, mapped from the file, their layout and their grid; warns if the
    file is not complete.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no file of video tokens, or its tensors contradict each other.
    """
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{path}: not a safetensors file ({error})") from error
    if found.get("format") not in (_FORMAT, _NEWER):
        raise ValueError(f"{path}: expected {_FORMAT} or {_NEWER}, got {found.get('format')!r}")
    layout, grid = (_fields(path, found, name) for name in ("layout", "grid"))
    _check_names(path, "tensors", tensors, FIELDS, OPTIONAL)
    if layout is not None:
        _check_names(path, "layout", layout, {"cell": 0, "planes": 0}, LAYOUT)
    if grid is not None:
        _check_names(path, "grid", grid, {"cell": 0}, GRID)
    if wrong := contradiction(tensors, layout, grid):
        raise ValueError(f"{path}: damaged: {wrong}")
    if found["format"] == _FORMAT and returns(tensors["kind"]):
        raise ValueError(f"{path}: damaged: kind: expected no cells that return in {_FORMAT}")
    if found.get("complete") == "false":
        warnings.warn(
            f"{path}: it holds the first {len(tensors['pts_seconds']):,} frames only: the command "
            "that wrote it was interrupted",
            stacklevel=3,
        )
    return tensors, layout, grid


def _fields(path: str | PathLike[str], found: dict[str, str], name: str) -> Fields:
    # Files from before there were grids have none.
    text = found.get(name, "null" if name == "grid" else "")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: its {name} is no JSON ({error})") from None
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"{path}: damaged: expected fields or null as its {name}, got {value!r}")
    return value


def _check_names(
    path: str | PathLike[str],
    what: str,
    found: dict[str, Any],
    needed: dict[str, Any],
    optional: dict[str, Any],
) -> None:
    missing = [name for name in needed if name not in found]
    unknown = [name for name in found if name not in needed and name not in optional]
    if missing or unknown:
        lacks = f"without {', '.join(missing)}" if missing else f"with {', '.join(unknown)}"
        raise ValueError(f"{path}: incomplete or of another version ({what} {lacks})")
