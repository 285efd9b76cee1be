"""What a video's loader says beside its frames: when each is shown, and to which stream it belongs.

It lies in the video's metadata under ``"patchgate"``, so that an engine that hashes the metadata
tells apart what must not share a cache entry.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

from patchgate._check import checked_count, checked_number

KEY = "patchgate"
_DIGITS = 6  # a sum of floats that should be 1.75 may be 1.7499...: it must not become 1.7


_NAMED = re.compile(r"stream:(?P<stream>.+):(?P<number>\d+)", re.DOTALL)


class ChunkName(NamedTuple):
    """To which stream a video belongs, and which of its chunks it is."""

    stream: str
    number: int  # from 0
    begun: str = ""  # which stream of this name: it differs from that of every other beginning

    @classmethod
    def read(cls, name: str | None) -> Self | None:
        """Reads ``stream:NAME:NUMBER``, as requests name chunks; None: it is no such name."""
        found = None if name is None else _NAMED.fullmatch(name)
        return None if found is None else cls(found["stream"], int(found["number"]))


def chunk_of(given: Mapping[str, Any]) -> ChunkName | None:
    """Reads a chunk's name from the entry of a video's metadata; None: it has none.

    Raises:
        TypeError, ValueError: a part of it is missing or wrong.
    """
    if "stream" not in given and "number" not in given:
        return None
    name = given.get("stream")
    if not isinstance(name, str) or not name:
        raise TypeError(f"stream: expected a name, got {name!r}")
    number = checked_count("number", given.get("number"), 0)
    return ChunkName(name, number, str(given.get("begun", "")))


class Beside(NamedTuple):
    """What came with one video."""

    pts_seconds: Sequence[float] | None = None  # of each frame; None: evenly spaced
    seconds: float | None = None  # the video's length, if it is known
    keep_all: bool = False  # a video of one grey with which an engine measures its memory
    chunk: ChunkName | None = None  # its place in a live stream

    @classmethod
    def of(cls, given: Any, duration: Any = None) -> Self:
        """Reads the entry of a video's metadata.

        Args:
            given: the entry, or None.
            duration: the metadata's own, seconds. That of ``pts_seconds`` comes before it.

        Raises:
            TypeError, ValueError: it is not such an entry.
        """
        known = isinstance(duration, int | float) and 0 < duration < math.inf
        seconds = float(duration) if known else None
        if given is None:
            return cls(seconds=seconds)
        if not isinstance(given, Mapping):
            raise TypeError(f"video: expected {KEY} settings by name, got {given!r:.80}")
        unknown = sorted(set(map(str, given)) - {"pts_seconds", "keep_all", *ChunkName._fields})
        if unknown:
            raise ValueError(not_a_requests(unknown))
        pts = given.get("pts_seconds")
        times = None if pts is None else checked_times(pts)
        if times is not None and len(times) > 1:
            shown = times[-1] - times[0]
            seconds = shown + shown / (len(times) - 1)  # the last frame as long as the others
        return cls(times, seconds, bool(given.get("keep_all", False)), chunk_of(given))


def not_a_requests(names: Iterable[str]) -> str:
    """Says why a request cannot have these settings."""
    return (
        f"video: a request cannot set {', '.join(names)}: the server's settings hold for every "
        "request (--hf-overrides '{\"patchgate\": {..}}')"
    )


def checked_times(pts_seconds: Any) -> list[float]:
    """Checks the times of a video's frames: at least one, finite, not descending."""
    if isinstance(pts_seconds, str) or not isinstance(pts_seconds, Sequence):
        raise TypeError(f"pts_seconds: expected a list of seconds, got {pts_seconds!r:.80}")
    times = [checked_number("pts_seconds", each, -1e9, 1e9, "seconds") for each in pts_seconds]
    if not times:
        raise ValueError("pts_seconds: expected the time of at least one frame, got none")
    if any(later < earlier for earlier, later in pairwise(times)):
        raise ValueError("pts_seconds: expected times that do not go back")
    return times


def tubelet_times(pts_seconds: Sequence[float], frames: int, tubelets: int) -> list[list[float]]:
    """Groups the times of frames; where the last tubelet lacks a frame, the last one is repeated.

    Args:
        pts_seconds: of each frame.
        frames: the number of frames of a tubelet.
        tubelets: how many there must be.

    Raises:
        ValueError: there are more or fewer.
    """
    if math.ceil(len(pts_seconds) / frames) != tubelets:
        raise ValueError(
            f"pts_seconds: {len(pts_seconds)} times are those of "
            f"{math.ceil(len(pts_seconds) / frames)} tubelets of {frames} frames, but the video "
            f"has {tubelets}; give one time for each frame, and let nothing else sample the frames"
        )
    times = [*pts_seconds, *[pts_seconds[-1]] * (frames - 1)]
    return [times[t * frames : (t + 1) * frames] for t in range(tubelets)]


def middle(times: Sequence[float]) -> float:
    """Returns the time in Qwen3-VL's prompt: the middle of a tubelet's first and last frame."""
    return round((times[0] + times[-1]) / 2, _DIGITS)
