"""The attributes of an opened video."""

from __future__ import annotations

from fractions import Fraction

from .frames import Colour, Problems
from .orientation import orientation_of
from .packets.feed import Reach
from .planes import colour_of, native
from .pyav import PyAVReader

_SQUARE = 0.01  # pixels that are wider or narrower by at most this share count as square


class Described:
    """The attributes of a ``Video``, which documents them."""

    _name: str

    def _describe(self, reader: PyAVReader) -> None:
        first = native(reader.first)
        self.container, self.streams, self.bit_rate = reader.wrapping()
        self.reach: Reach = reader.reach()
        self.problems: Problems = reader.problems
        self.codec: str = reader.codec()
        self.colour: Colour = colour_of(first)
        turned = orientation_of(first)
        self.rotation: int = 180 if first.rotation == -180 else first.rotation
        size = (first.height, first.width) if turned.transpose else (first.width, first.height)
        self.width, self.height = size
        self._stored = first.format.name
        self.sample_aspect_ratio: Fraction = reader.sample_aspect_ratio()
        if turned.transpose:
            self.sample_aspect_ratio = 1 / self.sample_aspect_ratio
        self.begin_stream_seconds: float = reader.clock.seconds(reader.begin)
        self.average_fps: float | None = reader.average_fps()
        end = reader.promised_end()
        self.duration_seconds: float | None = None
        if end is not None:
            self.duration_seconds = end - self.begin_stream_seconds
        self.num_frames: int | None = reader.header_frames()
        if self.num_frames is None and self.duration_seconds and self.average_fps:
            self.num_frames = max(1, round(self.duration_seconds * self.average_fps))

    def _oblong(self) -> str | None:
        """Returns a warning if pixels are not square, or None."""
        shape = self.sample_aspect_ratio
        if abs(shape - 1) <= _SQUARE:
            return None
        return (
            f"its pixels are not square: the picture of {self.width} x {self.height} is meant to "
            f"be shown {round(self.width * shape)} x {self.height} (Video.sample_aspect_ratio = "
            f'{shape}). Its frames are decoded as they are stored: fit="stretch" is right for '
            'them; "crop" and "pad" assume square pixels'
        )

    def __repr__(self) -> str:
        fps = f"{self.average_fps:.4g} fps" if self.average_fps else "unknown fps"
        lasts = f"{self.duration_seconds:.3f} s" if self.duration_seconds else "unknown length"
        return (
            f"Video({self._name!r}, {self.codec}, {self._stored}, {self.width}x{self.height}, "
            f"{fps}, {lasts}, {self.colour})"
        )
