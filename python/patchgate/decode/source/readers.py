"""What FFmpeg reads from where it is no plain file: a pipe, and a user's file object.

Both are read in a thread that can be left (``waiting.py``), remember their first bytes, and keep
what
was raised in them: PyAV loses what is no ``Exception``, and FFmpeg reads on after an error.
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

_PAUSE = 0.01  # seconds between questions to a source that has nothing yet and cannot be waited for


class _Reader:
    """What both have in common. No ``name``: FFmpeg would guess from it what the bytes are, and a
    %d in it would make a series of pictures of them."""

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
        """At most ``size`` bytes; none at the end, and after anything was raised."""
        if self.error is not None or self._left:
            return b""
        try:
            data = self._read(size)
        except BaseException as error:  # raised again by ``Demuxer``, where FFmpeg has come back
            self.error = error
            return b""
        if len(self.head) < HEAD:
            self.head += data[: HEAD - len(self.head)]
        return data

    def _read(self, size: int) -> bytes:
        raise NotImplementedError

    def leave(self) -> None:
        """From another thread: what is being read ends as soon as it can."""
        self._left = True


class PipeReader(_Reader):
    """A pipe, FIFO or socket, by its descriptor; waits in such a way that it can be woken.

    Args:
        descriptor: open for reading; closed by ``close``.
        file: the user's, whose descriptor it is: read through its buffer, and not closed.
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
            except BlockingIOError:  # another process was faster
                continue
            if data is not None:
                return data

    def leave(self) -> None:
        super().leave()
        if self._wake_writer >= 0:
            os.write(self._wake_writer, b"x")

    def close(self) -> None:
        """Closes our own descriptors; that of a user's file is the user's."""
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
        file: has ``read``, and ``seek`` and ``tell`` where it can seek.
        seekable: whether it does.
    """

    def __init__(self, file: IO[bytes], seekable: bool) -> None:
        super().__init__()
        self._file, self._seekable = file, seekable
        self.busy = False  # in a call of the user's

    def seekable(self) -> bool:
        return self._seekable

    def _read(self, size: int) -> bytes:
        while True:
            data: Any = self._call(lambda: self._file.read(size))
            if data is not None or self._left:
                break
            time.sleep(_PAUSE)  # it does not block, and has nothing yet
        if data is None:
            return b""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(
                "its read() does not give bytes but "
                f'{type(data).__name__}; open it in binary mode, open(path, "rb")'
            )
        if len(data) > size:  # FFmpeg's buffer has no room for more
            raise ValueError(f"its read({size}) gave {len(data)} bytes, which is more than asked")
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
    """A file object of Python's own, whose methods are called as they are."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


def is_plain(file: Any) -> bool:
    """Whether reading a file object never waits: bytes in memory, or a file on a disk.

    Only of Python's own types: what is written in Python may do anything.
    """
    if type(file) is io.BytesIO:
        return True
    descriptor = own_descriptor(file)
    return descriptor is not None and is_on_disk(os.fstat(descriptor).st_mode)


def is_on_disk(mode: int) -> bool:
    """Whether ``st_mode`` is that of a file or a whole disk, where reading never waits."""
    return stat.S_ISREG(mode) or stat.S_ISBLK(mode)


def own_descriptor(file: Any) -> int | None:
    """The descriptor of a file or socket that Python itself opened and reads all bytes from (not
    in TLS); None of all others."""
    raw: Any = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    below = getattr(raw, "_sock", None) if type(raw) is socket.SocketIO else raw
    if type(below) not in (io.FileIO, socket.socket) or raw.closed:
        return None
    return int(raw.fileno())
