"""Tokenizer: the worker as a class for the engines of others, such as ``map_batches`` of Ray Data.

Letters: n rows of a batch.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from patchgate._signature import spelled
from patchgate.corpus.forms import form_of
from patchgate.corpus.names import shown_name
from patchgate.corpus.settings import Settings, TokenFormat, model_of
from patchgate.corpus.worker import Worker
from patchgate.decode import Limits
from patchgate.decode.limits import DEFAULT_LIMITS
from patchgate.gate import Gate, GateSettings
from patchgate.gate.settings import GEOMETRY, GateRules
from patchgate.pipeline.options import parted


class Tokenizer:
    """Turns rows that name videos into files of tokens, and rows that say what came of each.

    An ordinary class, made once in each process of an engine: Ray Data's ``map_batches``, Daft's
    ``cls``, or a plain loop. It keeps no journal: ``corpus.run`` does, with an engine of its own.
    A video that cannot be read does not raise: its row has the status ``failed`` and the reason.

    Args:
        out: the folder of the files, which is made when it is needed.
        tower, gate, size, fps, dtype, save_dtype, tolerance: as of ``corpus.run``.
        save_as, chunk, threads, limits, device, rules: as of ``corpus.run``.

    Raises:
        ImportError, TypeError, ValueError: the tower cannot be loaded; an option is out of its
            range.
    """

    @spelled(GateSettings, leave_out=GEOMETRY)
    def __init__(
        self,
        out: str | os.PathLike[str],
        *,
        tower: str | None = None,
        gate: Gate | None = None,
        size: int | tuple[int, int] | None = None,
        fps: float | None = None,
        dtype: str = "float32",
        save_dtype: str | None = None,
        tolerance: float | None = None,
        save_as: TokenFormat = "safetensors",
        chunk: int = 16,
        threads: int = 1,
        limits: Limits = DEFAULT_LIMITS,
        device: str = "cpu",
        **rules: Unpack[GateRules],
    ) -> None:
        settings = Settings(
            gate=settled("Tokenizer", gate, size, rules), tower=tower, fps=fps, dtype=dtype,
            save_dtype=save_dtype, tolerance=tolerance, save_as=save_as, chunk=chunk,
            threads=threads, limits=limits, device=device,
        )  # fmt: skip
        self._suffix = form_of(save_as).suffix
        self._worker = Worker(out, settings, model_of(tower, {})[0])

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Does a batch of rows.

        Args:
            batch: columns of n values each: ``path``; and, if they are there, ``id``, ``file``
                (below ``out``), ``start`` and ``end`` (seconds).

        Returns:
            The columns of the batch, and those of the index, such as ``status``, ``error``,
            ``frames``, ``tokens`` and ``kept_share``; docs/corpus.md has them. Numbers of videos
            that failed are NaN, texts are empty.
        """
        names = list(batch)
        rows = [dict(zip(names, row, strict=True)) for row in zip(*batch.values(), strict=True)]
        done = [self.do(**{str(name): _plain(value) for name, value in row.items()})
                for row in rows]  # fmt: skip
        columns = {name: _column([each[name] for each in done]) for name in (done or [{}])[0]}
        return {**{name: np.asarray(batch[name]) for name in names}, **columns}

    def do(
        self,
        path: str,
        id: str | None = None,
        file: str | None = None,
        start: float | None = None,
        end: float | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """Does one video; returns its ``id``, its ``file``, and its columns of the index.

        Without ``file``, it is named after the video and a hash of its path and part, so that no
        two have one name. An older file of that name is replaced.

        Args:
            path: the video, or an address.
            id: what it is called; None: as its file.
            file: that of its tokens, below ``out``.
            start, end: seconds on the video's clock.
            others: other columns, which change nothing.
        """
        if not file:
            told = repr((os.path.abspath(path) if "://" not in path else path, start, end))
            digest = hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:10]
            stem = PurePosixPath(shown_name(path)).stem[:60] or "video"
            file = f"{stem}-{digest}{self._suffix}"
        name = id or file.removesuffix(self._suffix)
        task = {"path": path, "id": name, "file": file, "start": start, "end": end, "replace": True}
        result = self._worker.do(task)
        return {"id": name, "file": file, **{k: v for k, v in result.items() if k != "full_disk"}}


def settled(
    caller: str, gate: Gate | None, size: int | tuple[int, int] | None, rules: GateRules
) -> GateSettings:
    """Returns the gate's settings of a call."""
    own, _ = parted(caller, rules, gate, GateRules)
    settings = GateSettings(**own) if gate is None else gate.settings
    return settings if size is None else Gate.of(settings).fresh(size=size).settings


def _plain(value: Any) -> Any:
    """Numbers and texts of numpy as Python's; NaN and nothing as None."""
    value = value.item() if hasattr(value, "item") else value
    return None if value is None or value != value or value == "" else value


def _column(values: Sequence[Any]) -> NDArray[Any]:
    """Makes a column of numbers, with NaN for None, or of texts, with "" for None."""
    texts = any(isinstance(each, str) for each in values)
    if texts or all(each is None for each in values):
        return np.array(["" if each is None else each for each in values], dtype=object)
    if all(isinstance(each, int) for each in values):
        return np.array(values, np.int64)
    return np.array([np.nan if each is None else each for each in values], np.float64)
