"""What a video may ask for, so that no small file takes gigabytes or days."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from numbers import Integral, Real
from typing import Any

_DAY = 86_400.0


@dataclass(frozen=True)
class Limits:
    """The most that a video may ask for; None: no limit.

    The defaults allow pictures of 8K at any depth, videos of many days, pauses of a day, and clocks
    that begin anywhere: only gaps and lengths count, never absolute times. A video that exceeds one
    of the first four limits raises a ValueError that names it.

    Args:
        pixels: the most pixels of a picture, width x height.
        frame_bytes: the most bytes of a picture's planes.
        streams: the most streams of a file, of every kind.
        duration: the most seconds from the first picture to the last.
        gap: the most seconds from a picture to the next. A time stamp beyond it counts as a bad
            one. If the clock goes on from there, the gap is left out, and a DecodeWarning says so.
        chunk_bytes: the most bytes of the planes of a FrameBatch. It has fewer frames than
            ``chunk`` if these would take more, but at least one.

    Raises:
        TypeError, ValueError: a limit is not a number above 0.
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
        """Raises a ``ValueError`` if a video asks for more than a limit.

        Args:
            name: the name of the video.
            limit: the name of the limit.
            value: what the video asks for.
            what: the same in words, such as "a picture of 16,000 x 8,000 pixels".
        """
        most = getattr(self, limit)
        if most is not None and value > most:
            raise ValueError(f"{name}: {what} is more than is allowed: {self.described(limit)}")

    def check_picture(self, name: str, width: int, height: int) -> None:
        """Raises a ``ValueError`` if a picture has too many pixels."""
        self.check(name, "pixels", width * height, f"a picture of {width:,} x {height:,} pixels")

    def frames(self, name: str, chunk: int, size: int) -> int:
        """Returns how many frames of ``size`` bytes a batch has: at least one, at most ``chunk``.

        Raises:
            ValueError: a frame is too large.
        """
        self.check(name, "frame_bytes", size, f"a picture of {size:,} bytes")
        return chunk if self.chunk_bytes is None else max(1, min(chunk, self.chunk_bytes // size))

    def of_decoder(self) -> dict[str, str]:
        """Returns options of FFmpeg's decoders, which then refuse larger pictures early."""
        return {} if self.pixels is None else {"max_pixels": str(min(self.pixels, 2**31 - 1))}

    def described(self, limit: str) -> str:
        """Describes a limit and how to raise it, for messages."""
        option = limit.replace("_", "-")
        return (
            f"limits.{limit} is {getattr(self, limit):,}. If you trust the file, pass "
            f"limits=patchgate.Limits({limit}=...), or --max-{option} at the command line"
        )


DEFAULT_LIMITS = Limits()
