"""File objects for FFmpeg, of sources that are not plain files: a pipe, a user's file object.

Both are read in a thread that can be abandoned (``waiting.py``). They keep their first bytes, and
errors that were raised in them: PyAV loses those that are no ``Exception``, and FFmpeg reads on
after an error.
"""

from __future__ import annotations

import io
import os
import select
import socket
import stat
import time
from typing import IO, Any

from .playlists import HEAD

_PAUSE = 0.01  # seconds between two reads of a source that has nothing yet and does not block


class _Reader:
    """The base class of both.

    It has no ``name``: FFmpeg would guess the format from it, and with a %d in it would look for a
    series of pictures.
    """

    def __init__(self) -> None:
        self.head = b""  # the first bytes
        self.error: BaseException | None = None
        self._left = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")

    def read(self, size: int = -1) -> bytes:
        """Returns at most ``size`` bytes; none at the end, and none after an error."""
        if self.error is not None or self._left:
            return b""
        try:
            data = self._read(size)
        except BaseException as error:  # ``Demuxer`` raises it again when FFmpeg has returned
            self.error = error
            return b""
        if len(self.head) < HEAD:
            self.head += data[: HEAD - len(self.head)]
        return data

    def _read(self, size: int) -> bytes:
        raise NotImplementedError

    def leave(self) -> None:
        """Ends a read that waits, as soon as possible. Another thread calls it."""
        self._left = True


class PipeReader(_Reader):
    """A pipe, FIFO or socket, by its descriptor; another thread can wake it while it waits.

    Args:
        descriptor: is open for reading; ``close`` closes it.
        file: the user's file object with this descriptor. It is read through its buffer, and not
            closed.
    """

    def __init__(self, descriptor: int, file: io.BufferedReader | io.FileIO | None = None) -> None:
        super().__init__()
        self._descriptor, self._file = descriptor, file
        self._wake_reader, self._wake_writer = os.pipe()
        self._poll = select.poll()
        for watched in (descriptor, self._wake_reader):
            self._poll.register(watched, select.POLLIN)

    def _read(self, size: int) -> bytes:
        while True:
            self._poll.poll()
            if self._left:
                return b""
            try:
                if isinstance(self._file, io.BufferedReader):
                    data = self._file.read1(size)
                else:
                    data = os.read(self._descriptor, size)
            except BlockingIOError:  # another process has read the bytes
                continue
            if data is not None:
                return data

    def leave(self) -> None:
        super().leave()
        if self._wake_writer >= 0:
            os.write(self._wake_writer, b"x")

    def close(self) -> None:
        """Closes our own descriptors, but not that of a user's file."""
        if self._wake_writer < 0:
            return
        os.close(self._wake_reader)
        os.close(self._wake_writer)
        self._wake_reader = self._wake_writer = -1
        if self._file is None:
            os.close(self._descriptor)


class FileReader(_Reader):
    """Any binary file object of the user's.

    Args:
        file: has ``read`` and, if it can seek, ``seek`` and ``tell``.
        seekable: whether it can seek.
    """

    def __init__(self, file: IO[bytes], seekable: bool) -> None:
        super().__init__()
        self._file, self._seekable = file, seekable
        self.busy = False  # whether a call of the user's file object is running

    def seekable(self) -> bool:
        return self._seekable

    def _read(self, size: int) -> bytes:
        while True:
            data: Any = self._call(lambda: self._file.read(size))
            if data is not None or self._left:
                break
            time.sleep(_PAUSE)  # it is non-blocking, and has nothing yet
        if data is None:
            return b""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                "its read() does not return bytes but "
                f'{type(data).__name__}; open it in binary mode, open(path, "rb")'
            )
        if len(data) > size:  # FFmpeg's buffer has no room for more
            raise ValueError(f"its read({size}) returned {len(data)} bytes, which is too many")
        return bytes(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self.error is not None or self._left:
            return -1
        try:
            place = self._call(lambda: self._file.seek(offset, whence))
            return self._call(self._file.tell) if place is None else int(place)
        except BaseException as error:
            self.error = error
            return -1

    def tell(self) -> int:
        return int(self._call(self._file.tell))

    def _call(self, job: Any) -> Any:
        self.busy = True
        try:
            return job()
        finally:
            self.busy = False


class Nameless:
    """A file object of Python itself, whose methods are called directly."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def is_plain(file: Any) -> bool:
    """Whether reading a file object never waits: bytes in memory, or a file on a disk.

    This is known only for Python's own types.
    """
    if type(file) is io.BytesIO:
        return True
    descriptor = own_descriptor(file)
    return descriptor is not None and is_on_disk(os.fstat(descriptor).st_mode)


def is_on_disk(mode: int) -> bool:
    """Whether ``st_mode`` is that of a file or a whole disk, so that reading never waits."""
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def own_descriptor(file: Any) -> int | None:
    """Returns the descriptor of a file or socket that Python reads directly; None for others.

    A socket with TLS is not read directly.
    """
    raw: Any = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    below = getattr(raw, "_sock", None) if type(raw) is socket.SocketIO else raw
    if type(below) not in (io.FileIO, socket.socket) or raw.closed:
        return None
    return int(raw.fileno())
