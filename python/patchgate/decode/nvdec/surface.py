"""A decoder's surface: a picture in memory that it lends only until it gets the next packet.

A hardware decoder writes into the same few buffers again and again. All reads of a surface are
therefore launched on the decoder's own stream before the decoder gets its next packet: the device
itself keeps the order, and nobody has to wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..ffmpeg import Frame
from ..frames import Colour
from ..orientation import Orientation, orientation_of
from ..planes import FrameFormat, colour_of, format_of, native


class CudaStream:
    """The CUDA stream that a decoder and all readers of its surfaces share; on the CPU, none."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def handle(self) -> int:
        """The stream's address, for libraries that do not know torch's streams."""
        return 0 if self._stream is None else int(self._stream.cuda_stream)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Launches all work inside on this stream. It must not be open during a ``yield``."""
        if self._stream is None:
            yield
        else:
            with torch.cuda.stream(self._stream):
                yield

    def follow(self) -> None:
        """Makes later work of this stream wait for all earlier work of the caller's stream."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))

    def lead(self, *tensors: Tensor) -> None:
        """Makes later work of the caller's stream wait for these tensors, made on this stream."""
        if self._stream is None:
            return
        current = torch.cuda.current_stream(self._stream.device)
        current.wait_stream(self._stream)
        for tensor in tensors:
            tensor.record_stream(current)  # its memory is not used again while that reads it

    def synchronize(self) -> None:
        """Waits until all work of this stream is done."""
        if self._stream is not None:
            self._stream.synchronize()


class SurfaceOwner(Protocol):
    """The owner of the memory of surfaces."""

    turn: int  # counts packets; a surface is valid for one
    cuda_stream: CudaStream


class Surface:
    """One 4:2:0 picture in its decoder's memory, valid until that decodes again.

    Args:
        memory: ``[H + ceil(H / 2), W']``: luma, then rows in which Cb and Cr alternate; uint8, or
            uint16 with the value in the high bits. ``W'`` is ``W`` rounded up to an even number.
        width, height: the size of the picture in pixels.
        serial: the number of its packet.
        owner: its decoder.
    """

    def __init__(
        self, memory: Tensor, width: int, height: int, serial: int, owner: SurfaceOwner
    ) -> None:
        self.width, self.height, self.serial = width, height, serial
        self._memory, self._owner, self._turn = memory, owner, owner.turn

    @property
    def cuda_stream(self) -> CudaStream:
        """The stream on which all reads of it must run."""
        return self._owner.cuda_stream

    def planes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Returns views of Y ``[H, W]``, and of Cb and Cr ``[ceil(H / 2), ceil(W / 2)]``.

        Samples of Cb and Cr are two apart in memory.

        Raises:
            RuntimeError: the decoder has got another packet.
        """
        if self._owner.turn != self._turn:
            raise RuntimeError(
                "this picture is not valid any more: its decoder has got another packet and "
                "overwrites it; use a surface before you ask for the next one, or copy it"
            )
        luma = self._memory[: self.height, : self.width]  # [H, W]
        rows, across = self._memory.shape
        chroma = self._memory[self.height :].view(rows - self.height, across // 2, 2)
        return luma, chroma[..., 0], chroma[..., 1]


class Coded(NamedTuple):
    """The properties that all pictures of a sequence share, from a picture decoded on the CPU."""

    format: FrameFormat
    colour: Colour
    orientation: Orientation
    interlaced: bool

    @classmethod
    def of(cls, frame: Frame) -> Coded:
        interlaced = bool(frame.interlaced_frame)
        frame = native(frame)
        return cls(format_of(frame), colour_of(frame), orientation_of(frame), interlaced)

    def turned_like(self, first: Coded) -> Coded:
        """Returns a copy with the rotation of ``first``: only the container has it, no packet."""
        own = self.format._replace(rotation=first.format.rotation)
        return self._replace(format=own, orientation=first.orientation)


class Shown(NamedTuple):
    """A picture that is shown next. Times are in ticks; None: the container has none."""

    surface: Surface
    coded: Coded
    pts: int | None
    dts: int | None
    duration: int
    next_pts: int | None  # that of the picture after it; None: it is the last
    key_frame: bool


class BorrowedPicture(NamedTuple):
    """A picture in its decoder's memory, valid until the next one is asked for."""

    picture: Shown
    pts_seconds: float
    duration_seconds: float
