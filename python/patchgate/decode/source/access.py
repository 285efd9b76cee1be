"""How a source may be opened, and how long it may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypedDict

from ..limits import DEFAULT_LIMITS, Limits
from .formats import PLAYLISTS, checked_format

DEFAULT_TIMEOUT = 10.0  # seconds


class AccessKwargs(TypedDict, total=False):
    """The keywords of ``open_video`` that make an ``Access``; ``open_video`` documents them."""

    format: str | None
    allow_playlists: bool
    open_timeout: float | None
    read_timeout: float | None
    stream: int | None
    limits: Limits


@dataclass(frozen=True)
class Access:
    """How a source may be opened, and how long it may take. ``open_video`` documents the fields.

    ``format`` becomes the name in ``MEDIA`` or ``PLAYLISTS`` of the same demuxer.

    Raises:
        TypeError, ValueError: a field is out of range.
    """

    format: str | None = None
    allow_playlists: bool = False
    open_timeout: float | None = DEFAULT_TIMEOUT  # seconds; None: no limit
    read_timeout: float | None = DEFAULT_TIMEOUT
    stream: int | None = None  # number of the stream, from 0; None: the one that shows the video
    limits: Limits = DEFAULT_LIMITS
    options: tuple[tuple[str, str], ...] = ()  # further ones of FFmpeg, for addresses

    def __post_init__(self) -> None:
        object.__setattr__(self, "format", checked_format(self.format))
        if not isinstance(self.allow_playlists, bool):
            raise TypeError(
                f"allow_playlists: expected True or False, got {self.allow_playlists!r}"
            )
        if not isinstance(self.limits, Limits):
            raise TypeError(f"limits: expected patchgate.Limits(...), got {self.limits!r}")
        object.__setattr__(self, "stream", _checked_stream(self.stream))
        for name in ("open_timeout", "read_timeout"):
            seconds = getattr(self, name)
            if seconds is None:
                continue
            if isinstance(seconds, bool) or not isinstance(seconds, Real):
                raise TypeError(f"{name}: expected seconds or None, got {seconds!r}")
            if not (math.isfinite(seconds) and float(seconds) > 0):
                raise ValueError(
                    f"{name}: expected a positive number of seconds, or None to wait for ever, "
                    f"got {seconds}"
                )
            object.__setattr__(self, name, float(seconds))  # a float of Python, not of numpy

    @property
    def names_others(self) -> bool:
        """Whether the source may be a playlist, which names other files."""
        return self.allow_playlists or self.format in PLAYLISTS


def _checked_stream(stream: int | None) -> int | None:
    if stream is None:
        return None
    if isinstance(stream, bool) or not isinstance(stream, Integral):
        raise TypeError(f"stream: expected the number of a stream or None, got {stream!r}")
    if stream < 0:
        raise ValueError(f"stream: expected a number from 0 on, or None, got {stream}")
    return int(stream)
