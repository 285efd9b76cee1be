"""The kernels of residual attention's gradients: one goes from queries to keys, one from keys to
queries, and both take the weights back from the log-sum-exp (FlashAttention, arXiv 2205.14135).

Of scores ``s`` the weights are ``w = exp(s - lse)`` and the gradients ``slope = w * (grad @ value -
mean)``; then ``d query = scale * slope @ key``, ``d key = scale * slope.T @ query``,
``d value = w.T @ grad``, ``d bias = slope`` summed over queries and heads.

Letters: R queries, A rows of keys, G groups, L keys of all groups, H heads, d features of a head;
n queries and m keys of a tile, c columns of a part.
"""

import triton
import triton.language as tl

from patchgate.kernels.attention_tiles import dot, find_tile, load_part, store_part


@triton.jit
def _product(
    main, tail,  # [n, c] each
    rows,  # [., d] of one head
    offset, real,  # [m] each
    PRECISION: tl.constexpr, WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """The scores of two blocks of rows, one at hand and one to be loaded, ``[n, m]``."""
    part = load_part(rows, offset, real, WIDTH, 0, MAIN, True)
    product = dot(main, tl.trans(part), PRECISION)
    if TAIL > 0:
        part = load_part(rows, offset, real, WIDTH, MAIN, TAIL, True)
        product += dot(tail, tl.trans(part), PRECISION)
    return product


@triton.jit
def _weighted(
    sum_main, sum_tail,  # [n, c] each
    factor,  # [n, m]
    rows,  # [., d] of one head
    offset, real,  # [m] each
    PRECISION: tl.constexpr, WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """Adds ``factor @ rows``."""
    part = load_part(rows, offset, real, WIDTH, 0, MAIN, True)
    factor = factor.to(part.dtype)
    sum_main += dot(factor, part, PRECISION)
    if TAIL > 0:
        part = load_part(rows, offset, real, WIDTH, MAIN, TAIL, True)
        sum_tail += dot(factor, part, PRECISION)
    return sum_main, sum_tail


@triton.jit
def _both_parts(
    rows,  # [., d] of one head
    offset, real,  # [n] each
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    main = load_part(rows, offset, real, WIDTH, 0, MAIN, True)
    tail = main
    if TAIL > 0:
        tail = load_part(rows, offset, real, WIDTH, MAIN, TAIL, True)
    return main, tail


@triton.jit(do_not_specialize=["queries", "rows", "keys", "groups"])
def query_kernel(
    grad_out,  # [R, H, d]
    mean, lse,  # [R, H] each
    query,  # [R, H, d]
    key, value,  # [A, H, d]
    cu_queries,  # [G + 1]
    key_index,  # [L]
    cu_keys,  # [G + 1]
    bias,  # [L]
    grad_query,  # [R, H, d]
    queries, rows, keys, groups, heads,
    grad_row, grad_head, query_row, query_head, key_row, key_head, value_row, value_head,
    UNIT: tl.constexpr, SCALE: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_KEYS: tl.constexpr,
):  # fmt: skip
    """A tile of queries in one head goes over the keys of its group."""
    head = (tl.program_id(0) % heads).to(tl.int64)
    group, first, end = find_tile(tl.program_id(0) // heads, cu_queries, groups, queries, BLOCK)
    if first >= end:
        return
    named = (group >= 0) & (group < groups) & (rows > 0)
    first_key = tl.maximum(tl.load(cu_keys + group, mask=named, other=0), 0)
    last_key = tl.minimum(tl.load(cu_keys + group + 1, mask=named, other=0), keys)

    WIDE: tl.constexpr = lse.dtype.element_ty
    TAIL_COLUMNS: tl.constexpr = TAIL if TAIL > 0 else 16
    number = (first + tl.arange(0, BLOCK)).to(tl.int64)  # [n]
    real = number < end
    key += head * key_head * UNIT
    value += head * value_head * UNIT
    query_main, query_tail = _both_parts(
        query + head * query_head * UNIT, number * (query_row * UNIT), real, WIDTH, MAIN, TAIL
    )
    grad_main, grad_tail = _both_parts(
        grad_out + head * grad_head * UNIT, number * (grad_row * UNIT), real, WIDTH, MAIN, TAIL
    )
    sums = tl.load(lse + number * heads + head, mask=real, other=float("inf"))
    sums = tl.where(sums == float("-inf"), float("inf"), sums)  # no keys: weights of 0
    middle = tl.load(mean + number * heads + head, mask=real, other=0.0)

    out_main = tl.zeros([BLOCK, MAIN], WIDE)
    out_tail = tl.zeros([BLOCK, TAIL_COLUMNS], WIDE)
    strange = tl.zeros([BLOCK_KEYS], tl.int1)
    for at in range(first_key, last_key, BLOCK_KEYS):
        entry = at + tl.arange(0, BLOCK_KEYS)  # [m]
        there = entry < last_key
        row = tl.load(key_index + entry, mask=there, other=0)
        outside = (row < 0) | (row >= rows)
        strange |= outside
        row = tl.where(outside, 0, row)
        key_offset, value_offset = row * (key_row * UNIT), row * (value_row * UNIT)
        scores = SCALE * _product(
            query_main, query_tail, key, key_offset, there, PRECISION, WIDTH, MAIN, TAIL
        )
        if BIASED:
            scores += tl.load(bias + entry, mask=there, other=0.0)[None, :]
        weights = tl.exp(tl.where(there[None, :], scores, float("-inf")) - sums[:, None])
        slope = _product(
            grad_main, grad_tail, value, value_offset, there, PRECISION, WIDTH, MAIN, TAIL
        )
        slope = weights * (slope - middle[:, None])  # [n, m]
        out_main, out_tail = _weighted(
            out_main, out_tail, slope, key, key_offset, there, PRECISION, WIDTH, MAIN, TAIL
        )

    spoilt = tl.where(tl.max(strange.to(tl.int32), 0) > 0, float("nan"), 0.0)
    offset = (number * heads + head) * WIDTH
    store_part(grad_query, offset, real, out_main * SCALE + spoilt, WIDTH, 0, MAIN)
    if TAIL > 0:
        store_part(grad_query, offset, real, out_tail * SCALE + spoilt, WIDTH, MAIN, TAIL)


@triton.jit
def _put(
    rows,  # [., H, d], of one head
    offset, real,  # [m] each
    main, tail,  # [m, c] each
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr, ADDED: tl.constexpr,
):  # fmt: skip
    """Adds to rows that other programs add to, or writes rows of one's own."""
    if ADDED:
        column = tl.arange(0, MAIN)
        mask = real[:, None] & (column < WIDTH)[None, :]
        tl.atomic_add(rows + offset[:, None] + column[None, :], main, mask=mask, sem="relaxed")
        if TAIL > 0:
            column = MAIN + tl.arange(0, TAIL)
            mask = real[:, None] & (column < WIDTH)[None, :]
            tl.atomic_add(rows + offset[:, None] + column[None, :], tail, mask=mask, sem="relaxed")
    else:
        store_part(rows, offset, real, main, WIDTH, 0, MAIN)
        if TAIL > 0:
            store_part(rows, offset, real, tail, WIDTH, MAIN, TAIL)


@triton.jit(do_not_specialize=["queries", "rows", "keys", "groups"])
def key_kernel(
    grad_out,  # [R, H, d]
    mean, lse,  # [R, H] each
    query,  # [R, H, d]
    key, value,  # [A, H, d]
    cu_queries,  # [G + 1]
    key_index,  # [L]
    cu_keys,  # [G + 1]
    bias,  # [L]
    grad_key, grad_value,  # [A, H, d] that is 0 (ADDED), or [L, H, d]
    grad_bias,  # [H, L]
    queries, rows, keys, groups, heads,
    grad_row, grad_head, query_row, query_head, key_row, key_head, value_row, value_head,
    UNIT: tl.constexpr, SCALE: tl.constexpr, BIASED: tl.constexpr, PRECISION: tl.constexpr,
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_KEYS: tl.constexpr, ADDED: tl.constexpr,
):  # fmt: skip
    """A tile of keys in one head goes over the queries of its group."""
    head = (tl.program_id(0) % heads).to(tl.int64)
    group, first, end = find_tile(tl.program_id(0) // heads, cu_keys, groups, keys, BLOCK_KEYS)
    if first >= end:
        return
    named = (group >= 0) & (group < groups)
    first_query = tl.maximum(tl.load(cu_queries + group, mask=named, other=0), 0)
    last_query = tl.minimum(tl.load(cu_queries + group + 1, mask=named, other=0), queries)

    WIDE: tl.constexpr = lse.dtype.element_ty
    TAIL_COLUMNS: tl.constexpr = TAIL if TAIL > 0 else 16
    entry = first + tl.arange(0, BLOCK_KEYS)  # [m]
    inside = entry < end
    row = tl.load(key_index + entry, mask=inside, other=0)
    real = tl.where(named, inside & (row >= 0) & (row < rows), False)
    query += head * query_head * UNIT
    grad_out += head * grad_head * UNIT
    key_main, key_tail = _both_parts(
        key + head * key_head * UNIT, row * (key_row * UNIT), real, WIDTH, MAIN, TAIL
    )
    value_main, value_tail = _both_parts(
        value + head * value_head * UNIT, row * (value_row * UNIT), real, WIDTH, MAIN, TAIL
    )
    if BIASED:
        added = tl.load(bias + entry, mask=real, other=0.0)

    key_out = tl.zeros([BLOCK_KEYS, MAIN], WIDE)
    key_rest = tl.zeros([BLOCK_KEYS, TAIL_COLUMNS], WIDE)
    value_out = tl.zeros([BLOCK_KEYS, MAIN], WIDE)
    value_rest = tl.zeros([BLOCK_KEYS, TAIL_COLUMNS], WIDE)
    slopes = tl.zeros([BLOCK_KEYS], WIDE)
    for at in range(first_query, last_query, BLOCK):
        number = (at + tl.arange(0, BLOCK)).to(tl.int64)  # [n]
        there = number < last_query
        sums = tl.load(lse + number * heads + head, mask=there, other=float("inf"))
        sums = tl.where(sums == float("-inf"), float("inf"), sums)
        middle = tl.load(mean + number * heads + head, mask=there, other=0.0)
        query_offset, grad_offset = number * (query_row * UNIT), number * (grad_row * UNIT)
        scores = SCALE * _product(
            key_main, key_tail, query, query_offset, there, PRECISION, WIDTH, MAIN, TAIL
        )
        if BIASED:
            scores += added[:, None]
        weights = tl.exp(tl.where(real[:, None], scores, float("-inf")) - sums[None, :])  # [m, n]
        value_out, value_rest = _weighted(
            value_out, value_rest, weights, grad_out, grad_offset, there,
            PRECISION, WIDTH, MAIN, TAIL,
        )  # fmt: skip
        slope = _product(
            value_main, value_tail, grad_out, grad_offset, there, PRECISION, WIDTH, MAIN, TAIL
        )
        slope = weights * (slope - middle[None, :])
        key_out, key_rest = _weighted(
            key_out, key_rest, slope, query, query_offset, there, PRECISION, WIDTH, MAIN, TAIL
        )
        slopes += tl.sum(slope, 1)

    where = inside
    place = entry.to(tl.int64)
    if ADDED:
        where, place = real, row
    offset = (place * heads + head) * WIDTH
    _put(grad_key, offset, where, key_out * SCALE, key_rest * SCALE, WIDTH, MAIN, TAIL, ADDED)
    _put(grad_value, offset, where, value_out, value_rest, WIDTH, MAIN, TAIL, ADDED)
    if BIASED:
        tl.store(grad_bias + head * keys + entry, slopes, mask=inside)
