"""What the compilers say of every GPU kernel: registers, shared memory, stack, spills. No GPU.

    python benchmarks/compiled            everything, into results/compiled.json and a table
    python benchmarks/compiled gather     one op, printed only

A back end is a module here, ``<name>.py`` with one function ``<name>_report(ops)`` that returns
rows: dicts of the keys of ``Row``. ``ops`` names the ops wanted, None is all.
"""

import importlib
import pkgutil
from collections.abc import Iterable
from typing import TypedDict


class Row(TypedDict):
    """One kernel, compiled for one architecture."""

    op: str
    variant: str  # "NV12, fp16"
    arch: str  # "sm_90"
    registers: int  # of a thread
    shared: int  # bytes of a block, known at compile time
    threads: int  # of a block; 0 where the launch decides
    stack: int  # bytes of a thread
    spills: int  # bytes stored and loaded by a thread
    hot: bool  # must not spill


def report(ops: list[str] | None = None) -> list[Row]:
    """Rows of every back end in this package."""
    rows: list[Row] = []
    for name in sorted(each.name for each in pkgutil.iter_modules(__path__)):
        if name != "__main__":
            module = importlib.import_module(f"{__name__}.{name}")
            rows += getattr(module, f"{name}_report")(ops)
    return rows


def spilled(rows: Iterable[Row]) -> list[Row]:
    """Those that should not have."""
    return [row for row in rows if row["hot"] and row["spills"]]


def compact(rows: Iterable[Row]) -> list[dict[str, object]]:
    """A line per kernel, its architectures side by side: registers / shared bytes / spilled."""
    lines: dict[tuple[str, str], dict[str, object]] = {}
    for row in rows:
        line = lines.setdefault(
            (row["op"], row["variant"]),
            {"op": row["op"], "variant": row["variant"], "threads": row["threads"] or ""},
        )
        line[row["arch"]] = f"{row['registers']} / {row['shared']} / {row['spills']}"
    return list(lines.values())
