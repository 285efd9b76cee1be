"""Copies PyAV frames into tensors: one copy of each plane, no swscale for native YUV.

Letters: T frames, H W pixels, Hc Wc samples of chroma.
"""

from __future__ import annotations

import torch
from torch import Tensor

from patchgate._tensors import doubles, truths

from .batch import FrameBatch
from .ffmpeg import Frame
from .limits import DEFAULT_LIMITS, Limits
from .memory import room_for
from .orientation import orientation_of, oriented
from .packets.clock import Clock
from .planes import Array, colour_of, copy_planes, layout, plane_shapes
from .pool import Pool
from .timeline import Timed

_BLOCK = 64  # frames allocated at once: a huge ``chunk`` must not reserve memory it may never fill


class Packer:
    """Copies frames of one format into chunk tensors, each plane once.

    Args:
        frame: the first frame; all others must have its format.
        chunk: the most frames of a batch; fewer if they would exceed ``limits.chunk_bytes``.
        name: the name of the video, for messages.

    Raises:
        ValueError: a frame exceeds the limits.
        MemoryError: there is no memory for a batch.
    """

    def __init__(self, frame: Frame, *, chunk: int, clock: Clock, pool: Pool,
                 limits: Limits = DEFAULT_LIMITS, name: str = "") -> None:  # fmt: skip
        how = layout(frame.format.name)
        assert how is not None
        self._how, self._clock, self._pool = how, clock, pool
        self.colour = colour_of(frame)
        self.orientation = orientation_of(frame)
        self._shapes = plane_shapes(frame, how)
        samples = sum(height * width for height, width in self._shapes)
        self._frame_bytes = samples * self.colour.dtype.itemsize
        limits.check_picture(name, frame.width, frame.height)
        self._chunk = limits.frames(name, chunk, self._frame_bytes)
        self._reset()

    def _reset(self) -> None:
        self._blocks: list[tuple[Tensor, Tensor, Tensor]] = []
        self._views: list[Array] = []  # views of the last block's planes
        self._pts: list[float] = []
        self._durations: list[float] = []
        self._keys: list[bool] = []

    def __len__(self) -> int:
        return len(self._pts)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another frame."""
        return len(self._pts) >= self._chunk

    def add(self, timed: Timed[Frame], frame: Frame) -> None:
        """Copies the native ``frame``, with the time of ``timed``, behind the frames before it."""
        at = len(self._pts) % _BLOCK
        if at == 0:
            self._grow()
        copy_planes(frame, [view[at] for view in self._views], self._how)
        seconds = self._clock.seconds
        self._pts.append(seconds(timed.ticks))
        self._durations.append(seconds(timed.span))
        self._keys.append(bool(timed.picture.key_frame))

    def _grow(self) -> None:
        frames = min(self._chunk - len(self), _BLOCK)
        with room_for(frames, self._frame_bytes):
            y, cb, cr = (self._pool.empty((frames, *shape), self.colour.dtype)
                         for shape in self._shapes)  # fmt: skip
        self._blocks.append((y, cb, cr))
        self._views = [plane.numpy() for plane in (y, cb, cr)]

    def finish(self) -> FrameBatch:
        """Returns the frames so far as a batch with its own memory, and empties the packer."""
        with room_for(len(self), self._frame_bytes):
            y, cb, cr = (self._plane(i) for i in range(3))
        batch = FrameBatch(
            planes=(y, cb, cr),
            pts_seconds=doubles(self._pts),
            duration_seconds=doubles(self._durations),
            colour=self.colour,
            key_frame=truths(self._keys),
        )
        self._reset()
        return batch

    def _plane(self, i: int) -> Tensor:
        blocks = [block[i] for block in self._blocks]  # each [<= 64, H, W]
        plane = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        if len(plane) != len(self):
            # A view would keep, and save, the unused rest, too. NumPy copies on this thread; torch
            # would start threads of its own beside the decoder's.
            plane = torch.from_numpy(plane.numpy()[: len(self)].copy())
        return oriented(plane, self.orientation)
