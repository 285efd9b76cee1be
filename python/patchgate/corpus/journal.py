"""The journal of a corpus: which videos are done, and what came of each. It survives a SIGKILL.

``journal.sqlite`` stands in the corpus's folder. Every video's result is one transaction, and the
index (index.py) is written from it. It is locked as long as a job runs.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from patchgate.corpus.forms import Waiting
from patchgate.corpus.inputs import Entry
from patchgate.corpus.names import below
from patchgate.corpus.store import NAME, RUNNING, Store

# Names of a corpus's own, which no video's file gets.
_OWN = (NAME, RUNNING, "index.parquet", "tokens.lance", "tokens")


class Known(NamedTuple):
    """What the journal says of a video that it has seen before."""

    number: int
    path: str
    start: float | None
    end: float | None
    file: str
    status: str | None
    size: int | None
    mtime: int | None
    settings: str | None
    named: int  # 1: this call has named it before

    def is_of(self, entry: Entry) -> bool:
        """Whether it is the same part of the same file."""
        return (self.path, self.start, self.end) == (entry.path, entry.start, entry.end)


class Task(NamedTuple):
    """A video that is to be done."""

    number: int
    id: str
    path: str
    start: float | None
    end: float | None
    file: str  # below the corpus's folder
    replace: bool  # whether such a file may be there, and is ours
    why: str  # see ``planning.py``
    size: int | None  # bytes now
    mtime: int | None  # nanoseconds now
    sha256: str | None  # of the video when it was done last, if only its time is another one
    place: int = 0  # among the tasks of this call


class Journal(Store):
    """An open journal, see ``Store``.

    Planning notes which videos a call names (``known``, ``add``, ``find``) and chooses what it does
    (``choose``); the work takes ``tasks`` and notes what came of each (``begun``, ``record``).
    """

    def known(self, entry: Entry) -> Known | None:
        """Returns what is known of a video; None: it is a new one."""
        row = self._db.execute(
            "SELECT number, path, start, end, file, status, size, mtime, settings, EXISTS "
            "(SELECT 1 FROM found WHERE found.number = videos.number) FROM videos WHERE key = ?",
            (key_of(entry),),
        ).fetchone()
        return None if row is None else Known(row[0], os.fsdecode(row[1]), *row[2:])

    def moved(self, number: int, entry: Entry) -> None:
        """Notes that an id that was given stands for another file, or part of one, from now on.

        It counts as never done until it is: what is known is of the other one.
        """
        self.tell("indexed", False)
        self._db.execute(
            "UPDATE videos SET path = ?, start = ?, end = ?, status = NULL WHERE number = ?",
            (os.fsencode(entry.path), entry.start, entry.end, number),
        )

    def add(self, entry: Entry, suffix: str) -> Known:
        """Notes a new video, and gives it an id and the name of its file.

        Raises:
            ValueError: another video has its id.
        """
        own = entry.id
        name = next(
            each
            for each in below(entry.below)
            if self._is_free(each, suffix) and not (own is None and self._has("id", each))
        )
        own = name if own is None else own
        if self._has("id", own):
            raise ValueError(
                f"{entry.path}: its id {own!r} is that of another video of this corpus; every id "
                "stands for one video"
            )
        file = name + suffix
        values = (key_of(entry), own, os.fsencode(entry.path), entry.start, entry.end, file,
                  name.casefold())  # fmt: skip
        done = self._db.execute(
            "INSERT INTO videos (key, id, path, start, end, file, taken) VALUES (?, ?, ?, ?, ?, ?, "
            "?)", values,
        )  # fmt: skip
        return Known(done.lastrowid or 0, entry.path, entry.start, entry.end, file, None, None,
                     None, None, 0)  # fmt: skip

    def _is_free(self, name: str, suffix: str) -> bool:
        file = name + suffix
        if file.casefold() in _OWN or self._has("taken", name.casefold()):
            return False
        return not os.path.lexists(self.folder / file)

    def _has(self, column: str, value: str) -> bool:
        found = self._db.execute(f"SELECT 1 FROM videos WHERE {column} = ?", (value,))
        return found.fetchone() is not None

    def find(self, number: int, why: str | None, size: int | None, mtime: int | None) -> bool:
        """Notes that this call names a video, and why it is to be done (None: it is not).

        Returns:
            Whether the call had not named it before.
        """
        done = self._db.execute(
            "INSERT OR IGNORE INTO found VALUES (?, ?, ?, ?)", (number, why, size, mtime)
        )
        return done.rowcount == 1

    def choose(self, limit: int | None) -> int:
        """Makes the list of what this call does: the first ``limit`` videos, the largest first, so
        that no worker has a long one when all others are done. Returns how many they are.
        """
        done = self._db.execute(
            "INSERT INTO todo (number, why, size, mtime) SELECT * FROM (SELECT * FROM found WHERE "
            "why IS NOT NULL ORDER BY number LIMIT ?) ORDER BY size DESC, number",
            (-1 if limit is None else limit,),
        )
        return done.rowcount

    def sums(self, table: str) -> dict[str | None, tuple[int, int]]:
        """Returns for each reason of ``found`` or ``todo`` how many videos and bytes it has."""
        rows = self._db.execute(f"SELECT why, COUNT(*), TOTAL(size) FROM {table} GROUP BY why")
        return {why: (count, int(size)) for why, count, size in rows}

    def other_settings(self) -> dict[str, Any] | None:
        """Returns the settings of one of the videos that were done with others than this call's."""
        found = self._db.execute(
            "SELECT settings FROM found JOIN videos USING (number) WHERE why = 'settings' LIMIT 1"
        ).fetchone()
        return None if found is None else dict(json.loads(found[0]))

    def failures_that_stay(self) -> int:
        """Counts the failed videos that this call names and does not do again."""
        query = ("SELECT COUNT(*) FROM found JOIN videos USING (number) WHERE why IS NULL AND "
                 "status = 'failed'")  # fmt: skip
        return int(self._db.execute(query).fetchone()[0])

    def failures(self) -> int:
        """Counts the failed videos among those that this call names."""
        query = "SELECT COUNT(*) FROM found JOIN videos USING (number) WHERE status = 'failed'"
        return int(self._db.execute(query).fetchone()[0])

    def tasks(self, at_once: int = 64) -> Iterator[Task]:
        """Yields what is to be done, and reads only a few ahead."""
        place = 0
        while rows := self._db.execute(
            "SELECT number, id, path, start, end, file, begun, why, todo.size, todo.mtime, result, "
            "place FROM todo JOIN videos USING (number) WHERE place > ? ORDER BY place LIMIT ?",
            (place, at_once),
        ).fetchall():
            for number, own, path, start, end, file, begun, why, size, mtime, told, place in rows:
                sha256 = json.loads(told).get("sha256") if told and why == "touched" else None
                yield Task(number, own, os.fsdecode(path), start, end, file, bool(begun), why,
                           size, mtime, sha256, place)  # fmt: skip

    def begun(self, task: Task) -> None:
        """Notes that a video is about to be done: from now on its file may be there."""
        self._db.execute("UPDATE videos SET begun = 1 WHERE number = ?", (task.number,))

    def record(self, task: Task, result: Mapping[str, Any], settings: str) -> None:
        """Notes what came of a video."""
        if result["status"] == "same":  # a new time, and the same contents
            self._db.execute(
                "UPDATE videos SET size = ?, mtime = ? WHERE number = ?",
                (task.size, task.mtime, task.number),
            )
            return
        own = dict(result)
        found = own.pop("fragments", None)
        fragments = json.dumps(found) if found else None
        self._db.execute(
            "UPDATE videos SET status = ?, size = ?, mtime = ?, settings = ?, result = ?, "
            "fragments = ? WHERE number = ?",
            (result["status"], task.size, task.mtime, settings, json.dumps(own), fragments,
             task.number),
        )  # fmt: skip

    def waiting(self) -> list[Waiting]:
        """Returns the videos whose fragments of a Lance dataset are not committed."""
        rows = self._db.execute(
            "SELECT number, id, fragments, committed FROM videos WHERE fragments IS NOT NULL"
        )
        return [Waiting(number, own, json.loads(told), bool(committed))
                for number, own, told, committed in rows]  # fmt: skip

    def committed(self, waiting: Sequence[Waiting]) -> None:
        """Notes that they are."""
        self._db.executemany(
            "UPDATE videos SET fragments = NULL, committed = 1 WHERE number = ?",
            [(each.number,) for each in waiting],
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields the row of every video that was done or failed, in the order they were found."""
        rows = self._db.execute(
            "SELECT id, path, start, end, file, size, settings, status, result FROM videos "
            "WHERE status IS NOT NULL ORDER BY number"
        )
        for own, path, start, end, file, size, settings, status, result in rows:
            told = {"id": own, "path": os.fsdecode(path), "start": start, "end": end, "size": size}
            came = json.loads(result)
            told["file"] = came.get("file", file) if status == "ok" else None
            yield {**came, **told, "settings": settings, "status": status}


def key_of(entry: Entry) -> bytes:
    """Returns what tells videos, and parts of one, apart: an id that was given, or the path."""
    if entry.id is not None:
        return b"id\0" + entry.id.encode(errors="surrogateescape")
    return b"\0".join([b"path", os.fsencode(entry.path), repr((entry.start, entry.end)).encode()])
