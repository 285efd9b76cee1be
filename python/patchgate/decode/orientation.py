"""How a picture must be turned before it is shown, from the data beside its samples."""

from __future__ import annotations

import warnings
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .ffmpeg import av
from .frames import DecodeWarning

_KINDS = 64  # FFmpeg has about half as many today


class Orientation(NamedTuple):
    """The steps that a display matrix asks for: a transpose, then flips."""

    transpose: bool = False
    flip_rows: bool = False
    flip_columns: bool = False


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """Reads the frame's display matrix: x' = a x + c y, y' = b x + d y, in 16.16 fixed point."""
    data = display_matrix(frame)
    if data is None:
        return Orientation()
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    if b == c == 0:
        return Orientation(False, d < 0, a < 0)
    if a == d == 0:
        return Orientation(True, b < 0, c < 0)
    warnings.warn(
        f"the video asks to be turned by {frame.rotation} degrees; only multiples of 90 "
        "are applied, so it is left as stored",
        DecodeWarning,
        stacklevel=2,
    )
    return Orientation()


def oriented(plane: Tensor, how: Orientation) -> Tensor:
    """Turns and mirrors ``[T, H, W]``; returns the tensor itself if there is nothing to do."""
    if how.transpose:
        plane = plane.transpose(1, 2)
    flips = [dim for dim, flip in ((1, how.flip_rows), (2, how.flip_columns)) if flip]
    if flips and plane.dtype == torch.uint16:  # torch flips it as int16 only: the bits are the same
        return plane.view(torch.int16).flip(flips).contiguous().view(torch.uint16)
    return (plane.flip(flips) if flips else plane).contiguous()


def display_matrix(frame: av.VideoFrame) -> bytes | None:
    """Returns the frame's display matrix, 9 numbers of 32 bits, or None.

    PyAV cannot read the side data of a frame if it does not know one kind of it (EXIF, a second
    view, LCEVC, and kinds of later versions of FFmpeg). Such data is removed first.
    """
    from av.sidedata import sidedata  # ``import av`` does not import this module

    # Not ``frame.side_data``: the frame keeps that, which holds the frame. Such a circle holds the
    # picture until Python looks for circles, which a large program seldom does.
    read: Any = sidedata.SideDataContainer
    try:
        data: Any = read(frame).get("DISPLAYMATRIX")
    except ValueError:
        data = read(_known(frame)).get("DISPLAYMATRIX")
    return None if data is None else bytes(data)


def _known(frame: av.VideoFrame) -> av.VideoFrame:
    """Returns the same picture with only the side data that PyAV knows."""
    from av.sidedata.sidedata import Type  # ``import av`` does not import this module

    known = {kind.value for kind in Type}
    graph = av.filter.Graph()
    last = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format,
                            time_base=frame.time_base or Fraction(1, 25))  # fmt: skip
    for kind in set(range(_KINDS)) - known:
        remove = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(remove)
        last = remove
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    return graph.pull()  # type: ignore[return-value]
