"""Where a video's bytes come from."""

from __future__ import annotations

import os
from typing import IO

from .access import Access
from .origins import Descriptor, FileObject, Handle, Local, Memory, Origin, Remote
from .protocols import Address, Place, place_of

VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


class Source:
    """A path, URL, bytes, or binary file object, which can be opened again where it can seek.

    Raises:
        FileNotFoundError, ValueError: nothing is there, or nothing that is opened.
        TypeError: it is something else.
    """

    def __init__(self, what: VideoSource, access: Access | None = None) -> None:
        self.access = access or Access()
        self._opened = False
        self._origin: Origin
        if isinstance(what, (bytes, bytearray, memoryview)):
            self._origin = Memory(bytes(what))
            self.name = f"<{len(bytes(what))} bytes>"
        elif isinstance(what, (str, os.PathLike)):
            self.name = os.fsdecode(what)
            self._origin = self._named(
                place_of(what) if isinstance(what, str) else Place(path=self.name)
            )
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
        """True where all readers share one position: only one of them can read."""
        return isinstance(self._origin, FileObject)

    @property
    def address(self) -> Address | None:
        """What it connects to; None where that is nothing."""
        return self._origin.address if isinstance(self._origin, Remote) else None

    @property
    def seekable(self) -> bool:
        """False for pipes, sockets and live addresses: read from the beginning, and once."""
        return self._origin.seekable

    def need_repeatable(self, why: str) -> None:
        """ValueError where it cannot be read twice alike; ``why`` says what needs that."""
        if not self.seekable:
            raise ValueError(f"{self.name}: {why}, and this can be read only once; save it to a "
                             "file first")  # fmt: skip

    def handle(self) -> Handle:
        """A new opening, at the first byte. RuntimeError the second time round, where it can be
        read only once; OSError, ValueError where it cannot be opened."""
        if self._opened and self._origin.once:
            raise RuntimeError(
                f"{self.name} cannot seek, so it can be read only once; open a path "
                "or bytes to iterate again"
            )
        handle = self._origin.open(self.access)
        self._opened = True
        return handle

    def size(self) -> int | None:
        """In bytes, or None where unknown. Leaves a file object at its end."""
        return self._origin.size()

    def at(self, place: int, count: int) -> bytes:
        """So many bytes from there on, or fewer; none where one cannot go there."""
        return self._origin.at(place, count)

    def head(self) -> bytes:
        """The first bytes, or none where they cannot be had again."""
        return self._origin.head()


def _check_path(path: str, name: str) -> None:
    if os.path.isdir(path):
        raise ValueError(f"{name} is a directory; give the path of one video file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{name}: no such file (looked from {os.getcwd()}); check the path")


def usable_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """min(4, usable CPUs): more has stalled FFmpeg's slice threads elsewhere."""
    return min(4, usable_cpus())
