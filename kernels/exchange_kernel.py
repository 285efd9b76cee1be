"""The kernels of exchange: tiles of tokens of one group and one head go over the group's exchanged
keys and add to the running sums what those change; then, how far the tokens moved over all heads.

Letters: M tokens, n of them that exchange keys, G groups, c exchanged keys, r rows, H heads, d
features of a head; t tokens of a tile, m keys of a block.
"""

import triton
import triton.language as tl

from patchgate.kernels.attention_tiles import dot, find_tile, load_part, store_part

_MOST_EXPONENT = tl.constexpr(80.0)  # as in patchgate.reference.exchange
_LEAST, _MOST = tl.constexpr(0.25), tl.constexpr(4.0)


@triton.jit
def _step(
    at,
    last_key,
    query_main, query_tail,  # [t, c] each
    shift,  # [t]
    sums, out_main, out_tail, strange,  # [t], [t, c] x 2, [m]: what is added
    key, value,  # [r, d] of one head
    key_row, value_row,
    changed,  # [c]
    weight,  # [c]
    rows,
    SCALE: tl.constexpr, PRECISION: tl.constexpr,
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr, BLOCK_KEYS: tl.constexpr,
):  # fmt: skip
    """Adds the changes by a block of exchanged keys."""
    entry = at + tl.arange(0, BLOCK_KEYS)  # [m]
    real = entry < last_key
    row = tl.load(changed + entry, mask=real, other=0)
    outside = (row < 0) | (row >= rows)
    strange |= real & outside
    row = tl.where(outside, 0, row)
    times = tl.load(weight + entry, mask=real, other=0.0)  # [m]

    offset = row * key_row
    part = load_part(key, offset, real, WIDTH, 0, MAIN, True)
    scores = dot(query_main, tl.trans(part), PRECISION)  # [t, m]
    if TAIL > 0:
        part = load_part(key, offset, real, WIDTH, MAIN, TAIL, True)
        scores += dot(query_tail, tl.trans(part), PRECISION)
    exponent = scores * SCALE - shift[:, None]  # [t, m]
    # All of these comparisons are false for NaN, which stays NaN.
    exponent = tl.where(exponent > _MOST_EXPONENT, _MOST_EXPONENT, exponent)
    factor = tl.where(real[None, :], tl.exp(exponent) * times[None, :], 0.0)
    sums += tl.sum(factor, 1)

    offset = row * value_row
    out_main += dot(factor, load_part(value, offset, real, WIDTH, 0, MAIN, True), PRECISION)
    if TAIL > 0:
        part = load_part(value, offset, real, WIDTH, MAIN, TAIL, True)
        out_tail += dot(factor, part, PRECISION)
    return sums, out_main, out_tail, strange


@triton.jit
def _bring_up_to_date(
    weighted,  # [M, H, d]
    reference,  # [M, H, d]
    offset,  # [t]
    real,  # [t]
    added,  # [t, c]
    share,  # [t]: 1 / total
    WIDTH: tl.constexpr, FIRST: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """The new sums of a part of the features, and squares of how far they moved ``[t]``."""
    new = load_part(weighted, offset, real, WIDTH, FIRST, COLUMNS, True) + added
    store_part(weighted, offset, real, new, WIDTH, FIRST, COLUMNS)
    known = load_part(reference, offset, real, WIDTH, FIRST, COLUMNS, True)
    moved = new * share[:, None] - known
    return tl.sum(moved * moved, 1)


@triton.jit(do_not_specialize=["all_tokens", "tokens", "queries", "rows", "keys", "groups"])
def exchange_kernel(
    weighted,  # [M, H, d]
    total, shift,  # [M, H] each
    reference,  # [M, H, d]
    token, row,  # [n] each
    cu_tokens,  # [G + 1]
    query, key, value,  # [r, H, d] each
    changed, weight,  # [c] each
    cu_changed,  # [G + 1]
    reach,  # [H]
    squares,  # [H, n]: of how far each head moved a token (NaN: not to be trusted)
    all_tokens, tokens, queries, rows, keys, groups, heads,
    query_row, query_head, key_row, key_head, value_row, value_head,  # strides, in UNIT
    UNIT: tl.constexpr, SCALE: tl.constexpr, PRECISION: tl.constexpr,
    WIDTH: tl.constexpr, MAIN: tl.constexpr, TAIL: tl.constexpr,
    BLOCK: tl.constexpr, BLOCK_KEYS: tl.constexpr,
):  # fmt: skip
    """Updates one tile of tokens in one head."""
    head = (tl.program_id(0) % heads).to(tl.int64)
    group, first, end = find_tile(tl.program_id(0) // heads, cu_tokens, groups, tokens, BLOCK)
    if first >= end:
        return
    named = (group >= 0) & (group < groups) & (rows > 0)
    first_key = tl.maximum(tl.load(cu_changed + group, mask=named, other=0), 0)
    last_key = tl.minimum(tl.load(cu_changed + group + 1, mask=named, other=0), keys)

    WIDE: tl.constexpr = weighted.dtype.element_ty
    TAIL_COLUMNS: tl.constexpr = TAIL if TAIL > 0 else 16
    entry = first + tl.arange(0, BLOCK)  # [t]
    inside = entry < end
    own = tl.load(token + entry, mask=inside, other=0)
    asked = tl.load(row + entry, mask=inside, other=0)
    lost = (own < 0) | (own >= all_tokens) | (asked < 0) | (asked >= queries)
    real = inside & (lost == 0)
    at = own * heads + head  # [t]: of a token's numbers in this head
    before = tl.load(total + at, mask=real, other=1.0)
    known_shift = tl.load(shift + at, mask=real, other=0.0)
    query += head * query_head * UNIT
    key += head * key_head * UNIT
    value += head * value_head * UNIT
    offset = asked * (query_row * UNIT)
    query_main = load_part(query, offset, real, WIDTH, 0, MAIN, True)
    query_tail = query_main
    if TAIL > 0:
        query_tail = load_part(query, offset, real, WIDTH, MAIN, TAIL, True)

    sums = tl.zeros([BLOCK], WIDE)
    out_main = tl.zeros([BLOCK, MAIN], WIDE)
    out_tail = tl.zeros([BLOCK, TAIL_COLUMNS], WIDE)
    strange = tl.zeros([BLOCK_KEYS], tl.int1)
    for block in range(first_key, last_key, BLOCK_KEYS):
        sums, out_main, out_tail, strange = _step(
            block, last_key, query_main, query_tail, known_shift,
            sums, out_main, out_tail, strange, key, value, key_row * UNIT, value_row * UNIT,
            changed, weight, rows, SCALE, PRECISION, WIDTH, MAIN, TAIL, BLOCK_KEYS,
        )  # fmt: skip

    # The change by a key that does not exist is unknown.
    sums = tl.where(tl.max(strange.to(tl.int32), 0) > 0, float("nan"), sums)
    new = before + sums
    tl.store(total + at, new, mask=real)
    share = 1.0 / new
    moved = _bring_up_to_date(
        weighted, reference, at * WIDTH, real, out_main, share, WIDTH, 0, MAIN
    )
    if TAIL > 0:
        moved += _bring_up_to_date(
            weighted, reference, at * WIDTH, real, out_tail, share, WIDTH, MAIN, TAIL
        )
    gain = tl.load(reach + head)
    trusted = real & (new > _LEAST) & (new < _MOST)
    moved = tl.where(trusted, gain * gain * moved, float("nan"))
    tl.store(squares + head * tokens + entry, moved, mask=inside)


@triton.jit(do_not_specialize=["tokens"])
def distance_kernel(
    squares,  # [H, n]
    distance,  # [n]
    tokens, heads,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The norms over all heads."""
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)  # [t]
    real = entry < tokens
    moved = tl.zeros([BLOCK], squares.dtype.element_ty)
    at = squares + entry
    for _ in range(0, heads):
        moved += tl.load(at, mask=real, other=0.0)
        at += tokens
    tl.store(distance + entry, tl.sqrt(moved), mask=real)
