"""The kinds of sources, and how FFmpeg gets each: by memory, by descriptor, by address.

FFmpeg never gets the name of a local file, because it would interpret parts of it (colons, %d,
"file:"). The file is opened here, and FFmpeg gets its descriptor.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from .access import Access
from .formats import MEDIA, PLAYLISTS
from .playlists import HEAD, check_script, folder_of, playlist_kind
from .protocols import BESIDE, NOTHING, SESSION, Address, options_of
from .readers import FileReader, Nameless, PipeReader, is_on_disk, is_plain, own_descriptor

_WEB_PLAYLISTS = ("hls", "dash")


@dataclass
class Handle:
    """One opening of a source: the arguments of ``av.open``, and the objects behind them."""

    file: Any  # an address for FFmpeg, or a file object
    options: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    waits: bool = False  # its calls may never return
    timeouts: tuple[float | None, float | None] | None = None  # FFmpeg's own
    reader: PipeReader | FileReader | None = None
    given: Callable[[], None] = lambda: None  # call it when FFmpeg has opened or refused the source

    def restricted(self, playlist: str | None, access: Access) -> Handle:
        """Returns the handle with the formats and protocols that a local source may use."""
        formats = MEDIA if playlist is None else (*MEDIA, playlist)
        self.options.setdefault("protocol_whitelist", _beneath(playlist))
        self.options["format_whitelist"] = ",".join(formats)
        self.format = playlist or access.format
        return self


def _beneath(playlist: str | None) -> str:
    if playlist is None:
        return NOTHING
    return SESSION if playlist == "sdp" else BESIDE


class Origin(Protocol):
    """One kind of source."""

    seekable: bool  # False: it can be read only from the beginning
    once: bool  # it cannot be opened a second time

    def open(self, access: Access) -> Handle: ...
    def size(self) -> int | None: ...
    def head(self) -> bytes: ...
    def at(self, place: int, count: int) -> bytes: ...


class Memory:
    """Bytes."""

    seekable, once = True, False

    def __init__(self, data: bytes) -> None:
        self._data = data

    def open(self, access: Access) -> Handle:
        playlist = asked_playlist(access, self.head)
        if playlist == "concat":
            check_script(self._data, ".", "the script")
        waits = playlist is not None
        return Handle(io.BytesIO(self._data), waits=waits).restricted(playlist, access)

    def size(self) -> int:
        return len(self._data)

    def head(self) -> bytes:
        return self._data[:HEAD]

    def at(self, place: int, count: int) -> bytes:
        return self._data[place : place + count]


class Local:
    """The path of a file or a pipe."""

    def __init__(self, path: str, name: str) -> None:
        self._path, self._name = path, name
        self._reader: PipeReader | None = None
        self.seekable = is_on_disk(os.stat(path).st_mode)
        self.once = not self.seekable

    def open(self, access: Access) -> Handle:
        descriptor = self._descriptor()
        try:
            playlist = asked_playlist(access, lambda: _head_of(descriptor))
            if playlist == "concat":
                script = os.pread(descriptor, 1 << 21, 0)
                check_script(script, folder_of(self._path), self._name)
            if playlist is not None:  # names in it are relative to its folder
                os.close(descriptor)
                return Handle(f"file:{self._path}", waits=True).restricted(playlist, access)
            handle = of_descriptor(descriptor, self._name)
        except BaseException:
            os.close(descriptor)
            raise
        if isinstance(handle.reader, PipeReader):
            self._reader = handle.reader
        return handle.restricted(None, access)

    def _descriptor(self) -> int:
        try:  # O_NONBLOCK, because opening a FIFO without a writer would wait
            return os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError as error:
            raise PermissionError(f"{self._name}: no permission to read it") from error
        except OSError as error:
            raise type(error)(f"{self._name}: {error.strerror}") from error

    def size(self) -> int | None:
        status = os.stat(self._path)
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def head(self) -> bytes:
        if self._reader is not None:
            return self._reader.head
        descriptor = self._descriptor()
        try:
            return _head_of(descriptor)
        finally:
            os.close(descriptor)

    def at(self, place: int, count: int) -> bytes:
        if not self.seekable:
            return b""
        descriptor = self._descriptor()
        try:
            return os.pread(descriptor, count, place)
        finally:
            os.close(descriptor)


class Descriptor:
    """``pipe:N``: a descriptor that another program opened for us."""

    def __init__(self, number: int, name: str) -> None:
        self._number, self._name = number, name
        self._reader: PipeReader | None = None
        self.seekable, self.once = False, True

    def open(self, access: Access) -> Handle:
        try:
            descriptor = os.dup(self._number)
        except OSError as error:
            raise type(error)(f"{self._name}: {error.strerror}") from error
        try:
            handle = of_descriptor(descriptor, self._name)
        except BaseException:
            os.close(descriptor)
            raise
        if isinstance(handle.reader, PipeReader):
            self._reader = handle.reader
        return handle.restricted(None, access)

    def size(self) -> None:
        return None

    def head(self) -> bytes:
        return b"" if self._reader is None else self._reader.head

    def at(self, place: int, count: int) -> bytes:
        return b""


class FileObject:
    """A binary file object of the user's."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._reader: PipeReader | FileReader | None = None
        can = getattr(file, "seekable", None)
        places = hasattr(file, "seek") and hasattr(file, "tell")
        self.seekable = bool(places and (not can or can()))
        self.once = not self.seekable

    def open(self, access: Access) -> Handle:
        if isinstance(self._reader, FileReader) and self._reader.busy:
            raise RuntimeError(
                "an earlier read() of this file object has not returned; open another one"
            )
        playlist = asked_playlist(access, self.head)
        if playlist == "concat":
            raise ValueError("an ffconcat script can be read only from a path or bytes")
        if self.seekable:
            self._file.seek(0)
        if is_plain(self._file):
            waits = playlist is not None
            return Handle(Nameless(self._file), waits=waits).restricted(playlist, access)
        descriptor = own_descriptor(self._file)
        if descriptor is not None:
            self._reader = PipeReader(descriptor, self._file)
        else:
            self._reader = FileReader(self._file, self.seekable)
        handle = Handle(self._reader, waits=True, reader=self._reader)
        return handle.restricted(playlist, access)

    def size(self) -> int | None:
        return self._file.seek(0, os.SEEK_END) if self.seekable else None

    def head(self) -> bytes:
        if self._reader is not None and self._reader.head:
            return self._reader.head
        if not self.seekable:
            return b""
        self._file.seek(0)
        return bytes(self._file.read(HEAD))

    def at(self, place: int, count: int) -> bytes:
        if not self.seekable:
            return b""
        self._file.seek(place)
        return bytes(self._file.read(count))


class Remote:
    """An address."""

    once = False

    def __init__(self, address: Address, name: str) -> None:
        self.address, self._name = address, name
        self.seekable = not address.is_live

    def open(self, access: Access) -> Handle:
        formats, named = MEDIA, access.format
        if self.address.scheme in ("rtsp", "rtsps"):
            formats, named = (*MEDIA, "rtsp"), "rtsp"
        elif named in PLAYLISTS and not (self.address.is_web and named in _WEB_PLAYLISTS):
            raise ValueError(
                f"{self._name}: a playlist of the format {named} can be read only from a file; "
                "download it first"
            )
        elif self.address.is_web and (access.allow_playlists or named in PLAYLISTS):
            formats = (*MEDIA, *_WEB_PLAYLISTS)
        limits = (access.open_timeout, access.read_timeout)
        longest = None if None in limits else max(float(limit or 0) for limit in limits)
        options = options_of(self.address, longest)
        options["format_whitelist"] = ",".join(formats)
        options.update(access.options)
        # FFmpeg's timeouts are later than ours, whose messages name the option. They end calls that
        # we have abandoned by then.
        opening, reading = (None if limit is None else float(limit) + 1 for limit in limits)
        return Handle(self.address.url, options, named, waits=True, timeouts=(opening, reading))

    def size(self) -> None:
        return None

    def head(self) -> bytes:
        return b""

    def at(self, place: int, count: int) -> bytes:
        return b""


def of_descriptor(descriptor: int, name: str) -> Handle:
    """Makes a handle of a descriptor that belongs to us.

    Raises:
        ValueError: it is that of a device.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISDIR(mode):
        raise ValueError(
            f"{name} is a device, not a video; open_video reads files, pipes and addresses"
        )
    if is_on_disk(mode):
        options = {"fd": str(descriptor), "protocol_whitelist": "fd"}
        return Handle("fd:", options, given=lambda: os.close(descriptor))
    reader = PipeReader(descriptor)
    return Handle(reader, waits=True, reader=reader)


def asked_playlist(access: Access, head: Callable[[], bytes]) -> str | None:
    """Returns the kind of playlist that a source is, if playlists are allowed, or None."""
    if access.format in PLAYLISTS:
        return access.format
    kind = playlist_kind(head()) if access.allow_playlists and access.format is None else None
    return kind if kind in PLAYLISTS else None


def _head_of(descriptor: int) -> bytes:
    on_disk = is_on_disk(os.fstat(descriptor).st_mode)
    return os.pread(descriptor, HEAD, 0) if on_disk else b""
