"""The kernel of residual attention: tiles of queries of one group and one head go over the group's
keys, a block at a time, with a running softmax (FlashAttention, arXiv 2205.14135, 2307.08691).

Letters: R queries, A rows of keys, G groups, L keys of all groups, H heads, d features of a head;
n queries of a tile, m keys of a block, c columns of a part.
"""

import triton
import triton.language as tl

from patchgate.kernels.attention_tiles import dot, find_tile, load_part, store_part

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def exponential(x, BINARY: tl.constexpr):
    return tl.exp2(x) if BINARY else tl.exp(x)


@triton.jit
def _step(
    at,
    last_key,
    query_main, query_tail,  # [n, c] each
    peak, total, out_main, out_tail, strange,  # [n], [n], [n, c] x 2, [m]: the running softmax
    key, value,  # [A, d] of one head
    key_row, value_row,
    key_index,  # [L]
    bias,  # [L]
    rows,
    SCALE: tl.constexpr, BINARY: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr, BLOCK_KEYS: tl.constexpr,
    MASKED: tl.constexpr,
):  # fmt: skip
    """A block of keys; with MASKED, not all of it is the group's."""
    entry = at + tl.arange(0, BLOCK_KEYS)  # [m]
    real = entry < last_key
    row = tl.load(key_index + entry, mask=real if MASKED else None, other=0 if MASKED else None)
    outside = (row < 0) | (row >= rows)
    strange |= outside
    row = tl.where(outside, 0, row)  # [m]

    offset = row * key_row
    part = load_part(key, offset, real, WIDTH, 0, MAIN, MASKED)
    scores = dot(query_main, tl.trans(part), PRECISION)  # [n, m]
    if TAIL > 0:
        part = load_part(key, offset, real, WIDTH, MAIN, TAIL, MASKED)
        scores += dot(query_tail, tl.trans(part), PRECISION)
    if BIASED or SCALE <= 0:
        scores = scores * SCALE
        if BIASED:
            unit = LOG2_E if BINARY else 1.0
            scores += (tl.load(bias + entry, mask=real, other=0.0) * unit)[None, :]
        if MASKED:
            scores = tl.where(real[None, :], scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1))
    else:  # the scaling goes into the difference below: one multiply-add
        if MASKED:
            scores = tl.where(real[None, :], scores, float("-inf"))
        new_peak = tl.maximum(peak, tl.max(scores, 1) * SCALE)
        scores = scores * SCALE
    safe = tl.where(new_peak == float("-inf"), 0.0, new_peak)  # infinity must not meet infinity
    weights = exponential(scores - safe[:, None], BINARY)  # [n, m]
    shrink = exponential(peak - safe, BINARY)  # [n]
    total = total * shrink + tl.sum(weights, 1)

    offset = row * value_row
    part = load_part(value, offset, real, WIDTH, 0, MAIN, MASKED)
    weights = weights.to(part.dtype)
    out_main = out_main * shrink[:, None] + dot(weights, part, PRECISION)
    if TAIL > 0:
        part = load_part(value, offset, real, WIDTH, MAIN, TAIL, MASKED)
        out_tail = out_tail * shrink[:, None] + dot(weights, part, PRECISION)
    return new_peak, total, out_main, out_tail, strange


@triton.jit(do_not_specialize=["queries", "rows", "keys", "groups"])
def attend_kernel(
    query,  # [R, H, d]
    key, value,  # [A, H, d]
    cu_queries,  # [G + 1]
    key_index,  # [L]
    cu_keys,  # [G + 1]
    bias,  # [L]
    out,  # [R, H, d]
    lse,  # [R, H]
    queries, rows, keys, groups, heads,
    query_row, query_head, key_row, key_head, value_row, value_head,  # strides, in UNIT
    UNIT: tl.constexpr, SCALE: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_KEYS: tl.constexpr,
):  # fmt: skip
    """One tile of queries in one head; neighbouring programs are heads of the same tile, so that
    rows are read whole while they are in the cache.
    """
    head = (tl.program_id(0) % heads).to(tl.int64)
    group, first, end = find_tile(tl.program_id(0) // heads, cu_queries, groups, queries, BLOCK)
    if first >= end:
        return
    named = (group >= 0) & (group < groups) & (rows > 0)
    first_key = tl.maximum(tl.load(cu_keys + group, mask=named, other=0), 0)
    last_key = tl.minimum(tl.load(cu_keys + group + 1, mask=named, other=0), keys)

    WIDE: tl.constexpr = lse.dtype.element_ty
    BINARY: tl.constexpr = query.dtype.element_ty.primitive_bitwidth < 32  # else as exact as can be
    FACTOR: tl.constexpr = SCALE * LOG2_E if BINARY else SCALE
    TAIL_COLUMNS: tl.constexpr = TAIL if TAIL > 0 else 16
    number = first + tl.arange(0, BLOCK)  # [n]
    real = number < end
    query += head * query_head * UNIT
    key += head * key_head * UNIT
    value += head * value_head * UNIT
    offset = number.to(tl.int64) * (query_row * UNIT)
    query_main = load_part(query, offset, real, WIDTH, 0, MAIN, True)
    query_tail = query_main
    if TAIL > 0:
        query_tail = load_part(query, offset, real, WIDTH, MAIN, TAIL, True)

    peak = tl.full([BLOCK], float("-inf"), WIDE)
    total = tl.zeros([BLOCK], WIDE)
    out_main = tl.zeros([BLOCK, MAIN], WIDE)
    out_tail = tl.zeros([BLOCK, TAIL_COLUMNS], WIDE)
    strange = tl.zeros([BLOCK_KEYS], tl.int1)
    whole = first_key + tl.maximum(last_key - first_key, 0) // BLOCK_KEYS * BLOCK_KEYS
    for at in range(first_key, whole, BLOCK_KEYS):
        peak, total, out_main, out_tail, strange = _step(
            at, last_key, query_main, query_tail, peak, total, out_main, out_tail, strange,
            key, value, key_row * UNIT, value_row * UNIT, key_index, bias, rows,
            FACTOR, BINARY, BIASED, PRECISION, WIDTH, MAIN, TAIL, BLOCK_KEYS, False,
        )  # fmt: skip
    if whole < last_key:
        peak, total, out_main, out_tail, strange = _step(
            whole, last_key, query_main, query_tail, peak, total, out_main, out_tail, strange,
            key, value, key_row * UNIT, value_row * UNIT, key_index, bias, rows,
            FACTOR, BINARY, BIASED, PRECISION, WIDTH, MAIN, TAIL, BLOCK_KEYS, True,
        )  # fmt: skip

    # What a row that there is not would have been, nobody knows.
    total = tl.where(tl.max(strange.to(tl.int32), 0) > 0, float("nan"), total)
    total = tl.where(total == 0, 1.0, total)  # nothing was seen: 0, and the peak is -inf
    share = (1.0 / total)[:, None]
    offset = (number.to(tl.int64) * heads + head) * WIDTH
    store_part(out, offset, real, out_main * share, WIDTH, 0, MAIN)
    if TAIL > 0:
        store_part(out, offset, real, out_tail * share, WIDTH, MAIN, TAIL)
    sums = (peak / LOG2_E if BINARY else peak) + tl.log(total)
    tl.store(lse + number.to(tl.int64) * heads + head, sums, mask=real)
