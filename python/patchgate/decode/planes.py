"""PyAV frames to plane tensors: one copy of each plane, no swscale for native YUV."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from patchgate._tensors import doubles, truths

from .clock import Clock
from .frames import Colour, DecodeWarning, FrameBatch, Matrix
from .limits import DEFAULT_LIMITS, Limits
from .memory import room_for
from .orientation import orientation_of, oriented
from .pool import Pool
from .timeline import Timed

Frame = av.VideoFrame
Array = NDArray[np.uint8] | NDArray[np.uint16]

# AVCOL_SPC_*: 2 is "unspecified": BT.601 at any size, FFmpeg's and NVDEC's rule (players guess
# 709 for HD). 0 is RGB's own, met only where we convert. FCC is BT.601 to within .02, 240M BT.709.
_MATRIX: dict[int, Matrix] = {0: "bt601", 1: "bt709", 2: "bt601", 4: "bt601", 5: "bt601",
                              6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}  # fmt: skip
_FULL_RANGE, _UNTAGGED = 2, 0  # AVCOL_RANGE_JPEG, AVCOL_RANGE_UNSPECIFIED
_BYTES, _WORDS = np.dtype(np.uint8), np.dtype(np.uint16)
_BLOCK = 64  # frames allocated at once: a huge `chunk` must not reserve memory it may never fill


class Layout(NamedTuple):
    """How a pixel format that is copied as it is lies in memory."""

    bits: int
    packed_chroma: str  # "" planes, "uv" or "vu" interleaved in plane 1, "gray" none
    shift: int  # of the value, to the low bits
    full_range: bool  # said by the format itself (yuvj*)


@lru_cache
def layout(name: str) -> Layout | None:
    """The layout of FFmpeg's pixel format `name`; None where swscale has to convert."""
    if found := re.fullmatch(r"yuv(j?)4(?:10|11|20|22|40|44)p(?:(\d+)le)?", name):
        return Layout(int(found[2] or 8), "", 0, bool(found[1]))
    if found := re.fullmatch(r"gray(?:(\d+)le)?", name):
        return Layout(int(found[1] or 8), "gray", 0, False)
    if found := re.fullmatch(r"nv(12|16|20le|21|24|42)", name):
        bits = 10 if name == "nv20le" else 8
        return Layout(bits, "vu" if found[1] in ("21", "42") else "uv", 0, False)
    if found := re.fullmatch(r"p[024](10|12|16)le", name):
        return Layout(int(found[1]), "uv", 16 - int(found[1]), False)
    return None


class Look(NamedTuple):
    """What all frames of a batch share."""

    width: int
    height: int
    pixels: str
    space: int
    range: int
    rotation: int


def look_of(frame: Frame) -> Look:
    """Cheap enough for every frame."""
    return Look(frame.width, frame.height, frame.format.name, int(frame.colorspace),
                int(frame.color_range), frame.rotation)  # fmt: skip


def native(frame: Frame) -> Frame:
    """The frame itself, or a conversion of a format that has no native layout.

    RGB, GBR and palettes become full-range BT.601 4:4:4, 8 bit or 16 bit. YUV that is packed,
    big-endian or has alpha becomes planar YUV of the same matrix and range; alpha is dropped.
    """
    pixels = frame.format
    if layout(pixels.name) is not None:
        return frame
    deep = max((c.bits for c in pixels.components), default=8) > 8
    if pixels.is_rgb or pixels.has_palette or pixels.is_bayer or len(pixels.components) < 3:
        converted = frame.reformat(format="yuv444p16le" if deep else "yuv444p",
                                   dst_colorspace="ITU601", dst_color_range="JPEG")  # fmt: skip
        converted.colorspace, converted.color_range = 5, _FULL_RANGE
        return converted
    target = re.sub(r"^yuva", "yuv", pixels.name).replace("be", "le")
    if layout(target) is None:
        target = "yuv444p16le" if deep else "yuv444p"
    return frame.reformat(format=target)


def colour_of(frame: Frame) -> Colour:
    """Of a native frame. Warns where the stream's matrix is none of the three we know."""
    how = layout(frame.format.name)
    assert how is not None
    space = int(frame.colorspace)
    if space not in _MATRIX:
        warnings.warn(
            f"colour matrix {space} (AVColorSpace) is not BT.601, 709 or 2020; tagged "
            "bt601: luma is right, colours may not be",
            DecodeWarning,
            stacklevel=2,
        )
    full = how.full_range or int(frame.color_range) == _FULL_RANGE
    if how.packed_chroma == "gray" and int(frame.color_range) == _UNTAGGED:  # FFmpeg's rule
        full = True
    return Colour(_MATRIX.get(space, "bt601"), full, how.bits)


class Packer:
    """Copies frames of one look into chunk tensors, each plane once.

    Args:
        chunk: frames of a batch, at most; fewer where they would exceed `limits.chunk_bytes`.
        name: of the video, for messages.

    Raises:
        ValueError: a frame exceeds the limits.
        MemoryError: there is no room for a batch.
    """

    def __init__(self, frame: Frame, *, chunk: int, clock: Clock, pool: Pool,
                 limits: Limits = DEFAULT_LIMITS, name: str = "") -> None:  # fmt: skip
        how = layout(frame.format.name)
        assert how is not None
        self._how, self._clock, self._pool = how, clock, pool
        self.colour = colour_of(frame)
        self.orientation = orientation_of(frame)
        self._shapes = _plane_shapes(frame, how)
        samples = sum(height * width for height, width in self._shapes)
        self._frame_bytes = samples * self.colour.dtype.itemsize
        limits.check_picture(name, frame.width, frame.height)
        self._chunk = limits.frames(name, chunk, self._frame_bytes)
        self._reset()

    def _reset(self) -> None:
        self._blocks: list[tuple[Tensor, Tensor, Tensor]] = []
        self._views: list[Array] = []  # of the last block
        self._pts: list[float] = []
        self._durations: list[float] = []
        self._keys: list[bool] = []

    def __len__(self) -> int:
        return len(self._pts)

    @property
    def is_full(self) -> bool:
        """It takes no further frame."""
        return len(self._pts) >= self._chunk

    def add(self, timed: Timed[Frame], frame: Frame) -> None:
        """Copy the native `frame`, with the time of `timed`, behind the frames before it."""
        at = len(self._pts) % _BLOCK
        if at == 0:
            self._grow()
        _copy_planes(frame, [view[at] for view in self._views], self._how)
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
        """The frames added so far, as a batch of its own memory; the packer is empty again."""
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
            # A view would keep, and save, the unused rest. NumPy copies on this thread: torch's own
            # would start its threads beside the decoder's.
            plane = torch.from_numpy(plane.numpy()[: len(self)].copy())
        return oriented(plane, self.orientation)


def _plane_shapes(frame: Frame, how: Layout) -> list[tuple[int, int]]:
    planes = frame.planes
    chroma = (1, 1) if how.packed_chroma == "gray" else (planes[1].height, planes[1].width)
    return [(frame.height, frame.width), chroma, chroma]


def _copy_planes(frame: Frame, into: list[Array], how: Layout) -> None:
    sources = frame.planes
    if how.packed_chroma == "":
        for plane, target in zip(sources, into, strict=True):
            _copy(_rows(plane, how), target, how.shift)
        return
    _copy(_rows(sources[0], how), into[0], how.shift)
    if how.packed_chroma == "gray":
        into[1][...] = into[2][...] = 1 << (how.bits - 1)
    else:
        rows = _rows(sources[1], how, samples=2)  # [Hc, 2 Wc]
        first = how.packed_chroma == "vu"
        _copy(rows[:, first::2], into[1], how.shift)
        _copy(rows[:, not first :: 2], into[2], how.shift)


def _rows(plane: Any, how: Layout, samples: int = 1) -> Array:
    """`[H, W * samples]`: a view of the plane without the padding at the end of its lines."""
    dtype, line = (_BYTES if how.bits == 8 else _WORDS), plane.line_size
    shape = (plane.height, plane.width * samples)
    rows: Array = np.ndarray(shape, dtype, plane, 0, (abs(line), dtype.itemsize))
    return rows[::-1] if line < 0 else rows  # stored bottom up


def _copy(source: Array, into: Array, shift: int) -> None:
    if shift:
        np.right_shift(source, shift, out=into)
    else:
        np.copyto(into, source)  # releases the GIL
