"""The output of every decoder back end: batches of native YUV planes, with time and colour.

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


@dataclass(eq=False, repr=False)
class FrameBatch:
    """``T`` consecutive frames of one size and format, as native YUV planes.

    The names follow torchcodec's FrameBatch.

    Args:
        planes: Y ``[T, H, W]``, Cb and Cr ``[T, Hc, Wc]``; contiguous; uint8, or uint16 with the
            value in the low ``colour.bit_depth`` bits. ``Hc Wc`` are the stream's own (4:2:0: half,
            rounded up); gray video has mid-grey chroma ``[T, 1, 1]``.
        pts_seconds: ``[T]`` float64 on the CPU, seconds on the container's clock.
        duration_seconds: ``[T]`` float64, seconds to the next frame of the video.
        colour: the colours of the frames.
        key_frame: ``[T]`` bool, True for frames at which a decoder can start; None: unknown.

    Raises:
        ValueError: shapes, dtypes or lengths do not fit together.
    """

    planes: tuple[Tensor, Tensor, Tensor]
    pts_seconds: Tensor
    duration_seconds: Tensor
    colour: Colour
    key_frame: Tensor | None = None

    def __post_init__(self) -> None:
        _check_planes(self.planes, self.colour)
        for name in ("pts_seconds", "duration_seconds"):
            _check_times(name, getattr(self, name), len(self))
        if self.key_frame is not None and self.key_frame.shape != (len(self),):
            raise ValueError(
                f"FrameBatch.key_frame must have shape [{len(self)}], one entry per "
                f"frame, got {list(self.key_frame.shape)}"
            )

    def __len__(self) -> int:
        return self.planes[0].shape[0]

    @property
    def height(self) -> int:
        """The height of the luma plane, in pixels."""
        return self.planes[0].shape[1]

    @property
    def width(self) -> int:
        """The width of the luma plane, in pixels."""
        return self.planes[0].shape[2]

    def to(self, device: str | torch.device) -> FrameBatch:
        """Copies the planes to a device; times stay on the CPU. Synchronises.

        Returns:
            The batch itself if the planes are on this device already.
        """
        if self.planes[0].device == torch.device(device):
            return self
        y, cb, cr = (plane.to(device) for plane in self.planes)
        times = (self.pts_seconds, self.duration_seconds)
        return FrameBatch((y, cb, cr), *times, self.colour, self.key_frame)

    def __repr__(self) -> str:
        y, cb, cr = (list(plane.shape) for plane in self.planes)
        times = self.pts_seconds
        span = f"{times[0]:.3f}..{times[-1]:.3f} s" if len(self) else "no frames"
        kind = str(self.planes[0].dtype).removeprefix("torch.")
        device = self.planes[0].device
        return f"FrameBatch(Y={y}, Cb={cb}, Cr={cr}, {kind}, {device}, {span}, {self.colour})"


def _check_planes(planes: tuple[Tensor, ...], colour: Colour) -> None:
    if len(planes) != 3:
        raise ValueError(
            f"FrameBatch.planes must be (Y, Cb, Cr), got {len(planes)} planes; gray "
            "video takes mid-grey chroma planes [T, 1, 1]"
        )
    for name, plane in zip(("Y", "Cb", "Cr"), planes, strict=True):
        if plane.ndim != 3:
            raise ValueError(f"plane {name} must be [T, H, W], got shape {list(plane.shape)}")
        if plane.dtype != colour.dtype:
            raise ValueError(
                f"plane {name} must be {colour.dtype} for {colour.bit_depth}-bit "
                f"video, got {plane.dtype}; convert it or correct colour.bit_depth"
            )
        if not plane.is_contiguous():
            raise ValueError(f"plane {name} must be contiguous; call .contiguous() on it")
    y, cb, cr = planes
    fits = len(y) == len(cb) and cb.shape[1] <= y.shape[1] and cb.shape[2] <= y.shape[2]
    if cb.shape != cr.shape or not fits:
        raise ValueError(
            "Cb and Cr must have one shape, as many frames as Y and no more pixels, "
            f"got Y {list(y.shape)}, Cb {list(cb.shape)}, Cr {list(cr.shape)}"
        )


def _check_times(name: str, times: Tensor, frames: int) -> None:
    if times.dtype != torch.float64 or times.shape != (frames,):
        raise ValueError(
            f"FrameBatch.{name} must be float64 [{frames}], one entry per frame, got "
            f"{times.dtype} {list(times.shape)}"
        )
