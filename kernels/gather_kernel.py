"""Gather's kernel: one program per kept cell (or block of a large one) and frame of its tubelet.

A program reads the native samples that its outputs' taps reach, tile by tile, makes them RGB,
weighs them along both axes and writes normalised patch rows.
"""

import triton
import triton.language as tl

from patchgate.kernels.gather_colour import rgb_tile, to_signed, yuv_tile
from patchgate.kernels.gather_weigh import axis_of, band, rounded, start_of_sums, weigh, window


@triton.jit(do_not_specialize=["frames"])  # one kernel for all lengths
def gather_kernel(
    planes,  # three of [T, H', W'] and [T, H'', W'']
    strides,  # of each: frame, row, column
    sizes,  # H', W', H'', W''
    frames,  # T
    grid,  # h, w
    index,  # [capacity]
    taps_x,  # [W, 1 + count_x]
    taps_y,  # [H, 1 + count_y]
    count_x,
    count_y,
    matrix,  # [6], or None for RGB
    levels,  # [3, 256], as bits
    out,  # [capacity * merge^2, 3 * f * P * P], as bits
    BIT_DEPTH: tl.constexpr,
    STEP_Y: tl.constexpr,
    STEP_X: tl.constexpr,
    PATCH: tl.constexpr,
    MERGE: tl.constexpr,
    FRAMES: tl.constexpr,  # of a tubelet
    CHANNELS_LAST: tl.constexpr,
    VERTICAL_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,  # outputs of a program along each axis
    TAPS_X: tl.constexpr,
    TAPS_Y: tl.constexpr,
    OUTER: tl.constexpr,  # samples of a tile along the second pass
    INNER: tl.constexpr,  # and along the first
):
    side: tl.constexpr = PATCH * MERGE
    blocks: tl.constexpr = (side + BLOCK - 1) // BLOCK
    entry, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    frame = part // (blocks * blocks)
    dy = part // blocks % blocks * BLOCK + tl.arange(0, BLOCK)  # pixels of the cell
    dx = part % blocks * BLOCK + tl.arange(0, BLOCK)

    h, w = grid
    cell = tl.load(index + entry)
    row = cell // w  # of cells, over all tubelets
    tubelet = row // h
    if (cell >= 0) & (tubelet * FRAMES < frames):
        t = tl.minimum(tubelet * FRAMES + frame, frames - 1)  # a missing one: the last again
        picture = (
            planes[0] + t * strides[0][0],
            planes[1] + t * strides[1][0],
            planes[2] + t * strides[2][0],
        )
        top, left = (row - tubelet * h).to(tl.int32) * side, (cell - row * w).to(tl.int32) * side
        x = axis_of(taps_x, count_x, left + dx, dx < side)
        y = axis_of(taps_y, count_y, top + dy, dy < side)
        pixels = _resized(
            picture, strides, sizes, matrix, x, y,
            BIT_DEPTH, STEP_Y, STEP_X, VERTICAL_FIRST, BLOCK, TAPS_X, TAPS_Y, OUTER, INNER,
        )  # fmt: skip
    else:
        none = tl.full([BLOCK, BLOCK], -1, tl.int32)
        pixels = (none, none, none)

    if VERTICAL_FIRST:
        dy, dx = dy[:, None], dx[None, :]
    else:
        dy, dx = dy[None, :], dx[:, None]
    inside = (dy < side) & (dx < side)
    patch_size: tl.constexpr = 3 * FRAMES * PATCH * PATCH
    rows = out + entry * (MERGE * MERGE * patch_size)
    place = (dy // PATCH * MERGE + dx // PATCH) * patch_size
    pixel = dy % PATCH * PATCH + dx % PATCH
    for c in tl.static_range(3):
        # Bits of a float: no cell 0, an index beyond the last cell all ones, which is NaN.
        bits = tl.load(levels + c * 256 + pixels[c], pixels[c] >= 0, tl.where(cell < 0, 0, -1))
        if CHANNELS_LAST:
            step = (frame * PATCH * PATCH + pixel) * 3 + c
        else:
            step = (c * FRAMES + frame) * PATCH * PATCH + pixel
        tl.store(rows + (place + step), bits, inside)


@triton.jit
def _resized(
    planes,  # of one frame
    strides,
    sizes,
    matrix,
    x,  # axes (gather_weigh.py) of BLOCK outputs
    y,
    BIT_DEPTH: tl.constexpr,
    STEP_Y: tl.constexpr,
    STEP_X: tl.constexpr,
    VERTICAL_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
    TAPS_X: tl.constexpr,
    TAPS_Y: tl.constexpr,
    OUTER: tl.constexpr,
    INNER: tl.constexpr,
):
    """R, G and B of a block, 0..255: three int32 [inner, outer].

    The first pass runs along the inner axis and is rounded, the second along the outer one.
    """
    begin_y, end_y = window(y, sizes[0])
    begin_x, end_x = window(x, sizes[1])
    begin_x = begin_x // STEP_X * STEP_X
    if VERTICAL_FIRST:
        inner, inner_begin, inner_end, start_inner = y, begin_y, end_y, start_of_sums(y, TAPS_Y)
        outer, outer_at, outer_end, start_outer = x, begin_x, end_x, start_of_sums(x, TAPS_X)
    else:
        inner, inner_begin, inner_end, start_inner = x, begin_x, end_x, start_of_sums(x, TAPS_X)
        outer, outer_at, outer_end, start_outer = y, begin_y, end_y, start_of_sums(y, TAPS_Y)
    red = tl.zeros([BLOCK, BLOCK], tl.int32) + start_outer[None, :]
    green, blue = red, red
    # while, not range: the interpreter's range makes an int of an array, which numpy 2.4 refuses.
    while outer_at < outer_end:
        r = tl.zeros([OUTER, BLOCK], tl.int32) + start_inner[None, :]
        g, b = r, r
        inner_at = inner_begin
        while inner_at < inner_end:
            tile = _tile(
                planes, strides, sizes, matrix, inner_at, outer_at,
                BIT_DEPTH, STEP_Y, STEP_X, VERTICAL_FIRST, OUTER, INNER,
            )  # fmt: skip
            weights = band(inner, inner_at, INNER)
            r = weigh(tile[0], weights, r)
            g = weigh(tile[1], weights, g)
            b = weigh(tile[2], weights, b)
            inner_at += INNER
        weights = band(outer, outer_at, OUTER)
        red = weigh(tl.trans(to_signed(rounded(r))), weights, red)
        green = weigh(tl.trans(to_signed(rounded(g))), weights, green)
        blue = weigh(tl.trans(to_signed(rounded(b))), weights, blue)
        outer_at += OUTER
    return rounded(red), rounded(green), rounded(blue)


@triton.jit
def _tile(
    planes,
    strides,
    sizes,
    matrix,
    inner_at,
    outer_at,
    BIT_DEPTH: tl.constexpr,
    STEP_Y: tl.constexpr,
    STEP_X: tl.constexpr,
    VERTICAL_FIRST: tl.constexpr,
    OUTER: tl.constexpr,
    INNER: tl.constexpr,
):
    """Native pixels as R, G, B, shifted: three int8 [OUTER, INNER]."""
    if VERTICAL_FIRST:
        y0, x0 = inner_at, outer_at
    else:
        y0, x0 = outer_at, inner_at
    Y: tl.constexpr = INNER if VERTICAL_FIRST else OUTER
    X: tl.constexpr = OUTER if VERTICAL_FIRST else INNER
    if matrix is None:
        tile = rgb_tile(planes, strides, sizes, y0, x0, Y, X, BIT_DEPTH)
    else:
        tile = yuv_tile(planes, strides, sizes, matrix, y0, x0, Y, X, STEP_Y, STEP_X, BIT_DEPTH)
    if not VERTICAL_FIRST:  # it is [X, Y]
        tile = (tl.trans(tile[0]), tl.trans(tile[1]), tl.trans(tile[2]))
    return tile
