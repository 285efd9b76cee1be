"""Gather's colour in Triton: tiles of native pixels, as decoded, to RGB.

The numbers are those of ``csrc/gather.h`` and so are the bits. Samples leave as int8, shifted to
[-128, 127]: what a matrix product on the tensor cores takes. The planes of a picture come as
tuples of three: pointers, strides (frame, row, column); sizes are H', W', H'', W''.

A tile is [X, Y]: columns come first because Triton, where it cannot tell which neighbours are
adjacent in memory (NV12's Cb and Cr, clamped columns), lays a warp along the first dimension.
"""

import triton
import triton.language as tl

COLOUR_BITS: tl.constexpr = tl.constexpr(19)
SHIFTED: tl.constexpr = tl.constexpr(128 << 19)
CHROMA_MID: tl.constexpr = tl.constexpr(128 << 6)  # chroma is in 64ths


@triton.jit
def clamp_u8(value):
    return tl.minimum(tl.maximum(value, 0), 255)


@triton.jit
def to_signed(value):
    """[0, 255] to int8."""
    return (value - 128).to(tl.int8)


@triton.jit
def _sample(pointers, BIT_DEPTH: tl.constexpr):
    """Rounded to 8 bits: int32."""
    value = tl.load(pointers).to(tl.int32)
    if BIT_DEPTH > 8:
        value = tl.minimum((value + (1 << (BIT_DEPTH - 9))) >> (BIT_DEPTH - 8), 255)
    return value


@triton.jit
def rgb_tile(
    planes, strides, sizes, y0, x0, Y: tl.constexpr, X: tl.constexpr, BIT_DEPTH: tl.constexpr
):
    """A tile of planes R, G and B: three int8 [X, Y]; beyond the picture its edge again."""
    row = tl.minimum(y0 + tl.arange(0, Y), sizes[0] - 1)[None, :]
    column = tl.minimum(x0 + tl.arange(0, X), sizes[1] - 1)[:, None]
    red = _sample(planes[0] + (row * strides[0][1] + column * strides[0][2]), BIT_DEPTH)
    green = _sample(planes[1] + (row * strides[1][1] + column * strides[1][2]), BIT_DEPTH)
    blue = _sample(planes[2] + (row * strides[2][1] + column * strides[2][2]), BIT_DEPTH)
    return to_signed(red), to_signed(green), to_signed(blue)


@triton.jit
def yuv_tile(
    planes,
    strides,
    sizes,
    matrix,  # [6]
    y0,
    x0,  # a multiple of STEP_X
    Y: tl.constexpr,
    X: tl.constexpr,
    STEP_Y: tl.constexpr,  # luma samples per chroma sample: 1, 2 or 4
    STEP_X: tl.constexpr,
    BIT_DEPTH: tl.constexpr,
):
    """A tile of planes Y, Cb and Cr as RGB: three int8 [X, Y]; beyond the picture its edge again.

    Columns come by phases: the STEP_X pixels that share a chroma sample read it once.
    """
    row = tl.minimum(y0 + tl.arange(0, Y), sizes[0] - 1)[None, :]
    # Down, chroma sits in the middle of its luma samples: in sixteenths.
    place = (16 * row + 8) // STEP_Y - 8
    last = sizes[2] - 1
    first = tl.minimum(tl.maximum(place >> 4, 0), last)
    second = tl.minimum((place >> 4) + 1, last)
    luma = (planes[0], row * strides[0][1])
    cb = (planes[1], first * strides[1][1], second * strides[1][1], place & 15)
    cr = (planes[2], first * strides[2][1], second * strides[2][1], place & 15)
    factors = (
        tl.load(matrix),
        tl.load(matrix + 1),
        tl.load(matrix + 2),
        tl.load(matrix + 3),
        tl.load(matrix + 4),
        tl.load(matrix + 5),
    )
    block = (x0 // STEP_X + tl.arange(0, X // STEP_X))[:, None]  # columns of chroma
    tile = _yuv_phase(luma, cb, cr, block, strides, sizes, factors, 0, STEP_X, BIT_DEPTH)
    if STEP_X == 2:
        odd = _yuv_phase(luma, cb, cr, block, strides, sizes, factors, 1, STEP_X, BIT_DEPTH)
        tile = _interleave(tile, odd)
    if STEP_X == 4:
        one = _yuv_phase(luma, cb, cr, block, strides, sizes, factors, 1, STEP_X, BIT_DEPTH)
        two = _yuv_phase(luma, cb, cr, block, strides, sizes, factors, 2, STEP_X, BIT_DEPTH)
        three = _yuv_phase(luma, cb, cr, block, strides, sizes, factors, 3, STEP_X, BIT_DEPTH)
        tile = _interleave(_interleave(tile, two), _interleave(one, three))
    return tile


@triton.jit
def _interleave(a, b):
    """Columns in turn: three of [n, Y] and three more to three of [2 n, Y]."""
    columns: tl.constexpr = 2 * a[0].shape[0]
    rows: tl.constexpr = a[0].shape[1]
    return (
        tl.join(a[0], b[0]).permute(0, 2, 1).reshape(columns, rows),
        tl.join(a[1], b[1]).permute(0, 2, 1).reshape(columns, rows),
        tl.join(a[2], b[2]).permute(0, 2, 1).reshape(columns, rows),
    )


@triton.jit
def _yuv_phase(
    luma,  # the plane, and where its rows begin: [1, Y]
    cb,  # the plane, where the upper and the lower row begin, the lower one's share in sixteenths
    cr,
    block,  # [X / STEP_X, 1]
    strides,
    sizes,
    factors,
    PHASE: tl.constexpr,
    STEP_X: tl.constexpr,
    BIT_DEPTH: tl.constexpr,
):
    """Every STEP_X-th column of a tile from the PHASE-th: three int8 [X / STEP_X, Y]."""
    column = tl.minimum(block * STEP_X + PHASE, sizes[1] - 1)
    left = tl.minimum(block, sizes[3] - 1)
    right = tl.minimum(block + 1, sizes[3] - 1)
    # Across, chroma sits on the left one of its luma samples (MPEG-2): in quarters.
    share: tl.constexpr = 4 * PHASE // STEP_X
    u = _across(cb, left * strides[1][2], right * strides[1][2], share, BIT_DEPTH)
    v = _across(cr, left * strides[2][2], right * strides[2][2], share, BIT_DEPTH)
    y = factors[0] * _sample(luma[0] + (luma[1] + column * strides[0][2]), BIT_DEPTH) + factors[1]
    y -= SHIFTED  # the shift to [-128, 127], before the clamps
    return (
        _clamp_s8((y + factors[2] * v) >> COLOUR_BITS),
        _clamp_s8((y + factors[3] * u + factors[4] * v) >> COLOUR_BITS),
        _clamp_s8((y + factors[5] * u) >> COLOUR_BITS),
    )


@triton.jit
def _clamp_s8(value):
    return tl.minimum(tl.maximum(value, -128), 127).to(tl.int8)


@triton.jit
def _across(chroma, left, right, SHARE: tl.constexpr, BIT_DEPTH: tl.constexpr):
    """Bilinear, in 64ths around mid-grey."""
    value = (4 - SHARE) * _down(chroma, left, BIT_DEPTH)
    if SHARE > 0:
        value += SHARE * _down(chroma, right, BIT_DEPTH)
    return value - CHROMA_MID


@triton.jit
def _down(chroma, column, BIT_DEPTH: tl.constexpr):
    """Between two samples above each other, in sixteenths."""
    plane, upper, lower, share = chroma
    first = _sample(plane + (upper + column), BIT_DEPTH)
    second = _sample(plane + (lower + column), BIT_DEPTH)
    return (16 - share) * first + share * second
