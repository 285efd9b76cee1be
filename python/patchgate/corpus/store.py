"""The file of a corpus's journal: opened, locked, with its tables. journal.py says what is in them.

SQLite keeps a transaction that is committed over a SIGKILL and a loss of power.
"""

import json
import os
import socket
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from patchgate.beside import explained

NAME = "journal.sqlite"
_VERSION = 1
_APPLICATION = 0x70676A31  # "pgj1", SQLite's mark of whose file it is
RUNNING = "job.json"  # says who holds the lock
_TABLES = """
CREATE TABLE IF NOT EXISTS videos (
  number INTEGER PRIMARY KEY,
  key BLOB UNIQUE NOT NULL,       -- which video, and which part of it
  id TEXT UNIQUE NOT NULL,
  path BLOB NOT NULL,             -- bytes: a file's name need not be text
  start REAL, end REAL,           -- seconds
  file TEXT NOT NULL,             -- of its tokens, below the folder
  taken TEXT UNIQUE NOT NULL,     -- the same in lower case
  status TEXT,                    -- NULL (never done), ok or failed
  begun INTEGER NOT NULL DEFAULT 0,  -- 1: this file may be there, and is ours
  size INTEGER, mtime INTEGER,    -- of the video when it was done, in bytes and nanoseconds
  settings TEXT,                  -- with which it was done
  result TEXT,                    -- JSON: the other columns of the index
  fragments TEXT,                 -- JSON: of Lance, those that are not committed
  committed INTEGER NOT NULL DEFAULT 0  -- 1: the Lance dataset has rows of it
);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT);
"""
# What one call of a job found and will do: temporary, on disk if it is large.
_OF_A_CALL = """
CREATE TEMP TABLE found (number INTEGER PRIMARY KEY, why TEXT, size INTEGER, mtime INTEGER);
CREATE TEMP TABLE todo (place INTEGER PRIMARY KEY, number INTEGER NOT NULL, why TEXT NOT NULL,
                        size INTEGER, mtime INTEGER);
"""


class Busy(ValueError):
    """Raised when another job writes to the same folder."""


class Store:
    """An open journal's file, which nobody else can open meanwhile. Use it in a ``with`` statement.

    Args:
        folder: the corpus's folder, which is made if it is not there.
        dry: True changes nothing, and makes no folder.

    Raises:
        Busy: another job has it open.
        ValueError: the folder has other contents; or the journal is damaged, or of a later version.
        OSError: the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str], *, dry: bool = False) -> None:
        self.folder, self._dry = Path(folder), dry
        self._there = there = (self.folder / NAME).is_file()
        if not there:
            self._check_empty()
        try:
            self._made = not dry and not self.folder.exists()
            if not dry:
                self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise explained(error, self.folder) from error
        place = ":memory:" if dry and not there else os.fspath(self.folder / NAME)
        self._db = sqlite3.connect(place, timeout=0, isolation_level=None)
        try:
            self._open(there)
        except BaseException:
            self._db.close()
            raise

    def _check_empty(self) -> None:
        if not self.folder.exists():
            return
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder}: it is not a folder; give a corpus's folder, or a new "
                             "name")  # fmt: skip
        others = sorted(path.name for path in self.folder.iterdir())
        if others:
            raise ValueError(
                f"{self.folder}: this folder has other contents ({', '.join(others[:3])}"
                f"{' and more' if len(others) > 3 else ''}) and no {NAME}: it is no corpus's; give "
                "a new name or an empty folder"
            )

    def _open(self, there: bool) -> None:
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("BEGIN EXCLUSIVE")
            told = [self._db.execute(f"PRAGMA {name}").fetchone()[0]
                    for name in ("application_id", "user_version")]  # fmt: skip
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise Busy(f"{self.folder}: {self._who()}; wait for its end, or give another "
                       f"folder ({error})") from error  # fmt: skip
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.folder / NAME}: no journal of a corpus ({error})") from error
        if there and told != [0, 0] and told != [_APPLICATION, _VERSION]:
            raise ValueError(
                f"{self.folder / NAME}: expected a corpus's journal of version {_VERSION}, got "
                f"{told[1]} of {told[0]:#x}; another version of patchgate wrote it"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("BEGIN")
        self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._db.execute(f"PRAGMA user_version = {_VERSION}")
        for statement in filter(str.strip, (_TABLES + _OF_A_CALL).split(";")):
            self._db.execute(statement)
        if self._dry:
            return  # the transaction is never committed
        self._db.execute("COMMIT")
        who = {"pid": os.getpid(), "host": socket.gethostname()}
        (self.folder / RUNNING).write_text(json.dumps(who))

    def _who(self) -> str:
        try:
            told = json.loads((self.folder / RUNNING).read_text())
            return f"another job writes there (process {told['pid']} on {told['host']})"
        except (OSError, ValueError, KeyError):
            return "another job writes there"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the lock back."""
        if not self._dry:
            (self.folder / RUNNING).unlink(missing_ok=True)
        self._db.close()

    def abandon(self) -> None:
        """Gives the lock back and, if this call began the journal, leaves nothing of it."""
        if not self._dry and not self._there:  # while it is locked: nobody else has it open
            for suffix in ("", "-wal", "-shm"):
                (self.folder / f"{NAME}{suffix}").unlink(missing_ok=True)
        self.close()
        if self._made:
            with suppress(OSError):  # somebody has put something there
                self.folder.rmdir()

    def told(self, name: str) -> Any:
        """Returns what ``tell`` noted under this name; None: nothing."""
        found = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else json.loads(found[0])

    def tell(self, name: str, value: Any) -> None:
        """Notes something about the whole corpus, which JSON can hold."""
        text = json.dumps(value, sort_keys=True)
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, text))

    def begin(self, durable: bool = True) -> None:
        """Begins a transaction, which ``commit`` or ``roll_back`` ends.

        Args:
            durable: whether ``commit`` waits for the disk. If not, a SIGKILL still loses nothing,
                but a loss of power may.
        """
        if not self._dry:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN")

    def commit(self) -> None:
        """Keeps what was noted since ``begin``."""
        if not self._dry:
            self._db.execute("COMMIT")

    def roll_back(self) -> None:
        """Forgets what was noted since ``begin``."""
        if not self._dry and self._db.in_transaction:
            self._db.execute("ROLLBACK")
