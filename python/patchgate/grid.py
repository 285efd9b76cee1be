"""The frame grid: decoded planes, resized for the gate.

A separable triangle filter that widens with the scale (antialiasing), as Pillow defines it: its
convention for centres, support, clipping and normalisation ("Pillow resampling", precompute_coeffs
in libImaging/Resample.c). The weights are made here once, in float64, and rounded to 14 bits, so
that every back end works on the same integers and gives the same bits.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from patchgate import _ops
from patchgate._cache import cached_table
from patchgate.decode.frames import Pictures

Fit = Literal["stretch", "crop", "pad"]

TAP_BITS = 14
TAP_ONE = 1 << TAP_BITS


class Placement(NamedTuple):
    """Where the resized picture lies along one axis of the grid, in pixels of the grid."""

    resized: int  # the whole picture's length
    offset: int  # of the grid's first pixel inside it; negative: a border
    size: int  # of the grid


class TapTables(NamedTuple):
    """The tap tables of one geometry, int32, each ``[out, 1 + taps]``."""

    luma_x: Tensor  # [W, 1 + taps]
    luma_y: Tensor  # [H, 1 + taps]
    chroma_x: Tensor  # [W, 1 + taps]
    chroma_y: Tensor  # [H, 1 + taps]


def to_grid(batch: Pictures, size: tuple[int, int], fit: Fit = "stretch") -> Tensor:
    """Brings decoded frames to the size that an encoder sees.

    Args:
        batch: planes Y ``[T, H', W']``, Cb and Cr ``[T, H'', W'']`` (any subsampling), uint8 or,
            with 9 to 16 bits, uint16 with the value in the low bits. (In the high bits, as P010
            has it: say 16 bits, which rounds alike.) Padded rows and crops are read in place; on
            the CPU
            the samples of a row must be adjacent, on CUDA they need not: NV12's Cb is every second
            sample of its plane. ``batch.colour`` tells range and bits.
        size: ``(H, W)`` of the grid, in pixels.
        fit: what happens to the aspect ratio, as in the encoder's own processor: "stretch" resizes
            both sides; "crop" covers the grid and cuts the middle out; "pad" fits inside and
            centres on black.

    Returns:
        uint8 ``[T, 3, H, W]``: Y, Cb and Cr, all of full range and of one size, on the planes'
        device. Bit-equal on every device.

    Raises:
        TypeError: planes that are no tensors, or of another dtype than their bit depth asks for.
        ValueError: a size, fit, rank, stride or device that does not work, or planes that do not
            belong together.

    Does not synchronise, except that the first call for a geometry and device copies its tables
    there. Works under CUDA graph capture after that.
    """
    height, width = _check_size(size)
    if fit not in get_args(Fit):
        raise ValueError(f"fit must be one of {', '.join(get_args(Fit))}, got {fit!r}")
    y = check_planes(batch.planes, batch.colour.bit_depth)[0]
    return placed_grid(batch, fitted((y.shape[1], y.shape[2]), (height, width), fit))


def placed_grid(batch: Pictures, place: tuple[Placement, Placement]) -> Tensor:
    """``to_grid`` with the picture placed by hand, down and across: as a tower's processor does."""
    y, cb, cr = check_planes(batch.planes, batch.colour.bit_depth)
    tables = tap_tables((y.shape[1], y.shape[2]), (cb.shape[1], cb.shape[2]), place, y.device)
    return _ops.frame_grid(y, cb, cr, *tables, batch.colour.full_range, batch.colour.bit_depth)


@cached_table
def tap_tables(
    luma: tuple[int, int],
    chroma: tuple[int, int],
    place: tuple[Placement, Placement],
    device: torch.device,
) -> TapTables:
    """The tables of ``frame_grid`` for planes ``luma`` and ``chroma`` ``(H, W)``; cached."""
    tables = []
    for axis, placement in ((1, place[1]), (0, place[0])):
        tables.append(tap_table(luma[axis], placement))
        covered = _picture_in_chroma(luma[axis], chroma[axis])
        tables.append(tap_table(chroma[axis], placement, covered))
    luma_x, chroma_x, luma_y, chroma_y = (torch.from_numpy(t).to(device) for t in tables)
    return TapTables(luma_x, luma_y, chroma_x, chroma_y)


def tap_table(samples: int, placement: Placement, picture: float | None = None) -> np.ndarray:
    """The taps of a triangle filter along one axis.

    Args:
        samples: input samples along the axis.
        placement: the resized picture and the grid on it.
        picture: the input's first so many samples are the picture (not whole where an odd picture
            has subsampled chroma); all of them if None.

    Returns:
        int32 ``[size, 1 + taps]``: the first input sample, or -1 outside the picture, and weights
        that are not negative and sum to 16384. Every ``first + taps`` lies within the input.
    """
    scale = (samples if picture is None else picture) / placement.resized
    stretch = max(scale, 1.0)  # the filter's support, half its width
    index = np.arange(placement.size) + placement.offset
    centre = (index + 0.5) * scale  # [size]
    first = np.clip(np.floor(centre - stretch + 0.5).astype(np.int64), 0, samples - 1)
    sample = first[:, None] + np.arange(int(np.ceil(stretch)) * 2 + 1)  # [size, taps]
    weight = 1.0 - np.abs((sample + 0.5 - centre[:, None]) / stretch)
    weight = np.where(sample < samples, weight.clip(min=0.0), 0.0)
    inside = (index >= 0) & (index < placement.resized)
    taps = _to_integers(weight / np.where(inside, weight.sum(axis=1), 1.0)[:, None])
    return pack_taps(first, taps * inside[:, None], inside, samples)


def _to_integers(weight: np.ndarray) -> np.ndarray:
    """Rows that sum to 1, in 14 bits that sum exactly.

    What is rounded are the sums from the left: no weight is off by more than one unit or negative,
    however many there are. (Giving the residual to the largest goes negative at 1600 taps.)
    """
    sums = np.floor(np.cumsum(weight, axis=1) * TAP_ONE + 0.5).astype(np.int64)  # [size, taps]
    return np.diff(sums, axis=1, prepend=0)


def pack_taps(first: np.ndarray, taps: np.ndarray, inside: np.ndarray, samples: int) -> np.ndarray:
    """Drops zeros at both ends, then lines up so that first + taps never leaves the input."""
    used = taps != 0
    begin = first + used.argmax(axis=1)  # [size]
    end = first + taps.shape[1] - used[:, ::-1].argmax(axis=1)
    count = int(np.where(inside, end - begin, 1).max())
    begin = np.minimum(begin, samples - count)
    source = begin[:, None] + np.arange(count) - first[:, None]  # [size, count]
    known = (source >= 0) & (source < taps.shape[1])
    weights = np.where(known, np.take_along_axis(taps, source.clip(0, taps.shape[1] - 1), 1), 0)
    table = np.concatenate([np.where(inside, begin, -1)[:, None], weights], axis=1)
    return np.ascontiguousarray(table, dtype=np.int32)


def fitted(
    picture: tuple[int, int], size: tuple[int, int], fit: Fit
) -> tuple[Placement, Placement]:
    """Where a picture ``(H', W')`` lies on a grid ``(H, W)``: vertical and horizontal.

    Whole pixels as in transformers: the longer side rounds down where it is cropped and up where
    it is padded; the odd pixel of a border goes to the bottom and right.
    """
    (ph, pw), (gh, gw) = picture, size
    rh, rw = gh, gw
    if fit == "crop":
        rh, rw = max(gh, ph * gw // pw), max(gw, pw * gh // ph)
    elif fit == "pad":
        rh, rw = min(gh, -(-ph * gw // pw)), min(gw, -(-pw * gh // ph))
    return _centre(rh, gh), _centre(rw, gw)


def _centre(resized: int, size: int) -> Placement:
    border = (size - resized) // 2 if resized < size else -((resized - size) // 2)
    return Placement(resized, -border, size)


def _picture_in_chroma(luma: int, chroma: int) -> float:
    """How many chroma samples the picture covers: half of an odd picture's last one is beyond."""
    for step in (1, 2, 4):
        if chroma == -(-luma // step):
            return luma / step
    return float(chroma)


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    whole = isinstance(size, (tuple, list)) and len(size) == 2
    if not whole or not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"size must be two positive integers (H, W), got {size!r}")
    return size[0], size[1]


def takes_strides(plane: Tensor) -> bool:
    """Whether the ops read samples that do not lie side by side, as Cb and Cr of NV12."""
    return plane.is_cuda


def check_planes(planes: tuple[Tensor, ...], bit_depth: int) -> tuple[Tensor, Tensor, Tensor]:
    if len(planes) != 3:
        raise ValueError(f"expected three planes (Y, Cb, Cr), got {len(planes)}")
    dtype = torch.uint8 if bit_depth == 8 else torch.uint16
    for name, plane in zip(("Y", "Cb", "Cr"), planes, strict=True):
        if not isinstance(plane, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(plane).__name__}")
        if plane.dtype != dtype:
            raise TypeError(f"{name} of {bit_depth} bit must be {dtype}, got {plane.dtype}")
        if plane.ndim != 3 or 0 in plane.shape[1:]:
            raise ValueError(f"{name} must be [T, H, W] with pixels, got {list(plane.shape)}")
        if plane.shape[2] > 1 and plane.stride(2) != 1 and not takes_strides(plane):
            raise ValueError(f"{name}'s rows must be contiguous; call .contiguous() first")
        if plane.device != planes[0].device:
            raise ValueError(f"Y is on {planes[0].device}, but {name} is on {plane.device}")
    y, cb, cr = planes
    if not y.shape[0] == cb.shape[0] == cr.shape[0]:
        raise ValueError(f"Y, Cb and Cr hold {len(y)}, {len(cb)} and {len(cr)} frames")
    if cb.shape != cr.shape:
        raise ValueError(f"Cb is {list(cb.shape[1:])}, but Cr is {list(cr.shape[1:])}")
    return y, cb, cr
