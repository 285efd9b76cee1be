"""Writes files beside their place, and moves them there in one step.

Nobody sees an incomplete file, and an older one stays until the new one is complete.

A process that is killed leaves its hidden folder. Its lock is free then, by which the next one that
writes in the same place knows it, and sweeps it.
"""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system: nothing is swept
    fcntl = None  # type: ignore[assignment]

_LONGEST = 200  # the most bytes of a file's name in that of its hidden folder: names have a limit
_MOST_LINKS = 40  # the most links that are followed, as in Linux
_MARK = ".patchgate-"  # in the names of hidden folders
_LOCK = "lock"  # held as long as the process that made the folder runs
_scratch: set[str] = set()  # folders of this process that are in use


def incomplete(path: Path) -> Path:
    """Returns the name that marks a file as one that holds only a first part."""
    most = 255 - len(".incomplete")  # bytes
    return path.with_name(os.fsdecode(os.fsencode(path.name)[:most]) + ".incomplete")


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Makes a hidden folder on the disk of ``path``, and removes it in any case.

    A file in it can be moved to ``path`` in one step, so that nobody sees an incomplete one.
    """
    _refuse_descriptor(path)
    target = Path(os.path.realpath(path))  # a link stays one; what it points to is replaced
    try:
        os.lstat(target)  # raises if the name is too long
    except FileNotFoundError:
        pass
    except OSError as error:
        raise explained(error, path, _NO_FOLDER) from error
    if target.exists() and not target.is_file():
        raise ValueError(f"{path}: cannot write there, it is not a file; give a file's name")
    try:
        # (A name may have 255 bytes, and this one has twenty more.)
        prefix = f".{os.fsdecode(os.fsencode(target.name)[:_LONGEST])}{_MARK}"
        _sweep(target.parent)
        scratch = tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent)
    except OSError as error:
        raise explained(error, path) from error
    with scratch as folder:
        _scratch.add(folder)
        held = None
        try:
            held = _held(folder)
            yield Path(folder)
        except OSError as error:
            raise explained(error, path, _NO_SPACE) from error
        finally:
            _scratch.discard(folder)
            if held is not None:
                os.close(held)


def _held(folder: str) -> int | None:
    """Locks a hidden folder, and returns what holds the lock: an open file; None: it cannot be."""
    if fcntl is None:
        return None
    new = os.path.join(folder, "new")
    lock = os.open(new, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Only now has it the name: nobody finds it free.
        os.rename(new, os.path.join(folder, _LOCK))
    except OSError:  # a file system without locks
        os.close(lock)
        return None
    return lock


def _sweep(parent: Path) -> None:
    """Removes the hidden folders in a folder whose process does not run any more."""
    try:
        with os.scandir(parent) as entries:
            found = [entry.path for entry in entries
                     if entry.name.startswith(".") and _MARK in entry.name
                     and entry.is_dir(follow_symlinks=False)]  # fmt: skip
    except OSError:  # not there, or not ours to read: whoever writes in it is told
        return
    for folder in found:
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: str) -> bool:
    """Whether nobody holds the lock of a hidden folder."""
    if fcntl is None:
        return False
    try:
        lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR)
    except OSError:  # it is being made, or somebody else's
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(lock)


def remove_scratch() -> None:
    """Removes all hidden folders of this process at once, if it cannot end in order."""
    for folder in tuple(_scratch):
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_descriptor(path: Path) -> None:
    """Raises a ``ValueError`` for /dev/stdout and similar paths.

    Moving a file there would replace what the shell has opened.
    """
    seen = os.fspath(path)
    for _ in range(_MOST_LINKS):
        if re.fullmatch(r"/proc/[^/]+/fd/\d+|/dev/fd/\d+", seen):
            raise ValueError(f"{path}: cannot write there, it is not a file; give a file's name")
        if not os.path.islink(seen):
            return
        seen = os.path.join(os.path.dirname(seen), os.readlink(seen))


@contextmanager
def written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields the path to write to; the file replaces ``path`` when the ``with`` ends.

    It gets the rights of the user's new files (the umask). After an error, an older file is
    unchanged.

    Raises:
        OSError: the folder does not exist or is not writable, or the disk is full.
        ValueError: the path exists and is not a file.
    """
    path = Path(path)
    with scratch_beside(path) as folder:
        whole = folder / "whole"
        yield whole
        with (folder / "new").open("wb") as new:
            whole.chmod(os.fstat(new.fileno()).st_mode)
        os.replace(whole, os.path.realpath(path))


_NO_FOLDER = {
    errno.ENOENT: "there is no such folder; make it first",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EACCES: "no permission to write in this folder",
    errno.EPERM: "no permission to write in this folder",
    errno.EROFS: "this disk is read-only",
    errno.ENAMETOOLONG: "this name is too long",
}
_NO_SPACE = {
    errno.ENOSPC: "the disk is full; free some of it, or write to another",
    errno.EDQUOT: "your disk quota is used up; free some of it, or write to another disk",
    errno.EFBIG: "the file became larger than this system allows; write less at once",
}


_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one behind it, says that no other file can be written to this disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_MORE:
            return True
        error = error.__cause__
    return False


def explained(
    error: OSError, path: Path, words: dict[int, str] = _NO_FOLDER | _NO_SPACE
) -> OSError:
    """Makes an error that says what was to be written and what to do, if that is known."""
    if error.errno not in words:
        return error
    return OSError(f"{path}: {words[error.errno]}")
