"""Tokens as one Lance dataset of the whole corpus: a row for each token, to be searched.

Workers write fragments, which nobody sees. The job commits those of many videos at once, when it
writes the index. A job that is killed in between finds them in its journal.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from patchgate.corpus.forms import rows
from patchgate.corpus.needs import needed, pyarrow_for

NAME = "tokens.lance"
_AT_ONCE = 500  # videos named in one condition


class Waiting(NamedTuple):
    """A video whose fragments are written and not committed."""

    number: int
    id: str
    fragments: list[Mapping[str, Any]]
    replaces: bool  # whether the dataset has older rows of it


def _lance() -> Any:
    return needed("lance", "--format lance", "fragment")


class Lance:
    """One dataset, ``tokens.lance``, for all videos."""

    suffix, exact = ".lance", False

    def check(self) -> None:
        """Raises an ``ImportError`` if pylance is missing."""
        _lance()

    def place(self, folder: Path, file: str) -> Path:
        """Returns the path beside which a worker's hidden folder is made."""
        return folder / "tokens"

    def save(
        self, tokens: Path, video: str, folder: Path, file: str, replace: bool
    ) -> dict[str, Any]:
        """Writes a video's fragments; see ``Form``."""
        arrow, own = pyarrow_for("--format lance"), rows.schema(rows.width_of(tokens))
        reader = arrow.RecordBatchReader.from_batches(own, rows.batches(tokens, video))
        written = _lance().fragment.write_fragments(reader, os.fspath(folder / NAME), schema=own)
        told = [each.to_json() for each in written]
        size = sum(file["file_size_bytes"] for each in told for file in each["files"])
        return {"fragments": told, "file": NAME, "bytes": size}

    def is_there(self, folder: Path, file: str) -> bool:
        """Whether the dataset is there; a video's rows are not looked for."""
        return (folder / NAME).is_dir()

    def commit(self, folder: Path, waiting: Sequence[Waiting]) -> None:
        """Makes the fragments of videos a part of the dataset. It may be called again.

        Raises:
            OSError: the disk is full.
        """
        lance, uri = _lance(), os.fspath(folder / NAME)
        dataset = lance.dataset(uri) if (folder / NAME / "_versions").is_dir() else None
        there = set() if dataset is None else set(_files(dataset))
        new = [each for each in waiting if not there.issuperset(_paths(each.fragments))]
        if not new:  # they were committed, and the job killed before it could note it
            return
        if dataset is not None:
            old = [each.id for each in new if each.replaces]
            for first in range(0, len(old), _AT_ONCE):
                dataset.delete(f"video IN ({', '.join(map(_quoted, old[first:][:_AT_ONCE]))})")
        every = [lance.fragment.FragmentMetadata.from_json(json.dumps(each))
                 for video in new for each in video.fragments]  # fmt: skip
        if dataset is None:
            width = _width(folder, new)
            first = lance.LanceOperation.Overwrite(rows.schema(width), every)
            lance.LanceDataset.commit(uri, first)
        else:
            last = lance.LanceOperation.Append(every)
            lance.LanceDataset.commit(uri, last, read_version=dataset.version)


def _files(dataset: Any) -> list[str]:
    return [file.path for each in dataset.get_fragments() for file in each.metadata.files]


def _paths(fragments: Sequence[Mapping[str, Any]]) -> list[str]:
    return [file["path"] for each in fragments for file in each["files"]]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _width(folder: Path, new: Sequence[Waiting]) -> int:
    """Reads the number of features from a fragment's file."""
    reader = needed("lance", "--format lance", "file").file.LanceFileReader
    path = folder / NAME / "data" / _paths(new[0].fragments)[0]
    return int(reader(os.fspath(path)).metadata().schema.field("feature").type.list_size)
