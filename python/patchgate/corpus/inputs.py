"""What is given as input: files, folders, patterns and manifests, as entries of a corpus."""

import csv
import glob
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from patchgate.corpus.needs import pyarrow_for
from patchgate.decode.source.formats import EXTENSIONS

MANIFESTS = (".parquet", ".csv", ".jsonl", ".ndjson")
_COLUMNS = ("path", "start", "end", "id")


class Entry(NamedTuple):
    """A video, or a part of one, that is to be in the corpus."""

    path: str  # absolute, or an address
    below: str  # the path below its input, from which its file is named
    start: float | None = None  # seconds on the video's clock
    end: float | None = None
    id: str | None = None  # that of a manifest


class LeftOut(Counter[str]):
    """How many files were left out, by their extensions, because no container of ours has them."""

    def __str__(self) -> str:
        some = ", ".join(f"{count} {name or 'without one'}" for name, count in self.most_common(8))
        more = "" if len(self) <= 8 else f" and {len(self) - 8} other extensions"
        return (
            f"{self.total():,} files were left out, whose extensions are none of a video's: "
            f"{some}{more}; name a file itself, or list it in a manifest, to have it taken"
        )


def is_video(name: str) -> bool:
    """Whether a file's name has an extension of a container that can be decoded."""
    return Path(name).suffix[1:].lower() in EXTENSIONS


def entries(inputs: Sequence[str], left_out: LeftOut) -> Iterator[Entry]:
    """Yields every video of the inputs, in their order; those of a folder by their names.

    Args:
        inputs: files, folders, patterns such as ``videos/**/*.mp4``, manifests, addresses.
        left_out: gets the files of folders and patterns that are no videos by their names.

    Raises:
        ValueError: an input is not there, or matches nothing; a manifest is none.
    """
    for each in inputs:
        if "://" in each and not os.path.exists(each):
            yield Entry(each, each)
        elif os.path.isdir(each):
            yield from _folder(each, each, left_out)
        elif Path(each).suffix.lower() in MANIFESTS and os.path.isfile(each):
            yield from manifest(Path(each))
        elif os.path.exists(each) or (is_video(each) and not glob.has_magic(each)):
            # A video that is not there is one that failed: the others are worth their work.
            yield Entry(os.path.abspath(each), os.path.basename(each))
        elif glob.has_magic(each):
            yield from _pattern(each, left_out)
        else:
            raise ValueError(
                f"{each}: there is no such file or folder; give videos, folders, patterns such as "
                f"'videos/**/*.mp4', or a manifest ({', '.join(MANIFESTS)})"
            )


def _folder(folder: str, root: str, left_out: LeftOut) -> Iterator[Entry]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            yield from _found(os.path.join(parent, name), root, left_out)


def _pattern(pattern: str, left_out: LeftOut) -> Iterator[Entry]:
    parts = Path(pattern).parts
    plain = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    root = os.path.join("", *parts[:plain])
    found = sorted(set(_matches(parts)))
    if not found:
        raise ValueError(f"{pattern}: nothing matches this pattern")
    for path in found:
        if not os.path.isdir(path):
            yield from _found(path, root, left_out)


def _matches(parts: Sequence[str]) -> Iterator[str]:
    """Yields what a pattern's parts match; ``**`` does not go into links to folders.

    ``glob`` follows them, so that a link to a folder above has every file dozens of times.
    """
    if "**" not in parts:
        yield from glob.iglob(os.path.join(*parts))
        return
    place = parts.index("**")
    rest = parts[place + 1 :] or ("*",)
    for base in glob.iglob(os.path.join(*parts[:place])) if place else (os.curdir,):
        for parent, folders, _ in os.walk(base):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from _matches((glob.escape(parent), *rest))


def _found(path: str, root: str, left_out: LeftOut) -> Iterator[Entry]:
    name = os.path.basename(path)
    if name.startswith("."):  # such as the "._clip.mp4" that macOS leaves beside a file
        return
    if is_video(name):
        yield Entry(os.path.abspath(path), os.path.relpath(path, root or "."))
    else:
        left_out[Path(name).suffix.lower()] += 1


# --- manifests --------------------------------------------------------------------------------


def manifest(path: Path) -> Iterator[Entry]:
    """Yields the rows of a manifest: path, and where they are there start, end (seconds) and id.

    Relative paths begin at the manifest's folder.

    Raises:
        ValueError: it cannot be read, or a row is none.
    """
    reader = {".parquet": _parquet, ".csv": _csv}.get(path.suffix.lower(), _json_lines)
    rows = reader(path)
    number = 0
    try:
        for row in rows:
            number += 1
            yield _entry(path, row)
    except (ValueError, TypeError, KeyError, OSError, csv.Error) as error:
        raise ValueError(f"{path}: row {max(number, 1)}: {error}") from error


def _entry(manifest: Path, row: Mapping[str, Any]) -> Entry:
    given = row.get("path")
    if not isinstance(given, str) or not given:
        listed = ", ".join(map(str, row))
        raise ValueError(f"expected a column path with a video's path, got columns {listed}")
    start, end = (_seconds(name, row.get(name)) for name in ("start", "end"))
    if start is not None and end is not None and end <= start:
        raise ValueError(f"expected end > start, got {start} and {end} seconds")
    own = row.get("id")
    if own is not None and ((isinstance(own, float) and math.isnan(own)) or own == ""):
        own = None
    own = None if own is None else str(own)
    if "://" in given:
        return Entry(given, given, start, end, own)
    folder = os.path.abspath(manifest.parent)
    path = os.path.normpath(os.path.join(folder, given))
    below = os.path.relpath(path, folder)
    if below.startswith(os.pardir):
        below = os.path.basename(path)
    return Entry(path, below, start, end, own)


def _seconds(name: str, value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected seconds, got {value!r}") from None
    if math.isnan(seconds):
        return None
    if math.isinf(seconds):
        raise ValueError(f"{name}: expected seconds, got {value!r}")
    return seconds


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    parquet = pyarrow_for("a manifest in Parquet").parquet
    with parquet.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name in _COLUMNS]
        if "path" not in names:
            names = file.schema_arrow.names  # for the message
        for batch in file.iter_batches(columns=names):
            yield from batch.to_pylist()


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        yield from csv.DictReader(file)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"expected an object with a path, got {line.strip()[:80]}")
                yield row
