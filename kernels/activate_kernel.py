"""The kernels of activate.

The first computes how far each token's output moved in a frame. The second lets tokens become
active while there is room.

Letters: T frames, M tokens of a frame, H heads, d features of a head, E = H * d; m tokens at a
time.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["frame", "slots"])
def moved_kernel(
    out,  # [T * M, H, d]
    watched,  # [T, M] u8: tokens that may become active
    parent,  # [T, M]
    maker,  # [T, M]: whose output each token's state was made with
    wants,  # [M] u8
    made,  # [M]: of the token that each inherits from
    reach,  # [H]
    bound,  # [T, M]
    frame, tokens, slots,
    WIDTH: tl.constexpr, HEAD: tl.constexpr, BLOCK: tl.constexpr,  # E, d
):  # fmt: skip
    """Measures one token of a frame."""
    token = tl.program_id(0)
    slot = (frame * tokens + token).to(tl.int64)
    before = tl.load(parent + slot)
    before = tl.where((before >= 0) & (before < slots), before, slot)
    known = tl.load(maker + before)
    column = tl.arange(0, BLOCK)  # [E]
    new = tl.load(out + slot * WIDTH + column, mask=column < WIDTH, other=0.0)
    old = tl.load(out + known * WIDTH + column, mask=column < WIDTH, other=0.0)
    if out.dtype.element_ty.primitive_bitwidth < 32:
        new, old = new.to(tl.float32), old.to(tl.float32)
    change = (new - old) * tl.load(reach + column // HEAD, mask=column < WIDTH, other=0.0)
    far = tl.sqrt(tl.sum(change * change, 0)) > tl.load(bound + slot)
    tl.store(wants + token, (tl.load(watched + slot) != 0) & far)
    tl.store(made + token, known)


@triton.jit(do_not_specialize=["frame"])
def admit_kernel(
    active,  # [T, M] u8
    wants,  # [M] u8
    made,  # [M]
    maker,  # [T, M]
    fired,  # [T, M] u8
    left,  # [1]: tokens that there is room for
    late,  # [1]: tokens that there was no room for
    frame, tokens,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Admits the tokens of a frame, in their order."""
    room, more = tl.load(left), tl.load(late)
    for at in range(0, tokens, BLOCK):
        token = at + tl.arange(0, BLOCK)  # [m]
        real = token < tokens
        slot = (frame * tokens + token).to(tl.int64)
        wish = tl.load(wants + token, mask=real, other=0).to(tl.int64)
        fits = (wish > 0) & (tl.cumsum(wish, 0) <= room)
        own = (tl.load(active + slot, mask=real, other=0) != 0) | fits
        known = tl.load(made + token, mask=real, other=0)
        tl.store(maker + slot, tl.where(own, slot, known), mask=real)
        tl.store(fired + slot, fits, mask=real)
        some = tl.sum(fits.to(tl.int64), 0)
        more += tl.sum(wish, 0) - some
        room -= some
    tl.store(left, room)
    tl.store(late, more)
