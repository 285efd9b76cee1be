"""``open``: the videos of a corpus by id and time, and their tokens."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from patchgate._check import checked_number
from patchgate.corpus.index import NAME, read_index
from patchgate.corpus.needs import pyarrow_for
from patchgate.tokens import VideoTokens


class Video(NamedTuple):
    """A video of a corpus.

    Attributes:
        id: what it is called in the corpus.
        row: its row of the index; docs/corpus.md says what a column is.
        file: the file of its tokens.
    """

    id: str
    row: Mapping[str, Any]
    file: Path

    def tokens(self) -> VideoTokens:
        """Returns its tokens, mapped from the file.

        Raises:
            FileNotFoundError, ValueError: the file is not there, or none of ``VideoTokens``: other
                forms than safetensors are for other readers.
        """
        return VideoTokens.load(self.file)

    def at(self, seconds: float) -> VideoTokens:
        """Returns the tokens of the frame that is shown at a time: one frame, T = 1.

        Args:
            seconds: on the video's clock, as ``pts_seconds``.

        Raises:
            ValueError: no frame is shown then.
        """
        seconds = checked_number("seconds", seconds, -1e18, 1e18, "seconds")
        tokens = self.tokens()
        shown = ((tokens.pts_seconds <= seconds) & (tokens.shown_until() > seconds)).nonzero()
        if not len(shown):
            first, last = float(tokens.pts_seconds[0]), float(tokens.shown_until()[-1])
            raise ValueError(
                f"{self.id}: no frame is shown at {seconds:g} s; its tokens are those of "
                f"{first:g}..{last:g} s"
            )
        return tokens.frames(int(shown[-1]), int(shown[-1]) + 1)


class Corpus:
    """A corpus that ``patchgate corpus`` or ``corpus.run`` wrote, or is writing: as of its index.

    Iterating it yields a ``Video`` for each that is done. The index is read as it goes, and held
    in memory by nobody; ``corpus[id]`` reads its column of ids once.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        next(read_index(self.folder), None)  # raises if there is none
        self._places: dict[str, int] | None = None

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields the rows of the index, those of videos that failed, too."""
        return read_index(self.folder)

    def failed(self) -> Iterator[dict[str, Any]]:
        """Yields the rows of videos that failed; ``error`` says why."""
        return (row for row in self.rows() if row["status"] == "failed")

    def __iter__(self) -> Iterator[Video]:
        return (self._video(row) for row in self.rows() if row["status"] == "ok")

    def __len__(self) -> int:
        """The number of videos that are done."""
        return sum(row["status"] == "ok" for row in self.rows())

    def _video(self, row: dict[str, Any]) -> Video:
        return Video(row["id"], row, self.folder / row["file"])

    def __getitem__(self, id: str) -> Video:
        """Returns a video by its id.

        Raises:
            KeyError: there is none, or it failed.
        """
        parquet = pyarrow_for("the index of a corpus").parquet
        with parquet.ParquetFile(self.folder / NAME) as file:
            if self._places is None:
                ids = file.read(columns=["id"])["id"].to_pylist()
                self._places = {name: place for place, name in enumerate(ids)}
            place = self._places.get(id)
            if place is None:
                raise KeyError(f"{id}: {self.folder} has no such video")
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                if place < size:
                    break
                place -= size
            found = file.read_row_group(group).slice(place, 1).to_pylist()
        row = found[0] if found else {"id": None}
        if row["id"] != id:  # a job has written the index anew
            self._places = None
            return self[id]
        if row["status"] != "ok":
            raise KeyError(f"{id}: it failed: {row['error']}")
        return self._video(row)

    def __repr__(self) -> str:
        return f"Corpus({os.fspath(self.folder)!r}, {len(self):,} videos)"


def open(folder: str | os.PathLike[str]) -> Corpus:
    """Opens a corpus to read it.

    Args:
        folder: one that ``patchgate corpus`` or ``corpus.run`` wrote; a job may go on in it.

    Raises:
        FileNotFoundError: there is no index.
        ImportError: pyarrow is not installed.
    """
    return Corpus(folder)
