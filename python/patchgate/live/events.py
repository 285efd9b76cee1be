"""What happens to a live source, told as it happens."""

from __future__ import annotations

from typing import Literal, NamedTuple

What = Literal["opened", "stalled", "lost", "back", "ended", "scene cut", "failed", "disk"]


class LiveEvent(NamedTuple):
    """Something that happened to a live source.

    Attributes:
        what: "opened" (its first picture came), "stalled" (nothing came within ``read_timeout``, or
            within ``open_timeout`` of another attempt), "lost" (it failed otherwise), "back" (it
            gives pictures again), "ended"; and of a camera that is watched "scene cut" (a whole
            frame is new), "failed" (its tokens could not be made),
            "disk" (a segment of its tokens could not be written).
        text: the same in words, with the reason.
        at: when it was noticed, in seconds of ``time.monotonic()``.
    """

    what: What
    text: str
    at: float
