"""What is done with every video of a corpus, as JSON can carry it."""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from patchgate._check import checked_choice, checked_count, checked_number, settle
from patchgate.decode import Limits
from patchgate.encoders.named import DTYPES
from patchgate.gate import Gate, GateSettings

TokenFormat = Literal["safetensors", "parquet", "lance", "webdataset"]
_PIECE = 1 << 20  # bytes


@dataclass(frozen=True)
class Settings:
    """What is done with every video.

    Args:
        gate: the gate's settings; its geometry is a tower's own, if there is one.
        tower: a folder or a model's name; None: tokens are the cells' own pixels.
        dtype, save_dtype: names of ``DTYPES``: the tower's weights, and its features in the file
            (None: the same).
        tolerance: as of ``gated``; None: its default.
        fps: frames a second to look at; None: every frame.
        save_as: the form of the tokens in their files.
        span_frames: a longer video is worked on in spans of about so many frames; None: as a whole.
        chunk, threads, limits: as of ``open_video``.
        device: where videos are decoded and towers run: "cpu", "cuda", "cuda:1" and so on.
        torch_threads: the threads of each worker's arithmetic.

    Raises:
        TypeError, ValueError: one is out of its range.
    """

    gate: GateSettings = field(default_factory=GateSettings)
    tower: str | None = None
    dtype: str = "float32"
    save_dtype: str | None = None
    tolerance: float | None = None
    fps: float | None = None
    save_as: TokenFormat = "safetensors"
    span_frames: int | None = None
    chunk: int = 16
    threads: int = 1
    limits: Limits = field(default_factory=Limits)
    device: str = "cpu"
    torch_threads: int = 1

    def __post_init__(self) -> None:
        names = tuple(DTYPES)
        settle(
            self,
            dtype=checked_choice("dtype", self.dtype, names),
            save_dtype=checked_choice("save_dtype", self.save_dtype, (None, *names)),
            save_as=checked_choice("save_as", self.save_as, get_args(TokenFormat)),
            chunk=checked_count("chunk", self.chunk, 1),
            threads=checked_count("threads", self.threads, 1),
            torch_threads=checked_count("torch_threads", self.torch_threads, 1),
        )
        if self.fps is not None:
            settle(self, fps=checked_number("fps", self.fps, 1e-6, 1e6, "frames a second"))
        if self.tolerance is not None:
            tolerance = checked_number("tolerance", self.tolerance, 0, math.inf, "of the norm")
            settle(self, tolerance=tolerance)
        if self.span_frames is not None:
            settle(self, span_frames=checked_count("span_frames", self.span_frames, 2))
        if self.tower is None and (self.save_dtype, self.tolerance) != (None, None):
            raise ValueError("save_dtype, tolerance: they belong to a tower; give tower=, too")

    @property
    def saved(self) -> torch.dtype:
        """The dtype of a tower's features in the file."""
        return DTYPES[self.save_dtype or self.dtype]

    def new_gate(self) -> Gate:
        """Makes a gate with these settings, and a size if there is no tower that has one."""
        gate = Gate.of(self.gate)
        return gate if self.tower or gate.size else gate.fresh(size=378)

    def to_json(self) -> dict[str, Any]:
        """Returns all settings as JSON can hold them."""
        return {**asdict(self), "limits": asdict(self.limits), "gate": asdict(self.gate)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Settings":
        """Makes settings of what ``to_json`` returned."""
        gate = dict(told["gate"])
        if isinstance(gate["size"], list):
            gate["size"] = tuple(gate["size"])
        return cls(**{**told, "gate": GateSettings(**gate), "limits": Limits(**told["limits"])})

    def identity(self, model: str | None) -> dict[str, Any]:
        """Returns the settings that change what comes out, and ``model``: see ``model_of``."""
        gate = {name: _plain(value) for name, value in asdict(self.new_gate().settings).items()}
        for name in ("memory", "illumination"):  # corpora of earlier versions do not name them
            if not gate[name]:
                del gate[name]
        own = {"fps": self.fps, "save_as": self.save_as, "span_frames": self.span_frames}
        if self.tower is None:
            return {"gate": gate, "model": None, **own}
        kinds = {"dtype": self.dtype, "save_dtype": self.save_dtype or self.dtype}
        told = {"model": model, "tolerance": self.tolerance}
        return {"gate": gate, **told, **kinds, **own}


def text_of(identity: Mapping[str, Any]) -> str:
    """Writes an identity as JSON, the same one always alike."""
    return json.dumps(identity, sort_keys=True)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Names the settings that differ, such as ``gate.threshold 4 -> 8``."""
    old, new = _flat(before), _flat(now)
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {old.get(name)} -> {new.get(name)}" for name in names)


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    gate = {f"gate.{name}": value for name, value in told["gate"].items()}
    return {**gate, **{name: value for name, value in told.items() if name != "gate"}}


def _plain(value: Any) -> Any:
    """A size as a list, as JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def model_of(tower: str | None, known: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Names a model by its name and, if it is a folder, by the contents of the folder.

    The weights of a model of timm or of a hub are not looked at: it is named by its name alone.

    Args:
        tower: the folder or the name.
        known: what an earlier call returned as its second result; files of the same size and time
            are not read again.

    Returns:
        The name, and what the next call takes as ``known``.
    """
    if tower is None or not os.path.isdir(tower):
        return tower, {}
    digest, seen = hashlib.sha256(), {}
    for path in sorted(Path(tower).iterdir()):
        if not path.is_file() or path.name.startswith("."):
            continue
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        before = known.get(path.name, {})
        told = before["sha256"] if before.get("stamp") == stamp else _sha256(path)
        seen[path.name] = {"stamp": stamp, "sha256": told}
        digest.update(f"{path.name}\0{told}\n".encode(errors="surrogateescape"))
    return f"{Path(tower).name}@{digest.hexdigest()[:16]}", seen


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
