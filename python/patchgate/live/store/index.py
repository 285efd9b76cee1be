"""The index of a folder of segments: which stretch of time of which camera is in which file."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from patchgate._check import checked_number
from patchgate.tokens import VideoTokens

NAME = "index.sqlite"

_TABLES = """
create table if not exists cameras (name text primary key, folder text unique) without rowid;
create table if not exists segments (
    path text primary key,          -- relative to the folder
    camera text not null,
    begin_unix real not null,       -- when its first frame arrived, in seconds since 1970
    end_unix real not null,         -- when its last frame arrived
    begin_seconds real not null,    -- the first frame's time on the camera's clock
    end_seconds real not null,      -- the last frame's
    frames integer not null,
    tokens integer not null
) without rowid;
create index if not exists by_time on segments (camera, begin_unix);
"""
_COLUMNS = "camera, path, begin_unix, end_unix, begin_seconds, end_seconds, frames, tokens"


class Segment(NamedTuple):
    """A finished segment.

    Attributes:
        camera: its name.
        path: the file, which ``VideoTokens.load`` reads.
        begin_unix, end_unix: when its first and last frame arrived, in seconds since 1970.
        begin_seconds, end_seconds: their times on the camera's clock, as in ``pts_seconds``.
        frames, tokens: how many it has.
    """

    camera: str
    path: Path
    begin_unix: float
    end_unix: float
    begin_seconds: float
    end_seconds: float
    frames: int
    tokens: int


class Index:
    """The index, opened to be written."""

    def __init__(self, folder: Path) -> None:
        """``folder``: that of the segments."""
        self._folder = folder
        try:
            self._file = sqlite3.connect(folder / NAME, timeout=10.0)
            self._file.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise _explained(folder, error) from error

    def enter(self, segments: Sequence[Segment]) -> None:
        """Enters segments, all or none of them."""
        try:
            with self._file:
                for each in segments:
                    folder = each.path.parent.name
                    self._file.execute(
                        "insert or ignore into cameras values (?, ?)", (each.camera, folder)
                    )
                    row = each._replace(path=str(each.path.relative_to(self._folder)))  # type: ignore[arg-type]
                    self._file.execute(
                        f"insert or replace into segments ({_COLUMNS}) values (?,?,?,?,?,?,?,?)",
                        row,
                    )
        except sqlite3.DatabaseError as error:
            raise _explained(self._folder, error) from error

    def adopt(self) -> None:
        """Enters files that a crash has left without an entry."""
        known = {path for (path,) in self._file.execute("select path from segments")}
        names = {folder: name for name, folder in self._file.execute("select * from cameras")}
        found = []
        for path in sorted(self._folder.glob("*/[0-9]*.safetensors")):
            if str(path.relative_to(self._folder)) in known:
                continue
            folder = path.parent.name
            try:
                tokens, begin = VideoTokens.load(path), float(path.stem)
            except ValueError:  # not ours
                continue
            pts = tokens.pts_seconds
            first, last = float(pts[0]), float(pts[-1])
            found.append(Segment(names.get(folder, folder), path, begin, begin + last - first,
                                 first, last, len(pts), len(tokens)))  # fmt: skip
        self.enter(found)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class StoredSegments:
    """The finished segments of a folder, to be searched by time; ``read_segments`` makes it.

    Each call looks at the index anew: what is finished meanwhile is found.
    """

    def __init__(self, folder: Path) -> None:
        """``folder``: that of the segments."""
        self.folder = folder

    @property
    def cameras(self) -> list[str]:
        """The names of all cameras that have a segment."""
        return [name for (name,) in self._asked("select distinct camera from segments "
                                                "order by camera", ())]  # fmt: skip

    def segments(
        self, camera: str | None = None, start: float | None = None, end: float | None = None
    ) -> list[Segment]:
        """Returns the segments that were recorded between two moments, in order of time.

        Args:
            camera: the name of one; None: of all.
            start, end: seconds since 1970, as ``time.time()`` counts; None: from the first, to the
                last.
        """
        first, last = _moments(start, end)
        rows = self._asked(
            f"select {_COLUMNS} from segments where end_unix >= ? and begin_unix < ? "
            "and (? is null or camera = ?) order by begin_unix, camera",
            (first, last, camera, camera),
        )
        return [Segment(row[0], self.folder / row[1], *row[2:]) for row in rows]

    def tokens(
        self, camera: str, start: float | None = None, end: float | None = None
    ) -> Iterator[VideoTokens]:
        """Yields a camera's tokens between two moments, a ``VideoTokens`` for each segment.

        The first and the last are cut as ``VideoTokens.slice`` cuts.

        Args:
            camera: its name.
            start, end: as in ``segments``.
        """
        first, last = _moments(start, end)
        for each in self.segments(camera, start, end):
            tokens, shift = VideoTokens.load(each.path), each.begin_seconds - each.begin_unix
            if each.begin_unix < first or each.end_unix >= last:
                try:
                    tokens = tokens.slice(first + shift, last + shift)
                except ValueError:  # it has no frame there
                    continue
            yield tokens

    def _asked(self, question: str, values: tuple[object, ...]) -> list[tuple]:
        name = f"file:{(self.folder / NAME).as_posix()}?mode=ro"
        try:
            file = sqlite3.connect(name, uri=True, timeout=10.0)
            try:
                return file.execute(question, values).fetchall()
            finally:
                file.close()
        except sqlite3.DatabaseError as error:
            raise _explained(self.folder, error) from error

    def __repr__(self) -> str:
        return f"StoredSegments({str(self.folder)!r}, {len(self.segments())} segments)"


def read_segments(folder: str | os.PathLike[str]) -> StoredSegments:
    """Opens a folder that ``Segments`` wrote, or still writes, to read it.

    Raises:
        FileNotFoundError: there is no index.
    """
    found = Path(folder)
    if not (found / NAME).is_file():
        raise FileNotFoundError(f"{found}: no folder of segments: it has no {NAME}")
    return StoredSegments(found.absolute())


def folder_name(camera: str) -> str:
    """Returns the name of a camera's folder: its own where that is a plain one."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", camera)[:80]
    if plain == camera and not plain.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(camera.encode()).hexdigest()[:8]}"


def _moments(start: float | None, end: float | None) -> tuple[float, float]:
    first = -1e18 if start is None else checked_number("start", start, -1e18, 1e18, "seconds")
    last = 1e18 if end is None else checked_number("end", end, -1e18, 1e18, "seconds")
    if last <= first:
        raise ValueError(f"end: expected a moment after start={start}, got {end}")
    return first, last


def _explained(folder: Path, error: sqlite3.DatabaseError) -> Exception:
    """Makes an error that names the file: of a full disk an ``OSError``."""
    if isinstance(error, sqlite3.OperationalError):
        return OSError(f"{folder / NAME}: {error}; is there room, and may it be written?")
    return ValueError(f"{folder / NAME}: this is no index of segments ({error})")
