"""Copies surfaces into tensors on the device, which a user may keep."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from patchgate._tensors import doubles, truths

from ..batch import FrameBatch
from ..limits import DEFAULT_LIMITS, Limits
from ..orientation import oriented
from ..packets.clock import Clock
from ..timeline import Timed
from .surface import Shown


class SurfacePacker:
    """Copies surfaces of one format into chunk tensors, on their decoder's stream.

    It does what ``Packer`` does for PyAV's frames: planes are contiguous, samples of more than 8
    bits are in the low bits, and pictures are turned as the container asks. The host never waits,
    and the decoder waits only for the copy.
    """

    def __init__(self, shown: Shown, *, chunk: int, clock: Clock,
                 limits: Limits = DEFAULT_LIMITS, name: str = "") -> None:  # fmt: skip
        self._coded, self._cuda_stream = shown.coded, shown.surface.cuda_stream
        samples = sum(plane.numel() for plane in shown.surface.planes())
        size = samples * self._coded.colour.dtype.itemsize
        self._chunk, self._clock = limits.frames(name, chunk, size), clock
        self._reset()

    def _reset(self) -> None:
        self._planes: list[Tensor] = []  # [chunk, H, W], [chunk, Hc, Wc] x 2
        self._times: list[tuple[float, float, bool]] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another picture."""
        return len(self) >= self._chunk

    def add(self, timed: Timed[Shown], shown: Shown) -> None:
        """Copies a picture, with its time, behind those before it."""
        with self._cuda_stream.running():
            planes = shown.surface.planes()
            if not self._planes:  # the caller's stream does not read this memory, see ``lead``
                self._planes = empty_planes(planes, self._chunk)
            into = [plane[len(self)] for plane in self._planes]
            copy_planes(planes, into, bits=self._coded.colour.bit_depth)
        seconds = self._clock.seconds
        self._times.append((seconds(timed.ticks), seconds(timed.span), shown.key_frame))

    def finish(self) -> FrameBatch:
        """Returns the pictures so far as a batch with its own memory, and empties the packer."""
        with self._cuda_stream.running():
            y, cb, cr = (self._own(plane) for plane in self._planes)
        self._cuda_stream.lead(y, cb, cr)
        pts, duration, key = zip(*self._times, strict=True)
        self._reset()
        return FrameBatch(
            planes=(y, cb, cr),
            pts_seconds=doubles(pts),
            duration_seconds=doubles(duration),
            colour=self._coded.colour,
            key_frame=truths(key),
        )

    def _own(self, plane: Tensor) -> Tensor:
        if len(self) < len(plane):  # a view would keep, and save, the unused rest, too
            plane = plane[: len(self)].clone()
        return oriented(plane, self._coded.orientation)


def empty_planes(planes: Sequence[Tensor], frames: int) -> list[Tensor]:
    """Allocates ``[frames, H, W]`` for each plane ``[H, W]``."""
    return [plane.new_empty((frames, *plane.shape)) for plane in planes]


def copy_planes(planes: Sequence[Tensor], into: Sequence[Tensor], *, bits: int = 8) -> None:
    """Copies planes ``[H, W]``; samples of more than 8 bits are shifted to the low bits."""
    for source, target in zip(planes, into, strict=True):
        if bits == 8:
            target.copy_(source)
        else:  # torch cannot shift uint16; with int16, the sign that is shifted in is masked
            low = torch.bitwise_right_shift(source.view(torch.int16), 16 - bits,
                                            out=target.view(torch.int16))  # fmt: skip
            low.bitwise_and_((1 << bits) - 1)
