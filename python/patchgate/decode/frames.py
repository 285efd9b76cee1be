"""What a decoder says of its frames: their colours, what was wrong; and what can be resized.

Letters: T frames, H W pixels, Hc Wc samples of chroma.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, get_args

import torch
from torch import Tensor

from patchgate.colour import Matrix

_MATRICES = get_args(Matrix)


class DecodeWarning(UserWarning):
    """Something in the video is damaged, missing or odd; decoding continued without it."""


class DecodeError(ValueError):
    """The video is damaged, and was opened with ``errors="raise"``."""


@dataclass(frozen=True)
class Colour:
    """How Y, Cb and Cr become RGB. Untagged streams count as BT.601, limited, as in FFmpeg."""

    matrix: Matrix = "bt601"
    full_range: bool = False
    bit_depth: int = 8

    def __post_init__(self) -> None:
        if self.matrix not in _MATRICES:
            raise ValueError(f"Colour.matrix must be one of {_MATRICES}, got {self.matrix!r}")
        if not 8 <= self.bit_depth <= 16:
            raise ValueError(f"Colour.bit_depth must be 8 to 16, got {self.bit_depth}")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the planes: uint8, or uint16 with the value in the low bits."""
        return torch.uint8 if self.bit_depth == 8 else torch.uint16


@dataclass
class Problems:
    """What was wrong with a video, counted while it is iterated.

    Attributes:
        size_changes, format_changes: pairs of the time in seconds and the new size (width, height)
            before rotation, or the new pixel format (FFmpeg's name).
        repaired_timestamps: the number of frames whose time stamp was missing, backward or far too
            late; they were put between their neighbours.
        clock_jumps: pairs of the time in seconds at which the container's clock was set, and the
            seconds by which all later frames were moved.
        lost_frames: the number of pictures that the decoder got and did not return.
        lost_seconds: when the first and the last of them should have been shown.
    """

    corrupt_packets: int = 0
    corrupt_frames: int = 0
    lost_frames: int = 0
    lost_seconds: tuple[float, float] | None = None
    repaired_timestamps: int = 0
    clock_jumps: list[tuple[float, float]] = field(default_factory=list)
    truncated: bool = False
    size_changes: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    format_changes: list[tuple[float, str]] = field(default_factory=list)

    def damage(self) -> list[str]:
        """Returns a phrase for each kind of damage; the list is empty if there was none."""
        said = []
        if self.truncated:
            said.append(
                "the file is truncated: it ends before its own header or layout says, and every "
                "frame up to there was given, the last one perhaps not whole"
            )
        if self.corrupt_packets:
            said.append(f"{self.corrupt_packets} corrupt packet(s) reported or skipped")
        if self.corrupt_frames:
            said.append(f"{self.corrupt_frames} damaged frame(s) kept")
        if self.lost_frames:
            when = "" if self.lost_seconds is None else " from {:.3f} to {:.3f} s".format(
                *self.lost_seconds)  # fmt: skip
            said.append(
                f"{self.lost_frames} frame(s){when} are in the file and did not come out of the "
                "decoder: frames that they depend on are missing"
            )
        if self.repaired_timestamps:
            said.append(
                f"{self.repaired_timestamps} time stamp(s) missing, backward or later than the "
                "limit of a gap (limits.gap, --max-gap), put between their neighbours"
            )
        if self.clock_jumps:
            (seconds, moved), count = self.clock_jumps[0], len(self.clock_jumps)
            gap = "" if moved > 0 else "; limits.gap (--max-gap) is the longest gap that is left"
            said.append(
                f"the clock was set {count} time(s), first at {seconds:.3f} s: what follows there "
                f"was moved by {moved:+,.3f} s to go on behind what was before{gap}"
            )
        return said

    def lose(self, seconds: float | None) -> None:
        """Counts a lost picture, and when it should have been shown; None: the time is unknown."""
        self.lost_frames += 1
        if seconds is not None:
            begin, end = self.lost_seconds or (seconds, seconds)
            self.lost_seconds = min(begin, seconds), max(end, seconds)


class Pictures(Protocol):
    """Planes with their colours: a FrameBatch, or pictures that a decoder lends."""

    @property
    def planes(self) -> tuple[Tensor, Tensor, Tensor]: ...  # Y [T, H, W], Cb and Cr [T, Hc, Wc]
    @property
    def colour(self) -> Colour: ...
    @property
    def height(self) -> int: ...
    @property
    def width(self) -> int: ...
