"""Gather's filters in Triton: sums with 22-bit weights, exact, on the tensor cores.

A pass over a tile is a matrix product with a band of the tap table. The tensor cores multiply int8
and add int32 exactly: a weight is three signed digits of 8 bits, as in
``csrc/cpu/gather/gather_simd.h``, and samples are shifted to [-128, 127], which the sums' start
makes good.

An axis is a tuple: tap table [out, 1 + taps], taps, outputs [B], each one's first sample [B] (-1:
outside the picture). K: samples of a tile along it.
"""

import triton
import triton.language as tl

from patchgate.kernels.gather_colour import clamp_u8

FILTER_BITS: tl.constexpr = tl.constexpr(22)
HALF_UNIT: tl.constexpr = tl.constexpr(1 << 21)


@triton.jit
def axis_of(taps, count, output, inside):
    """The taps of the outputs [B] that are inside; the others count as outside the picture."""
    first = tl.load(taps + output * (1 + count), mask=inside, other=-1)
    return taps, count, output, tl.maximum(first, -1)


@triton.jit
def window(axis, samples):
    """Where the ``samples`` along the axis that the outputs reach begin and end."""
    count, first = axis[1], axis[3]
    begin = tl.min(tl.where(first < 0, samples, first), 0)
    return begin, tl.minimum(tl.max(tl.where(first < 0, 0, first + count), 0), samples)


@triton.jit
def start_of_sums(axis, TAPS: tl.constexpr):
    """Half a unit, and what the shift of the samples takes away: [B]."""
    weights = _weights(axis, axis[3][:, None] + tl.arange(0, TAPS)[None, :], 1)  # [B, TAPS]
    return 128 * tl.sum(weights, 1) + HALF_UNIT


@triton.jit
def band(axis, at, K: tl.constexpr):
    """Weights of K samples from ``at``, as digits a, b, c of 65536 a + 256 b + c: int8 [K, B]."""
    weights = _weights(axis, at + tl.arange(0, K)[:, None], 0)
    c = weights.to(tl.int8)
    weights = (weights - c) >> 8
    b = weights.to(tl.int8)
    return ((weights - b) >> 8).to(tl.int8), b, c


@triton.jit
def _weights(axis, sample, ALONG: tl.constexpr):
    """The weights of samples [.., 1] or [1, ..] in the outputs along the other dimension."""
    taps, count, output, first = axis
    output, first = tl.expand_dims(output, ALONG), tl.expand_dims(first, ALONG)
    k = sample - first
    used = (first >= 0) & (k >= 0) & (k < count)
    return tl.load(taps + output * (1 + count) + 1 + k, mask=used, other=0)


@triton.jit
def weigh(samples, digits, sums):
    """sums [.., B] + samples [.., K] @ weights [K, B].

    The tensor cores saturate where int32 ends. No partial sum gets there: the magnitudes of an
    output's weights sum to at most kFilterLimit of ``csrc/gather.h``, and 255 times that fits.
    """
    sum_a = tl.dot(samples, digits[0], out_dtype=tl.int32)
    sum_ab = tl.dot(samples, digits[1], sum_a << 8, out_dtype=tl.int32)
    return tl.dot(samples, digits[2], sums + (sum_ab << 8), out_dtype=tl.int32)


@triton.jit
def rounded(sums):
    """Sums, once complete, to [0, 255]: half up (their start holds the half), clamped."""
    return clamp_u8(sums >> FILTER_BITS)
