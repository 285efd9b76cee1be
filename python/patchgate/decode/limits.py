"""What a video may ask for: so that no small file can ask for gigabytes, or for ever."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from numbers import Integral, Real
from typing import Any

_DAY = 86_400.0


@dataclass(frozen=True)
class Limits:
    """What a video may ask for; None: anything.

    The defaults let pass pictures of 8K at any depth, videos of many days, pauses of a day, and
    clocks that begin anywhere: only gaps and lengths count, never absolute times. What exceeds one
    of the first four is a ValueError that names the limit.

    pixels: of a picture, width x height.
    frame_bytes: of a picture's planes.
    streams: of a file, of every kind.
    duration: from the first picture to the last, in seconds.
    gap: from a picture to the next, in seconds. A time stamp beyond it is taken for a bad one; a
        clock that goes on from there is carried on without the gap, and told in a DecodeWarning.
    chunk_bytes: of the planes of a FrameBatch, which has fewer frames than ``chunk`` where these
        would take more, and always one.
    """

    pixels: int | None = 2**26
    frame_bytes: int | None = 2**29
    streams: int | None = 256
    duration: float | None = 366 * _DAY
    gap: float | None = 2 * _DAY
    chunk_bytes: int | None = 2**28

    def __post_init__(self) -> None:
        for field in fields(self):
            value: Any = getattr(self, field.name)
            if value is None:
                continue
            whole = field.name not in ("duration", "gap")
            number = not isinstance(value, bool) and isinstance(value, Integral if whole else Real)
            if not number:
                numbers = "a whole number" if whole else "a number of seconds"
                raise TypeError(f"Limits.{field.name}: expected {numbers} or None, got {value!r}")
            if not (isfinite(value) and value > 0):
                raise ValueError(
                    f"Limits.{field.name}: expected more than 0, or None for no limit, got {value}"
                )
            object.__setattr__(self, field.name, int(value) if whole else float(value))

    def check(self, name: str, limit: str, value: float, what: str) -> None:
        """ValueError where a video asks for more than a limit.

        Args:
            name: of the video.
            limit: which one.
            value: that it asks for.
            what: the same in words, as "a picture of 16,000 x 8,000 pixels".
        """
        most = getattr(self, limit)
        if most is not None and value > most:
            raise ValueError(f"{name}: {what} is more than is allowed: {self.said(limit)}")

    def check_picture(self, name: str, width: int, height: int) -> None:
        """ValueError for a picture of too many pixels."""
        self.check(name, "pixels", width * height, f"a picture of {width:,} x {height:,} pixels")

    def frames(self, name: str, chunk: int, size: int) -> int:
        """How many frames, of so many bytes each, a batch of at most ``chunk`` takes: one or more.
        ValueError for a frame that is too large."""
        self.check(name, "frame_bytes", size, f"a picture of {size:,} bytes")
        return chunk if self.chunk_bytes is None else max(1, min(chunk, self.chunk_bytes // size))

    def of_decoder(self) -> dict[str, str]:
        """Options of FFmpeg's decoders: they refuse larger pictures before they make room."""
        return {} if self.pixels is None else {"max_pixels": str(min(self.pixels, 2**31 - 1))}

    def said(self, limit: str) -> str:
        """A limit and how it is raised, for messages."""
        option = limit.replace("_", "-")
        return (
            f"limits.{limit} is {getattr(self, limit):,}. If the file is to be trusted, give "
            f"limits=patchgate.Limits({limit}=...), or --max-{option} at the command line"
        )


DEFAULT_LIMITS = Limits()
