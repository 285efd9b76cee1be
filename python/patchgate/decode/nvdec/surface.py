"""A decoder's surface: a picture in memory that is lent only until the next packet goes in.

A hardware decoder writes into the same few buffers again and again. Whatever reads a surface is
therefore put on the decoder's own stream before the decoder is given its next packet: then the
device itself keeps the order, and nobody has to wait.
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


class Lane:
    """The CUDA stream that a decoder and all readers of its surfaces share; on the CPU, nothing."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def handle(self) -> int:
        """The stream's address, for libraries that are no friends of torch."""
        return 0 if self._stream is None else int(self._stream.cuda_stream)

    @contextmanager
    def running(self) -> Iterator[None]:
        """What is launched inside runs on this stream. Never leave it open over a ``yield``."""
        if self._stream is None:
            yield
        else:
            with torch.cuda.stream(self._stream):
                yield

    def follow(self) -> None:
        """What is launched here from now on sees all that the caller's stream has been given."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))

    def lead(self, *tensors: Tensor) -> None:
        """What the caller's stream is given from now on sees these tensors, made here."""
        if self._stream is None:
            return
        current = torch.cuda.current_stream(self._stream.device)
        current.wait_stream(self._stream)
        for tensor in tensors:
            tensor.record_stream(current)  # its memory stays, as long as they read it

    def synchronize(self) -> None:
        """Waits until all that was launched here is done."""
        if self._stream is not None:
            self._stream.synchronize()


class Lender(Protocol):
    """Who owns the memory of surfaces."""

    turn: int  # counts packets; a surface is good for one
    lane: Lane


class Surface:
    """One 4:2:0 picture in its decoder's memory, until that decodes again.

    Args:
        memory: ``[H + ceil(H / 2), W']``: luma, then rows of Cb and Cr in turn; uint8, or uint16
            with the value in the high bits. ``W'`` is ``W`` made even.
        width, height: of the picture, in pixels.
        serial: of the packet that it came from.
        lender: its decoder.
    """

    def __init__(
        self, memory: Tensor, width: int, height: int, serial: int, lender: Lender
    ) -> None:
        self.width, self.height, self.serial = width, height, serial
        self._memory, self._lender, self._turn = memory, lender, lender.turn

    @property
    def lane(self) -> Lane:
        """Where everything that reads it has to run."""
        return self._lender.lane

    def planes(self) -> tuple[Tensor, Tensor, Tensor]:
        """Views of Y ``[H, W]`` and, two samples apart, of Cb and Cr ``[ceil(H / 2), ceil(W /
        2)]``.

        RuntimeError once the decoder has gone on.
        """
        if self._lender.turn != self._turn:
            raise RuntimeError(
                "this picture is gone: its decoder has been given another packet and writes over "
                "it; use a surface before the next one is asked for, or copy it"
            )
        luma = self._memory[: self.height, : self.width]  # [H, W]
        rows, across = self._memory.shape
        chroma = self._memory[self.height :].view(rows - self.height, across // 2, 2)
        return luma, chroma[..., 0], chroma[..., 1]


class Coded(NamedTuple):
    """What all pictures of a coded sequence share: read once, from a picture decoded on the CPU."""

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
        """With the rotation of ``first``: it is the container's, and a bare packet has none."""
        own = self.format._replace(rotation=first.format.rotation)
        return self._replace(format=own, orientation=first.orientation)


class Shown(NamedTuple):
    """A picture whose turn it is to be shown. Times in ticks; None where the container has none."""

    surface: Surface
    coded: Coded
    pts: int | None
    dts: int | None
    duration: int
    next_pts: int | None  # of the picture after it; None for the last
    key_frame: bool


class Loan(NamedTuple):
    """A picture in its decoder's memory, until the next is asked for."""

    picture: Shown
    pts_seconds: float
    duration_seconds: float
