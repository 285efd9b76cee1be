"""PyAV, imported when something is first decoded or written. Other code works without it.

``from .ffmpeg import av`` replaces ``import av``.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import av as av
else:

    class _PyAV:
        """The module's names; each is looked up once."""

        def __getattr__(self, name: str) -> Any:
            try:
                found = getattr(importlib.import_module("av"), name)
            except ImportError as error:
                raise ImportError(
                    f"videos are read and written with PyAV, which cannot be imported here "
                    f"({error}); install it: pip install av"
                ) from error
            setattr(self, name, found)
            return found

    av = _PyAV()

Container: TypeAlias = "av.container.InputContainer"
Packet: TypeAlias = "av.Packet[av.VideoStream]"
Frame: TypeAlias = "av.VideoFrame"


def ffmpeg_errors_and(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Returns FFmpeg's errors and others, for an ``except``.

    Before PyAV is imported, FFmpeg cannot have raised anything.
    """
    return (*others, av.FFmpegError) if "av" in sys.modules else others
