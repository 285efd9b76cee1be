"""The index of a corpus: ``index.parquet``, one row a video. docs/corpus.md describes it."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from patchgate._check.text import escaped
from patchgate.beside import written_beside
from patchgate.corpus.needs import pyarrow_for

NAME = "index.parquet"
_ROWS = 1000  # written, or read, at once
# Each column's type in Arrow's words, and which of a row's numbers it is.
COLUMNS: Mapping[str, str] = {
    "id": "string", "path": "string", "start": "float64", "end": "float64", "hash": "string",
    "size": "int64", "frames": "int64", "begin_seconds": "float64", "seconds": "float64",
    "fps": "float64", "cells": "int32", "cells_high": "int32", "cells_wide": "int32",
    "tokens": "int64", "kept_share": "float64", "features": "int32", "dtype": "string",
    "bytes": "int64", "settings": "string", "model": "string", "version": "string",
    "status": "string", "error": "string", "warnings": "string", "file": "string",
    "took_seconds": "float64",
}  # fmt: skip


def schema() -> Any:
    """Returns the index's schema, as pyarrow has it."""
    arrow = pyarrow_for("the index of a corpus")
    kinds = {"string": arrow.string(), "float64": arrow.float64(), "int64": arrow.int64(),
             "int32": arrow.int32()}  # fmt: skip
    return arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])


def write_index(folder: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Writes the index beside its place, and moves it there when it is whole.

    Memory does not grow with the number of rows.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: the disk is full, or the folder cannot be written to.
    """
    arrow = pyarrow_for("the index of a corpus")
    own, target = schema(), folder / NAME
    with (
        written_beside(target) as whole,
        arrow.parquet.ParquetWriter(whole, own, compression="zstd") as writer,
    ):
        left = iter(rows)
        while some := list(islice(left, _ROWS)):
            columns = zip(*map(_row, some), strict=True)
            arrays = [arrow.array(values, kind.type)
                      for values, kind in zip(columns, own, strict=True)]  # fmt: skip
            writer.write_table(arrow.Table.from_arrays(arrays, schema=own))
    return target


def _row(told: Mapping[str, Any]) -> list[Any]:
    """Returns a row's values in the order of the columns."""
    row = {**told, "hash": told.get("sha256"), "path": escaped(told["path"])}
    if row.get("cells_high") is not None:
        row["cells"] = row["cells_high"] * row["cells_wide"]
    if row["status"] == "failed":
        row["kept_share"] = row["frames"] = None
    return [row.get(name) for name in COLUMNS]


def read_index(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a corpus's index.

    Raises:
        FileNotFoundError: there is none.
        ImportError: pyarrow is not installed.
    """
    parquet = pyarrow_for("the index of a corpus").parquet
    target = folder / NAME
    if not target.is_file():
        raise FileNotFoundError(
            f"{folder}: there is no {NAME}: it is no corpus's folder, or none of its videos is "
            "done yet"
        )
    with parquet.ParquetFile(target) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            yield from batch.to_pylist()
