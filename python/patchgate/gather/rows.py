"""Gather turns the kept cells of decoded frames into a tower's patch rows.

Only the samples that kept cells need are converted, resized, rounded to u8, normalised and laid
out, with the processor's own filter. The result has the bits of Pillow's resize on RGB
(libImaging/Resample.c).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from patchgate import _ops, grid
from patchgate._cache import cached_table
from patchgate.colour import check_chroma, colour_matrix
from patchgate.decode.frames import Pictures
from patchgate.decode.pictures import rgb_of
from patchgate.gather.pixel_spec import PixelSpec
from patchgate.gather.resize import Filter
from patchgate.grid import Placement

FILTER_BITS = 22
FILTER_ONE = 1 << FILTER_BITS

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def gather(
    source: Pictures | Tensor,
    index: Tensor,
    spec: PixelSpec,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Turns the kept cells of decoded frames into patch rows.

    Args:
        source: a batch of planes as decoded: Y ``[T, H', W']``, Cb and Cr of any usual subsampling,
            uint8 or, with 9 to 16 bits, uint16 with the value in the low bits; or RGB, uint8
            ``[T, 3, H', W']``. Padded rows and crops are read in place; on the CPU the samples of a
            row must be adjacent, on a GPU they need not (NV12: see docs/gpu.md).
        index: int64 ``[capacity]``, the kept cells, flat over (tubelets, h, w) with
            ``(h, w) = spec.cells(H', W')``, as ``compact`` makes it; negative entries are no cells.
        spec: what the tower's processor does.
        dtype: float32, float16 or bfloat16; values are computed in float32 and rounded once.

    Returns:
        ``[capacity * merge^2, 3 * f * P * P]`` of dtype on the source's device: the patches of each
        kept cell, row by row, each in the order (C, f, P, P), or (f, P, P, C) with
        ``spec.channels_last``. Rows of negative entries are zeros. Where the last tubelet lacks a
        frame, its last one is repeated, as in transformers.

    Raises:
        TypeError: a source, index or dtype of another type than stated.
        ValueError: shapes, strides, sizes or devices that do not fit.
        RuntimeError: an index beyond the last cell, on the CPU. On a GPU its rows are NaN.

    Colour: the stream's matrix and range, chroma bilinear, left-sited across and centred down;
    more than 8 bits are brought to 8 first. Bit-equal on every device. Does not synchronise, except
    that the first call for a geometry and device copies its tables there.
    """
    if dtype not in _DTYPES:
        raise TypeError(f"dtype: expected one of {_DTYPES}, got {dtype}")
    planes, matrix, bit_depth = _source(source)
    index = _check_index(index, planes[0].device)
    picture = (planes[0].shape[1], planes[0].shape[2])
    tables = tap_tables(picture, spec, planes[0].device)
    levels = pixel_levels(spec, dtype, planes[0].device)
    return _ops.gather(
        *planes,
        index,
        *tables,
        matrix,
        levels,
        bit_depth,
        spec.patch,
        spec.merge,
        spec.temporal_patch,
        spec.channels_last,
        spec.vertical_first(*picture),
    )


def rgb_frames(batch: Pictures) -> Tensor:
    """Converts whole frames to uint8 RGB ``[T, 3, H', W']``, with gather's arithmetic, for display.

    It is what ``FrameBatch.rgb`` gives. The errors are those of ``gather``.
    """
    planes, _, _ = _source(batch)
    return rgb_of(planes, batch.colour)


# ---- tables


class FilterTables(NamedTuple):
    """The tap tables of one geometry, int32, each ``[out, 1 + taps]``."""

    taps_x: Tensor  # [W, 1 + taps]
    taps_y: Tensor  # [H, 1 + taps]


@cached_table
def tap_tables(picture: tuple[int, int], spec: PixelSpec, device: torch.device) -> FilterTables:
    """Makes the tables of ``gather`` for frames of ``picture`` ``(H', W')`` pixels; cached."""
    down, across = spec.place(*picture)
    tables = (
        filter_table(picture[1], across, spec.filter),
        filter_table(picture[0], down, spec.filter),
    )
    return FilterTables(*(torch.from_numpy(table).to(device) for table in tables))


def _bicubic(x: np.ndarray) -> np.ndarray:
    a, x = -0.5, np.abs(x)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _bilinear(x: np.ndarray) -> np.ndarray:
    return (1.0 - np.abs(x)).clip(min=0.0)


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where((x >= -3.0) & (x < 3.0), np.sinc(x) * np.sinc(x / 3), 0.0)


_FILTERS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (_bicubic, 2.0),  # and its support, half its width
    "bilinear": (_bilinear, 1.0),
    "lanczos": (_lanczos, 3.0),
}


def filter_table(samples: int, placement: Placement, filter: Filter) -> np.ndarray:
    """Makes the taps of a filter along one axis, with Pillow's centres, clipping and rounding.

    Returns:
        int32 ``[size, 1 + taps]``: the first input sample, or -1 outside the picture, and weights
        of either sign in 22 bits, each rounded by itself. Every ``first + taps`` is within the
        input.
    """
    function, reach = _FILTERS[filter]
    scale = samples / placement.resized
    stretch = max(scale, 1.0)
    support = reach * stretch
    index = np.arange(placement.size) + placement.offset
    centre = (index + 0.5) * scale  # [size]
    first = np.trunc(centre - support + 0.5).astype(np.int64).clip(0, samples - 1)
    stop = np.trunc(centre + support + 0.5).astype(np.int64)
    sample = first[:, None] + np.arange(math.ceil(support) * 2 + 1)  # [size, taps]
    weight = function((sample - centre[:, None] + 0.5) * (1.0 / stretch))
    weight = np.where(sample < np.minimum(stop, samples)[:, None], weight, 0.0)
    inside = (index >= 0) & (index < placement.resized)
    # Added up from the left, as Pillow does: numpy's sum would round otherwise.
    total = np.where(inside, np.cumsum(weight, axis=1)[:, -1], 1.0)
    scaled = weight / total[:, None] * FILTER_ONE
    taps = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.int64) * inside[:, None]
    return grid.pack_taps(first, taps, inside, samples)


@cached_table
def pixel_levels(spec: PixelSpec, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Returns what each u8 value becomes, ``[3, 256]``: ``(x * rescale - mean) / std``; cached.

    As in the processors, the product is taken in float64 and all after it in float32.
    """
    scaled = (np.arange(256, dtype=np.float64) * spec.rescale).astype(np.float32)
    mean, std = (np.array(values, dtype=np.float32)[:, None] for values in (spec.mean, spec.std))
    return torch.from_numpy((scaled - mean) / std).to(device, dtype)


# ---- checks


def _source(
    source: Pictures | Tensor,
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor | None, int]:
    """Returns three planes, the colour matrix (None for RGB), and the bits of a sample."""
    if isinstance(source, Tensor):
        if source.dtype != torch.uint8:
            raise TypeError(f"RGB frames must be uint8, got {source.dtype}")
        if source.ndim != 4 or source.shape[1] != 3 or 0 in source.shape[2:]:
            raise ValueError(
                f"RGB frames must be [T, 3, H, W] with pixels, got {list(source.shape)}"
            )
        if source.shape[3] > 1 and source.stride(3) != 1 and not grid.takes_strides(source):
            raise ValueError("RGB frames' rows must be contiguous; call .contiguous() first")
        red, green, blue = source.unbind(1)
        return (red, green, blue), None, 8
    colour = source.colour
    planes = grid.check_planes(source.planes, colour.bit_depth)
    check_chroma(planes)
    return (
        planes,
        colour_matrix(colour.matrix, colour.full_range, planes[0].device),
        colour.bit_depth,
    )


def _check_index(index: Tensor, device: torch.device) -> Tensor:
    if not isinstance(index, Tensor) or index.dtype != torch.int64:
        got = index.dtype if isinstance(index, Tensor) else type(index).__name__
        raise TypeError(f"index: expected an int64 tensor, got {got}")
    if index.ndim != 1:
        raise ValueError(f"index: expected [capacity], got {list(index.shape)}")
    if index.device != device:
        raise ValueError(f"index is on {index.device}, but the frames are on {device}")
    return index.contiguous()
