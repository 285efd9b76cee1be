"""Copies of surfaces in memory of their own, on the device: what a user may hold."""

from __future__ import annotations

import torch
from torch import Tensor

from .frames import FrameBatch
from .planes import oriented
from .surface import Shown, Surface
from .timeline import Clock, Timed

Planes = tuple[Tensor, Tensor, Tensor]


class SurfacePacker:
    """Copies surfaces of one look into chunk tensors, on their decoder's stream.

    As `Packer` does for PyAV's frames: contiguous planes, deep samples in the low bits, turned as
    the container asks. Nothing waits: not the host, and the decoder only for the copy.
    """

    def __init__(self, shown: Shown, *, chunk: int, clock: Clock) -> None:
        self._coded, self._lane = shown.coded, shown.surface.lane
        self._chunk, self._clock = chunk, clock
        self._reset()

    def _reset(self) -> None:
        self._planes: Planes | None = None  # [chunk, H, W], [chunk, Hc, Wc] x 2
        self._times: list[tuple[float, float, bool]] = []

    def __len__(self) -> int:
        return len(self._times)

    def add(self, timed: Timed[Shown], shown: Shown) -> None:
        """Copy a picture, with its time, behind those before it."""
        with self._lane.running():
            if self._planes is None:
                self._lane.follow()  # the memory may be what the caller's stream still reads
                self._planes = empty_planes(shown.surface, self._chunk)
            y, cb, cr = self._planes
            at = len(self)
            copy_planes(shown.surface, (y[at], cb[at], cr[at]), self._coded.colour.bit_depth)
        seconds = self._clock.seconds
        self._times.append((seconds(timed.ticks), seconds(timed.span), shown.key_frame))

    def finish(self) -> FrameBatch:
        """The pictures added so far, as a batch of its own memory; the packer is empty again."""
        assert self._planes is not None
        with self._lane.running():
            y, cb, cr = (self._own(plane) for plane in self._planes)
        self._lane.lead(y, cb, cr)
        pts, duration, key = zip(*self._times, strict=True)
        self._reset()
        return FrameBatch(
            planes=(y, cb, cr),
            pts_seconds=torch.tensor(pts, dtype=torch.float64),
            duration_seconds=torch.tensor(duration, dtype=torch.float64),
            colour=self._coded.colour,
            key_frame=torch.tensor(key),
        )

    def _own(self, plane: Tensor) -> Tensor:
        if len(self) < len(plane):  # a view would keep, and save, the unused rest
            plane = plane[: len(self)].clone()
        return oriented(plane, self._coded.orientation)


def empty_planes(surface: Surface, frames: int) -> Planes:
    """Memory for so many pictures as this one: Y `[T, H, W]`, Cb and Cr `[T, Hc, Wc]`."""
    y, cb, cr = (plane.new_empty((frames, *plane.shape)) for plane in surface.planes())
    return y, cb, cr


def copy_planes(surface: Surface, into: Planes, bit_depth: int | None = None) -> None:
    """Each plane once; with `bit_depth` above 8, its samples brought to the low bits."""
    for source, target in zip(surface.planes(), into, strict=True):
        if bit_depth in (None, 8):
            target.copy_(source)
        else:  # torch shifts no uint16; the sign that an int16 draws in is masked away
            low = torch.bitwise_right_shift(source.view(torch.int16), 16 - bit_depth,
                                            out=target.view(torch.int16))  # fmt: skip
            low.bitwise_and_((1 << bit_depth) - 1)
