"""Shared parts of the kernels of attention: tiles of rows in groups, heads in parts, checks.

A group is a run of packed rows. The ends of groups are on the device, so the launch grid cannot
depend on them. Tiles are numbered: group i has the tiles from ``ends[i] // BLOCK + i`` on, as many
as it needs (``floor(a + b) >= floor(a) + floor(b)`` leaves room for its last, partial one), and
each program finds the group of its tile. ``rows // BLOCK + groups`` tiles are enough for any ends.

A head of 72 features is computed as 64 + 16, not as 128: ``columns`` says how.

Letters: R rows, G groups, H heads, d features of a head, n rows of a tile, c columns of a part.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

SPAN = tl.constexpr(256)  # ends that are searched together
WIDEST = 256  # the most features of a head


@triton.jit
def find_tile(
    tile,
    ends,  # [G + 1] int32
    groups,
    total,
    BLOCK: tl.constexpr,
):
    """Finds the group of a tile, the tile's first row, and the end of the group.

    The rows before the first group are group -1, those after the last one group G. Some tiles have
    no rows: their first row is at the end of the group, or past it.
    """
    low, high = 0, groups + 1  # the answer, less one, is among these
    while high - low >= SPAN:
        middle = (low + high + 1) // 2
        if tl.load(ends + middle - 1) // BLOCK + middle <= tile:
            low = middle
        else:
            high = middle - 1
    number = low + 1 + tl.arange(0, SPAN)  # [SPAN]
    start = tl.load(ends + number - 1, mask=number <= high, other=0) // BLOCK + number
    low += tl.sum(((number <= high) & (start <= tile)).to(tl.int32))
    begin = tl.load(ends + low - 1, mask=low > 0, other=0)
    end = tl.load(ends + low, mask=low <= groups, other=total)
    first = begin + (tile - begin // BLOCK - low) * BLOCK
    # Ends that do not ascend, or lie outside of the rows, must not cause accesses out of bounds.
    return low - 1, tl.maximum(first, 0), tl.minimum(end, total)


@triton.jit
def load_part(
    rows,  # [R, d] of one head
    offset,  # [n]: where each row begins
    real,  # [n] bool
    WIDTH: tl.constexpr,
    FIRST: tl.constexpr,
    COLUMNS: tl.constexpr,
    MASKED: tl.constexpr,
):
    """Loads columns from FIRST on of some rows, ``[n, c]``; 0 if there is no such row or column."""
    column = FIRST + tl.arange(0, COLUMNS)  # [c]
    at = rows + offset[:, None] + column[None, :]
    if FIRST + COLUMNS > WIDTH:
        if MASKED:
            return tl.load(at, mask=real[:, None] & (column < WIDTH)[None, :], other=0.0)
        return tl.load(at, mask=(column < WIDTH)[None, :], other=0.0)
    if MASKED:
        return tl.load(at, mask=real[:, None], other=0.0)
    return tl.load(at)


@triton.jit
def store_part(
    rows,  # [R, d] of one head
    offset,  # [n]
    real,  # [n] bool
    part,  # [n, c]
    WIDTH: tl.constexpr,
    FIRST: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Stores what ``load_part`` loads."""
    column = FIRST + tl.arange(0, COLUMNS)  # [c]
    at = rows + offset[:, None] + column[None, :]
    mask = real[:, None] & (column < WIDTH)[None, :]
    tl.store(at, part.to(rows.dtype.element_ty), mask=mask)


@triton.jit
def dot(a, b, PRECISION: tl.constexpr):
    """Multiplies two blocks, in float32, or in float64 if they are of that dtype."""
    if a.dtype == tl.float64:
        return tl.dot(a, b, out_dtype=tl.float64)
    return tl.dot(a, b, input_precision=PRECISION)


def tiles(rows: int, groups: int, block: int) -> int:
    """Returns how many tiles are enough, with those of rows before and after all groups."""
    return rows // block + groups + 2


def columns(width: int) -> tuple[int, int]:
    """Divides a head's features in two blocks, powers of two of at least 16: main part and tail.

    The tail is 0 if there is none.
    """
    main = max(16, 1 << (width.bit_length() - 1) if width else 16)
    if width <= main:
        return main, 0
    tail = max(16, triton.next_power_of_2(width - main))
    return (main, tail) if tail < main else (2 * main, 0)


def precision(dtype: torch.dtype) -> str:
    """Returns the precision of products: that of float32, unless PyTorch's settings allow TF32.

    There are two such settings. ``allow_tf32``, the older one, cannot be read after the newer one
    was used; ``fp32_precision`` has the value that either of them set.
    """
    allowed = dtype == torch.float32 and torch.backends.cuda.matmul.fp32_precision == "tf32"
    return "tf32" if allowed else "ieee"


def strides(*tensors: Tensor) -> tuple[int, list[int]]:
    """Returns a common unit (a power of two), and the strides of rows and heads in it.

    The compiler knows the unit, and so makes wide loads of it.
    """
    each = [tensor.stride(i) for tensor in tensors for i in (0, 1)]
    unit = math.gcd(16, *each)
    return unit, [stride // unit for stride in each]


def generation(tensor: Tensor) -> int:
    """Returns the generation of the tensor's GPU: 8 Ampere and Ada, 9 Hopper, 10 Blackwell.

    In the interpreter it is 9.
    """
    return torch.cuda.get_device_capability(tensor.device)[0] if tensor.is_cuda else 9


# ---- checks that only these kernels make


def adjacent(name: str, heads: Tensor) -> Tensor:
    """Returns ``[rows, H, d]`` with d adjacent, or else a copy of that kind.

    Raises:
        ValueError: heads are too wide.
    """
    width = heads.shape[2]
    if width > WIDEST:
        raise ValueError(f"{name}: expected at most {WIDEST} features a head, got {width}")
    return heads if heads.stride(2) == 1 or width <= 1 else heads.contiguous()


def check_contiguous(**tensors: Tensor | None) -> None:
    """Raises a ``ValueError`` if a tensor is not contiguous."""
    for name, tensor in tensors.items():
        if tensor is not None and not tensor.is_contiguous():
            raise ValueError(f"{name}: expected a contiguous tensor, got strides {tensor.stride()}")
