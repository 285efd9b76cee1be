"""FrameBatch, the output of every decoder back end and the input of the gate.

Letters: T frames, H W pixels, Hc Wc samples of chroma.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from patchgate._tensors import truths

from .ffmpeg import av
from .frames import Colour
from .orientation import orientation_of, oriented
from .pictures import (
    FULL_RANGE,
    Channels,
    doubles_or_nan,
    planes_of,
    rgb_of,
    times_of,
    until_next,
)
from .planes import Frame, colour_of, copy_planes, format_of, layout, native, plane_shapes


@dataclass(eq=False, repr=False)
class FrameBatch:
    """``T`` consecutive frames of one size and format, as native YUV planes.

    The names follow torchcodec's FrameBatch. Frames that are in memory already become one by
    ``from_rgb``, ``from_bgr`` (OpenCV), ``from_av`` or ``from_torchcodec``.

    Args:
        planes: Y ``[T, H, W]``, Cb and Cr ``[T, Hc, Wc]``; contiguous; uint8, or uint16 with the
            value in the low ``colour.bit_depth`` bits. ``Hc Wc`` are the stream's own (4:2:0: half,
            rounded up); gray video has mid-grey chroma ``[T, 1, 1]``.
        pts_seconds: ``[T]`` float64 on the CPU, seconds on the container's clock; NaN: not known.
        duration_seconds: ``[T]`` float64, seconds to the next frame of the video; NaN: not known.
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
        self.check_times()

    def check_times(self) -> None:
        """Raises unless times and key frames are those of so many frames."""
        for name in ("pts_seconds", "duration_seconds"):
            _check_times(name, getattr(self, name), len(self))
        if self.key_frame is not None and self.key_frame.shape != (len(self),):
            raise ValueError(
                f"FrameBatch.key_frame must have shape [{len(self)}], one entry per "
                f"frame, got {list(self.key_frame.shape)}"
            )

    @classmethod
    def from_rgb(cls, frames: Any, pts_seconds: Any = None, duration_seconds: Any = None) -> Self:
        """Takes RGB pictures, as planes of full range (BT.601, as in JPEG).

        Args:
            frames: uint8 ``[T, H, W, 3]`` or ``[T, 3, H, W]`` of numpy or torch, or one picture
                without T; or a list of pictures, also of PIL.
            pts_seconds: ``[T]`` seconds that do not fall; None: not known.
            duration_seconds: ``[T]`` seconds of each frame. None: to the next one; of the last one
                as of the one before it.

        Returns:
            A batch on the device of the frames, which it does not share memory with. ``rgb()``
            gives the pictures back to within 2 of 255. The call synchronises only to check times.

        Raises:
            TypeError: frames that are no pictures, or not uint8.
            ValueError: another shape, sizes that differ, or times that do not fit.
        """
        return cls._of_pictures("FrameBatch.from_rgb", frames, "rgb", pts_seconds, duration_seconds)

    @classmethod
    def from_bgr(cls, frames: Any, pts_seconds: Any = None, duration_seconds: Any = None) -> Self:
        """Does what ``from_rgb`` does with pictures whose channels are B, G, R, as OpenCV's are."""
        return cls._of_pictures("FrameBatch.from_bgr", frames, "bgr", pts_seconds, duration_seconds)

    @classmethod
    def from_av(cls, frames: Any) -> Self:
        """Copies decoded frames of PyAV, with their native planes, colours and times.

        Args:
            frames: an ``av.VideoFrame``, or several of one size and format. Their rotation is
                applied, and RGB is converted, as ``open_video`` does.

        Returns:
            A batch on the CPU. A frame without a time makes all times of the batch NaN.

        Raises:
            TypeError: they are no frames of PyAV.
            ValueError: there are none, or sizes or formats differ, or times fall.
        """
        return cls._of_av(frames)

    @classmethod
    def from_torchcodec(cls, frames: Any) -> Self:
        """Takes a ``Frame`` or a ``FrameBatch`` of torchcodec, with its times.

        Args:
            frames: an object with ``data`` (uint8 RGB, as ``from_rgb`` takes it), ``pts_seconds``
                and ``duration_seconds``.

        Returns:
            A batch on the device of ``data``.

        Raises:
            TypeError: it has other attributes.
            ValueError: as ``from_rgb`` raises.
        """
        names = ("data", "pts_seconds", "duration_seconds")
        if missing := [name for name in names if not hasattr(frames, name)]:
            raise TypeError(
                "FrameBatch.from_torchcodec: expected a Frame or a FrameBatch of torchcodec, got "
                f"{type(frames).__name__} without {', '.join(missing)}"
            )
        own = (getattr(frames, name) for name in names)
        return cls._of_pictures("FrameBatch.from_torchcodec", next(own), "rgb", *own)

    @classmethod
    def _of_pictures(
        cls, caller: str, frames: Any, channels: Channels, pts: Any, duration: Any
    ) -> Self:
        planes = planes_of(caller, frames, channels)
        return cls(planes, *times_of(caller, len(planes[0]), pts, duration), FULL_RANGE)

    @classmethod
    def _of_av(cls, given: Any) -> Self:
        frames = [given] if not isinstance(given, Iterable) else list(given)
        for frame in frames:
            if not isinstance(frame, av.VideoFrame):
                raise TypeError(
                    f"FrameBatch.from_av: expected frames of PyAV, got {type(frame).__name__}"
                )
        if not frames:
            raise ValueError("FrameBatch.from_av: expected at least one frame, got none")
        formats = list(dict.fromkeys(map(format_of, frames)))
        if len(formats) > 1:
            raise ValueError(
                "FrameBatch.from_av: expected frames of one size and format, got "
                f"{formats[0]} and {formats[1]}; make a batch of each"
            )
        copies = [native(frame) for frame in frames]
        how = layout(copies[0].format.name)
        assert how is not None
        colour, turned = colour_of(copies[0]), orientation_of(frames[0])
        shapes = plane_shapes(copies[0], how)
        y, cb, cr = (torch.empty((len(copies), *shape), dtype=colour.dtype, device="cpu")
                     for shape in shapes)  # fmt: skip
        views = [plane.numpy() for plane in (y, cb, cr)]
        for at, frame in enumerate(copies):
            copy_planes(frame, [view[at] for view in views], how)
        key = truths(bool(frame.key_frame) for frame in frames)
        planes = oriented(y, turned), oriented(cb, turned), oriented(cr, turned)
        return cls(planes, *_av_times(frames), colour, key)

    def __len__(self) -> int:
        return self.planes[0].shape[0]

    @property
    def has_times(self) -> bool:
        """Whether the times of all frames are known."""
        return not bool(self.pts_seconds.isnan().any())

    @property
    def height(self) -> int:
        """The height of the luma plane, in pixels."""
        return self.planes[0].shape[1]

    @property
    def width(self) -> int:
        """The width of the luma plane, in pixels."""
        return self.planes[0].shape[2]

    @property
    def device(self) -> torch.device:
        """The device of the planes."""
        return self.planes[0].device

    def rgb(self) -> Tensor:
        """Converts the frames to uint8 RGB ``[T, 3, H, W]``, to look at and for other programs.

        The colours are those that a gated tower sees: the stream's matrix and range, chroma
        bilinear. The tensor is on the planes' device. The call synchronises on a GPU.

        Raises:
            ValueError: Cb and Cr do not belong to Y.
        """
        return rgb_of(self.planes, self.colour)

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
        span = span if self.has_times else "no times"
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
    fits = y.shape[0] == cb.shape[0] and cb.shape[1] <= y.shape[1] and cb.shape[2] <= y.shape[2]
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


def _av_times(frames: list[Frame]) -> tuple[Tensor, Tensor]:
    """Returns when each frame is shown, and for how long; NaN if that is not known."""
    pts = doubles_or_nan([frame.time for frame in frames])
    if bool(pts.isnan().any()):
        return times_of("FrameBatch.from_av", len(frames), None, None)
    steps = until_next(pts)
    # The stamps say when the next frame is shown; of the last one, only the frame itself can.
    final, tick = frames[-1], frames[-1].time_base
    last = float(final.duration * tick) if final.duration and tick else None
    duration = steps if last is None else torch.cat([steps[:-1], steps.new_tensor([last])])
    known = None if bool(duration.isnan().any()) else duration
    return times_of("FrameBatch.from_av", len(frames), pts, known)
