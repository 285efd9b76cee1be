"""A source of a video's bytes, which can be opened several times."""

from __future__ import annotations

import os
from typing import IO

from .access import Access
from .names import shown_source
from .origins import Descriptor, FileObject, Handle, Local, Memory, Origin, Remote
from .protocols import Address, Place, place_of

VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


class Source:
    """A path, URL, bytes, or binary file object. If it can seek, it can be opened again.

    Attributes:
        name: its name in messages, which shows neither user nor password nor query of an address.
        has_secrets: whether the name leaves something out.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is of a kind that is not opened.
        TypeError: it is another kind of object.
    """

    has_secrets = False

    def __init__(self, what: VideoSource, access: Access | None = None) -> None:
        self.access = access or Access()
        self._opened = False
        self._origin: Origin
        if isinstance(what, (bytes, bytearray, memoryview)):
            self._origin = Memory(bytes(what))
            self.name = f"<{len(bytes(what))} bytes>"
        elif isinstance(what, (str, os.PathLike)):
            name = os.fsdecode(what)
            place = place_of(what) if isinstance(what, str) else Place(path=name)
            self.name = name if place.address is None else shown_source(name)
            self.has_secrets = self.name != name
            self._origin = self._named(place)
        elif hasattr(what, "read"):
            self._origin = FileObject(what)
            self.name = str(getattr(what, "name", None) or f"<{type(what).__name__}>")
        else:
            raise TypeError(
                f"open_video takes a path, bytes or a binary file object, got {type(what).__name__}"
            )

    def _named(self, place: Place) -> Origin:
        if place.address is not None:
            return Remote(place.address, self.name)
        if place.descriptor is not None:
            return Descriptor(place.descriptor, self.name)
        assert place.path is not None
        _check_path(place.path, self.name)
        return Local(place.path, self.name)

    @property
    def is_file_object(self) -> bool:
        """Whether it is a file object: its readers share one position, so only one can read."""
        return isinstance(self._origin, FileObject)

    @property
    def address(self) -> Address | None:
        """The address to which it connects, or None."""
        return self._origin.address if isinstance(self._origin, Remote) else None

    @property
    def seekable(self) -> bool:
        """Whether it can seek. Pipes, sockets and live addresses can be read only once."""
        return self._origin.seekable

    def need_repeatable(self, why: str) -> None:
        """Raises a ``ValueError`` if it cannot be read twice; ``why`` says what needs that."""
        if not self.seekable:
            raise ValueError(f"{self.name}: {why}, and this can be read only once; save it to a "
                             "file first")  # fmt: skip

    def handle(self) -> Handle:
        """Opens it again, at the first byte.

        Raises:
            RuntimeError: it can be read only once, and was opened before.
            OSError, ValueError: it cannot be opened.
        """
        if self._opened and self._origin.once:
            raise RuntimeError(
                f"{self.name} cannot seek, so it can be read only once; open a path "
                "or bytes to iterate again"
            )
        handle = self._origin.open(self.access)
        self._opened = True
        return handle

    def size(self) -> int | None:
        """Returns its size in bytes; None if unknown. It leaves a file object at its end."""
        return self._origin.size()

    def at(self, place: int, count: int) -> bytes:
        """Returns at most ``count`` bytes from a place on; none if it cannot seek."""
        return self._origin.at(place, count)

    def head(self) -> bytes:
        """Returns the first bytes; none if they cannot be read again."""
        return self._origin.head()


def _check_path(path: str, name: str) -> None:
    if os.path.isdir(path):
        raise ValueError(f"{name} is a directory; give the path of one video file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"{name}: no such file (the current folder is {os.getcwd()}); check the path"
        )


def usable_cpus() -> int:
    """Returns the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Returns min(4, usable CPUs); with more, FFmpeg's slice threads have stalled in some cases."""
    return min(4, usable_cpus())
