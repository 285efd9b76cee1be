"""The format of PyAV's frames: the layout of their planes, and their colours."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .ffmpeg import Frame
from .frames import Colour, DecodeWarning, Matrix

# AVCOL_SPC_*. 2 is "unspecified": it counts as BT.601 at any size, as in FFmpeg and NVDEC (players
# guess 709 for HD). 0 is that of RGB, which we convert. FCC is BT.601 to within 0.02, and 240M is
# BT.709 to within 0.02.
_MATRIX: dict[int, Matrix] = {0: "bt601", 1: "bt709", 2: "bt601", 4: "bt601", 5: "bt601",
                              6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"}  # fmt: skip
Array = NDArray[np.uint8] | NDArray[np.uint16]
_BYTES, _WORDS = np.dtype(np.uint8), np.dtype(np.uint16)
_FULL_RANGE, _UNTAGGED = 2, 0  # AVCOL_RANGE_JPEG, AVCOL_RANGE_UNSPECIFIED


class PlaneLayout(NamedTuple):
    """How a pixel format lies in memory that is copied without conversion."""

    bits: int
    packed_chroma: str  # "": in planes; "uv" or "vu": interleaved in plane 1; "gray": none
    shift: int  # the bits by which a value is shifted to the low bits
    full_range: bool  # whether the format itself means full range (yuvj*)


@lru_cache
def layout(name: str) -> PlaneLayout | None:
    """Returns the layout of FFmpeg's pixel format ``name``; None if swscale must convert it."""
    if found := re.fullmatch(r"yuv(j?)4(?:10|11|20|22|40|44)p(?:(\d+)le)?", name):
        return PlaneLayout(int(found[2] or 8), "", 0, bool(found[1]))
    if found := re.fullmatch(r"gray(?:(\d+)le)?", name):
        return PlaneLayout(int(found[1] or 8), "gray", 0, False)
    if found := re.fullmatch(r"nv(12|16|20le|21|24|42)", name):
        bits = 10 if name == "nv20le" else 8
        return PlaneLayout(bits, "vu" if found[1] in ("21", "42") else "uv", 0, False)
    if found := re.fullmatch(r"p[024](10|12|16)le", name):
        return PlaneLayout(int(found[1]), "uv", 16 - int(found[1]), False)
    return None


class FrameFormat(NamedTuple):
    """The properties that all frames of a batch share."""

    width: int
    height: int
    pixels: str
    space: int
    range: int
    rotation: int


def format_of(frame: Frame) -> FrameFormat:
    """Returns a frame's format. It is fast enough for every frame."""
    return FrameFormat(frame.width, frame.height, frame.format.name, int(frame.colorspace),
                int(frame.color_range), frame.rotation)  # fmt: skip


def native(frame: Frame) -> Frame:
    """Returns the frame itself, or converts it if its format has no native layout.

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
    """Returns the colours of a native frame. Warns if the stream's matrix is not supported."""
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


def plane_shapes(frame: Frame, how: PlaneLayout) -> list[tuple[int, int]]:
    """Returns ``(H, W)`` of Y, Cb and Cr of a native frame."""
    planes = frame.planes
    chroma = (1, 1) if how.packed_chroma == "gray" else (planes[1].height, planes[1].width)
    return [(frame.height, frame.width), chroma, chroma]


def copy_planes(frame: Frame, into: list[Array], how: PlaneLayout) -> None:
    """Copies a native frame into arrays of these shapes, each value in the low bits."""
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


def _rows(plane: Any, how: PlaneLayout, samples: int = 1) -> Array:
    """Returns a view of the plane without the padding of its lines, ``[H, W * samples]``."""
    dtype, line = (_BYTES if how.bits == 8 else _WORDS), plane.line_size
    shape = (plane.height, plane.width * samples)
    rows: Array = np.ndarray(shape, dtype, plane, 0, (abs(line), dtype.itemsize))
    return rows[::-1] if line < 0 else rows  # a negative line size: stored bottom up


def _copy(source: Array, into: Array, shift: int) -> None:
    if shift:
        np.right_shift(source, shift, out=into)
    else:
        np.copyto(into, source)  # releases the GIL
