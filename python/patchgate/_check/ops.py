"""Checks the arguments of ops in fake kernels, Triton kernels and ops of plain torch.

These checks read only shapes, dtypes and numbers. The CPU's kernels in C++ check the same, and also
the values in tensors, which they can read without waiting; tests compare both. The ops from frames
to patch rows are here, the others in ``_check.token_ops``.

Letters: S streams, T frames, f frames of a tubelet, C planes, H W pixels, h w cells.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from patchgate.colour import chroma_step

INT32_MAX = 2**31 - 1
_MOST_CELL = 1 << 14  # of patch, merge and temporal_patch in gather: csrc/cpu/gather/gather.cpp
_MOST_PIXELS = 1 << 22  # of a cell, all its frames: this and what follows, csrc/gate_checks.h
_MOST_PLANES = 256
_MOST_SIDE = 1 << 28


def check(fits: Any, message: str, *parts: Any) -> None:
    """Raises a ``ValueError`` with a formatted message unless ``fits``. Sizes may be symbols."""
    if fits is True:
        return
    torch._check_value(fits, lambda: message.format(*parts))


def check_tensor(name: str, tensor: Tensor | None) -> None:
    """Raises a ``TypeError`` for None, which torch passes on to ops in Python."""
    if tensor is None:
        raise TypeError(f"{name}: expected a tensor, got None")


def check_dtype(name: str, tensor: Tensor, *dtypes: torch.dtype) -> None:
    """Raises a ``TypeError`` for another dtype, or for None."""
    check_tensor(name, tensor)
    if tensor.dtype not in dtypes:
        *most, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
        expected = f"{', '.join(most)} or {last}" if most else last
        raise TypeError(f"{name}: expected {expected}, got {tensor.dtype}")


def check_dims(name: str, tensor: Tensor, expected: str) -> None:
    """Raises a ``ValueError`` unless there are as many dimensions as in, say, ``"[T, H, W]"``."""
    check_tensor(name, tensor)
    fits = tensor.dim() == expected.count(",") + 1
    check(fits, "{}: expected {}, got {}", name, expected, list(tensor.shape))


def check_shape(name: str, tensor: Tensor, dtype: torch.dtype, *shape: Any) -> None:
    """Raises a ``TypeError`` for another dtype and a ``ValueError`` for another shape."""
    check_dtype(name, tensor, dtype)
    expected = "{}: expected {}, got {}"
    check(tensor.dim() == len(shape), expected, name, list(shape), list(tensor.shape))
    for found, size in zip(tensor.shape, shape, strict=True):
        check(found == size, expected, name, list(shape), list(tensor.shape))


def gate(planes: Tensor, state: Sequence[Tensor], threshold_map: Tensor | None) -> None:
    """Checks the gate's tensors, but not what its clock says; ``state`` is in the op's order."""
    picture, ids, source, clock, births, quartiles, light = state
    check_dtype("gate: planes", planes, torch.uint8)
    check_dims("gate: planes", planes, "[S, T, f, C, H, W]")
    check_dims("gate: source", source, "[S, h, w]")
    check_dims("gate: births", births, "[S, max_age or 0]")
    check_dims("gate: light", light, "[S, f, C, 4, h or 0, w]")
    s, t, f, c, height, width = planes.shape
    h, w = source.shape[1:]
    for size in (f, c, height, width):
        check(size >= 1, "gate: planes must have pixels, got {}", list(planes.shape))
    for side in (height, width):
        check(side <= _MOST_SIDE, "gate: a picture of {} x {} is too large", height, width)
    check(height * width <= INT32_MAX, "gate: a picture of {} x {} is too large", height, width)
    check(f * c <= _MOST_PLANES, "gate: {} frames of {} planes are too many for a cell", f, c)
    check(t < INT32_MAX, "gate: {} frames are too many for one push", t)
    check(s * h * w <= INT32_MAX // 2, "gate: {} streams of {} x {} cells are too many", s, h, w)
    check_shape("gate: picture", picture, torch.uint8, s, f, c, height, width)
    check_shape("gate: ids", ids, torch.int32, s, height, width)
    check_shape("gate: source", source, torch.int64, s, h, w)
    check_shape("gate: clock", clock, torch.int64, s, 2)
    check_shape("gate: births", births, torch.int64, s, births.shape[1])
    check_shape("gate: quartiles", quartiles, torch.int32, s, 15)
    rows = light.shape[4]
    check(rows in (0, h), "gate: light has {} rows of cells, must have 0 or {}", rows, h)
    check_shape("gate: light", light, torch.int32, s, f, c, 4, rows, w)
    if threshold_map is not None:
        check_shape("gate: threshold_map", threshold_map, torch.float64, h, w)


def gate_rules(
    planes: Tensor,
    source: Tensor,
    cell: int,
    sub_block: int,
    limit: int,
    texture: int,
    search_radius: int,
    on_motion: int,
    cut: int,
    hysteresis: float,
    motion_precision: int,
) -> None:
    """Checks the gate's numbers; its tensors were checked already."""
    check(
        1 <= cell <= 256 and sub_block >= 1 and cell % sub_block == 0,
        "gate: cell {} must be 1..256 pixels and a multiple of sub_block {}", cell, sub_block,
    )  # fmt: skip
    for side, cells in zip(planes.shape[4:], source.shape[1:], strict=True):
        check(side == cells * cell, "gate: {} pixels are not {} cells of {}", side, cells, cell)
    f = planes.shape[2]
    check(f * cell * cell <= _MOST_PIXELS, "gate: {} frames of cells of {} are too many", f, cell)
    check(0 <= limit < 1 << 30, "gate: limit {} must be 0..2^30-1", limit)
    check(0 <= texture <= INT32_MAX, "gate: texture {} must be 0..2^31-1", texture)
    known = motion_precision in (1, 2, 4)
    check(known, "gate: motion_precision {} must be 1, 2 or 4", motion_precision)
    most = 127 // motion_precision
    check(0 <= search_radius <= most, "gate: search_radius {} must be 0..{}", search_radius, most)
    check(0 <= on_motion <= 2, "gate: on_motion {} must be 0..2", on_motion)
    check(cut >= -1, "gate: cut {} must be a number of cells, or -1", cut)
    check(hysteresis == hysteresis, "gate: hysteresis must be a number")


def compact(kind: Tensor, capacity: int) -> None:
    """Checks the arguments of compact."""
    check_dtype("compact: kind", kind, torch.uint8)
    check(kind.dim() >= 2, "compact: kind must be [..., h, w], got {}", list(kind.shape))
    check(capacity >= 0, "compact: capacity {} must be 0..2^31-1", capacity)
    check(capacity <= INT32_MAX, "compact: capacity {} must be 0..2^31-1", capacity)
    frames: Any = 1
    for size in kind.shape[:-2]:
        frames = frames * size
    check(frames < INT32_MAX, "compact: {} frames are too many for one call", frames)


def frame_grid(planes: Sequence[Tensor], tables: Sequence[Tensor], bit_depth: int) -> None:
    """Checks the arguments of frame_grid, but not the values of its tables."""
    y = planes[0]
    _check_depth("frame_grid", y, bit_depth)
    for name, plane in zip(("y", "cb", "cr"), planes, strict=True):
        check_dtype(name, plane, y.dtype)
        check_dims(name, plane, "[T, H, W]")
        frames, wanted = plane.shape[0], y.shape[0]
        check(frames == wanted, "{}: {} frames, y has {}", name, frames, wanted)
    for name, table in zip(("luma_x", "luma_y", "chroma_x", "chroma_y"), tables, strict=True):
        _check_taps(name, table)
    for luma, chroma in zip(tables[:2], tables[2:], strict=True):
        check(
            luma.shape[0] == chroma.shape[0],
            "frame_grid: the tap tables of luma and chroma are for outputs of different sizes",
        )


def gather(
    planes: Sequence[Tensor],  # y, cb, cr
    index: Tensor,
    tables: Sequence[Tensor],  # taps_x, taps_y
    matrix: Tensor | None,
    levels: Tensor,
    bit_depth: int,
    sides: tuple[int, int, int],  # patch, merge, temporal_patch
) -> None:
    """Checks the arguments of gather, but not the values of its index and tables."""
    _check_planes(planes, matrix is None, bit_depth)
    check_dtype("index", index, torch.int64)
    check_dims("index", index, "[capacity]")
    if matrix is not None:
        check_shape("matrix", matrix, torch.int32, 6)
    check_dtype("levels", levels, torch.float32, torch.float16, torch.bfloat16)
    check_shape("levels", levels, levels.dtype, 3, 256)
    for side in sides:
        check(
            1 <= side <= _MOST_CELL,
            "gather: patch, merge, temporal_patch = {}, expected each 1..{}", sides, _MOST_CELL,
        )  # fmt: skip
    cell = sides[0] * sides[1]
    for name, table in zip(("taps_x", "taps_y"), tables, strict=True):
        _check_taps(name, table)
        out = table.shape[0]
        check(out >= 1, "{}: expected [out, 1 + taps], got {}", name, list(table.shape))
        check(out % cell == 0, "{}: {} outputs are not whole cells of {} pixels", name, out, cell)


def _check_planes(planes: Sequence[Tensor], rgb: bool, bit_depth: int) -> None:
    y, cb, cr = planes
    _check_depth("gather", y, bit_depth)
    for plane in planes:
        check_dtype("gather: planes", plane, y.dtype)
        check_dims("gather: planes", plane, "[T, H, W]")
        for side in plane.shape[1:]:
            check(
                1 <= side <= INT32_MAX,
                "gather: expected planes [T, H, W] with pixels, got {}", list(plane.shape),
            )  # fmt: skip
    shapes = [list(plane.shape) for plane in planes]
    for plane in (cb, cr):
        for axis in (0, 1, 2):
            one = y.shape[0] if axis == 0 else cb.shape[axis]
            check(plane.shape[axis] == one, "gather: planes of {} do not belong together", shapes)
    for one, two in zip(y.shape[1:], cb.shape[1:], strict=True):
        fits = one == two if rgb else chroma_step(one, two) > 0
        check(fits, "gather: cb and cr of {} do not belong to y of {}", shapes[1], shapes[0])


def _check_depth(op: str, y: Tensor, bit_depth: int) -> None:
    dtype = torch.uint8 if bit_depth == 8 else torch.uint16
    check(
        8 <= bit_depth <= 16 and y.dtype == dtype,
        "{}: expected uint8 planes of 8 bit or uint16 planes of 9 to 16 bit, got {} of {} bit",
        op, y.dtype, bit_depth,
    )  # fmt: skip


def _check_taps(name: str, table: Tensor) -> None:
    check_dtype(name, table, torch.int32)
    check_dims(name, table, "[out, 1 + taps]")
    check(table.shape[1] >= 2, "{}: expected [out, 1 + taps], got {}", name, list(table.shape))
