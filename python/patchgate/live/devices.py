"""Capture devices as sources: a camera of Video4Linux, a screen."""

from __future__ import annotations

import os
import re
import stat

from patchgate.decode.ffmpeg import av
from patchgate.decode.source.access import Access
from patchgate.decode.source.origins import Handle
from patchgate.decode.source.source import Source

# Our prefixes, FFmpeg's formats, and what stands behind the colon if nothing does.
_KINDS = {
    "v4l2": ("video4linux2", "/dev/video0"),
    "x11grab": ("x11grab", ":0"),
    "avfoundation": ("avfoundation", "default"),
    "dshow": ("dshow", ""),
}
_NAME = re.compile(rf"({'|'.join(_KINDS)}):(?://)?(.*)")


class Capture:
    """The ``Origin`` of a capture device."""

    seekable, once = False, False

    def __init__(self, kind: str, place: str) -> None:
        """``kind``: one of ``_KINDS``. ``place``: the device's name for FFmpeg."""
        self._format, usual = _KINDS[kind]
        self._place = place or usual

    def open(self, access: Access) -> Handle:
        known = {name for formats in av.formats_available for name in formats.split(",")}
        if self._format not in known:
            raise ValueError(
                f"{self._place}: the FFmpeg of PyAV {av.__version__} here was built without "
                f"{self._format}; read the device with another program and pipe its video here"
            )
        options = {"format_whitelist": self._names(), "protocol_whitelist": "none"}
        limits = (access.open_timeout, access.read_timeout)
        opening, reading = (None if limit is None else limit + 1 for limit in limits)
        return Handle(self._place, options | dict(access.options), self._format, waits=True,
                      timeouts=(opening, reading))  # fmt: skip

    def _names(self) -> str:
        """Returns all names of the format: FFmpeg compares its whitelist with all together."""
        for formats in av.formats_available:
            if self._format in formats.split(","):
                return formats
        return self._format

    def size(self) -> None:
        return None

    def head(self) -> bytes:
        return b""

    def at(self, place: int, count: int) -> bytes:
        return b""


class Device(Source):
    """A capture device that can be opened again and again."""

    device = True

    def __init__(self, name: str, access: Access) -> None:
        """``name``: "v4l2:/dev/video0", "x11grab::0.0", or a path such as "/dev/video0"."""
        found = _NAME.fullmatch(name)
        kind, place = (found[1], found[2]) if found else ("v4l2", name)
        self.access, self.name, self._opened = access, name, False
        self._origin = Capture(kind, place)


def is_device(name: str) -> bool:
    """Whether a name is that of a capture device."""
    if os.path.lexists(name):
        return stat.S_ISCHR(os.stat(name).st_mode) and "/video" in name
    return _NAME.fullmatch(name) is not None
