"""Residual attention and exchange on a GPU: what to time, against what, and what it must cost.

``measured()`` lists calls with the bytes that they must move (each input read once, each output
written once) and the operations of their products, a multiply and an add being two; whoever times
them has the floor from that. ``baseline`` names the call to be compared with. ``check()`` first:
each call against the one that it is compared with.

Letters: T frames, N tokens of a frame, H heads, d features of a head, K kept tokens of a frame, M
tokens, c exchanged keys.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from patchgate import _ops

WIDTHS = (64, 72, 80, 128)
FRAMES, TOKENS, HEADS = 32, 729, 16  # so400m/14 at 378 px, whose heads are of 72


class Measured(NamedTuple):
    """A call to time."""

    name: str
    call: Callable[[], Any]
    bytes: int
    operations: int
    baseline: str | None = None  # the name of another, and how much longer than it this may take
    at_most: float | None = None


def measured() -> Iterator[Measured]:
    """All calls, each made when it is asked for: memory is held for two at a time."""
    for width in WIDTHS:
        yield from whole_frames(width)
    yield kept_share(0.1)
    yield kept_share(0.01)
    for share in (0.02, 0.1):
        yield exchanged(share)


def whole_frames(width: int, dtype: torch.dtype = torch.bfloat16) -> list[Measured]:
    """Every token kept: SDPA over dense frames, and residual attention over the same."""
    query, key, value = _projections(FRAMES * TOKENS, width, dtype)
    index = torch.arange(FRAMES * TOKENS, device="cuda")
    dense = [x.unflatten(0, (FRAMES, TOKENS)).transpose(1, 2) for x in (query, key, value)]
    operations = 4 * FRAMES * HEADS * TOKENS * TOKENS * width
    floats = 4 * query.numel() * query.element_size()
    name = _dense_name(width)
    return [
        Measured(name, lambda: scaled_dot_product_attention(*dense), floats, operations),
        Measured(
            f"residual attention, all kept, {width} features",
            _attending(query, key, value, index, TOKENS),
            floats + index.numel() * 8 + query.shape[0] * HEADS * 4,
            operations,
            name,
            1.4 if width in (72, 80) else 1.1,
        ),
    ]


def kept_share(share: float, dtype: torch.dtype = torch.bfloat16) -> Measured:
    """so400m: a share of each frame is kept, and other keys are those of earlier frames. The bytes
    are of rows that are read once: how often they are read again, a cache decides.
    """
    width, kept = 72, max(1, round(TOKENS * share))
    rows = TOKENS + FRAMES * kept
    query, key, value = _projections(rows, width, dtype)
    index = shown(kept)
    floats = (2 * rows + 2 * FRAMES * kept) * HEADS * width * query.element_size()
    return Measured(
        f"residual attention, {share:.0%} kept, {width} features",
        _attending(query[TOKENS:], key, value, index, kept),
        floats + index.numel() * 8 + FRAMES * kept * HEADS * 4,
        4 * FRAMES * HEADS * kept * TOKENS * width,
        _dense_name(width),
        0.2 if share == 0.1 else None,
    )


def exchanged(share: float) -> Measured:
    """so400m, one frame: the tokens that stand still exchange the keys of those that do not."""
    width, new = 72, round(TOKENS * share)
    query, key, value = _projections(2 * TOKENS, width, torch.float32)
    still = torch.randperm(TOKENS, device="cuda")[new:].sort().values
    changed = torch.randint(0, 2 * TOKENS, (2 * new,), device="cuda")
    weight = torch.tensor([-1.0, 1.0], device="cuda").repeat(new)
    sums = torch.randn(TOKENS, HEADS, width, device="cuda")
    total, shift = torch.ones(TOKENS, HEADS, device="cuda"), torch.full_like(sums[..., 0], 9.0)
    ends = [torch.tensor([0, n], dtype=torch.int32, device="cuda") for n in (len(still), 2 * new)]
    numbers = HEADS * width * 4
    call = partial(
        _ops.exchange, sums, total, shift, sums.clone(), still, still, ends[0], query, key, value,
        changed, weight, ends[1], width**-0.5,
    )  # fmt: skip
    return Measured(
        f"exchange, {share:.0%} of a frame changed, {width} features",
        call,
        # Sums read and written, references and queries read; keys and values.
        len(still) * 4 * numbers + 2 * 2 * new * numbers,
        4 * len(still) * 2 * new * HEADS * width,
    )


def check() -> None:
    """Raises where residual attention is not what SDPA makes of the same frames."""
    for width in WIDTHS:
        dense, residual = (each.call() for each in whole_frames(width))
        expected = dense.transpose(1, 2).flatten(0, 1)
        torch.testing.assert_close(residual[0], expected, rtol=0.02, atol=0.02)  # bfloat16
    kept = round(TOKENS * 0.1)
    query, key, value = _projections(TOKENS + FRAMES * kept, 72, torch.bfloat16)
    index = shown(kept)
    got = _attending(query[TOKENS:], key, value, index, kept)()[0].unflatten(0, (FRAMES, kept))
    for t, rows in enumerate(index.view(FRAMES, TOKENS)):
        own = query[TOKENS + t * kept :][:kept]
        frame = (x.transpose(0, 1)[None] for x in (own, key[rows], value[rows]))
        expected = scaled_dot_product_attention(*frame)[0].transpose(0, 1)
        torch.testing.assert_close(got[t], expected, rtol=0.02, atol=0.02)


def shown(kept: int) -> Tensor:
    """Which row of the keys stands for each token of each frame, ``[T * N]``: those of N earlier
    tokens, then K new ones a frame, at random places.
    """
    random = torch.Generator().manual_seed(0)
    source, index = torch.arange(TOKENS), []
    for t in range(FRAMES):
        cells = torch.randperm(TOKENS, generator=random)[:kept]
        source = source.clone()
        source[cells] = TOKENS + t * kept + torch.arange(kept)
        index.append(source)
    return torch.cat(index).cuda()


def _dense_name(width: int) -> str:
    return f"SDPA, all kept, {width} features"


def _projections(rows: int, width: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Query, key and value ``[rows, H, d]``, as a fused projection leaves them."""
    return torch.randn(rows, 3, HEADS, width, device="cuda").to(dtype).unbind(1)


def _attending(
    query: Tensor, key: Tensor, value: Tensor, index: Tensor, kept: int
) -> Callable[[], tuple[Tensor, Tensor]]:
    """Residual attention of K queries a frame over its N tokens, ready to be called."""
    count = torch.arange(FRAMES + 1, dtype=torch.int32, device="cuda")
    ends, keys, scale = count * kept, count * TOKENS, query.shape[2] ** -0.5
    return lambda: _ops.residual_attention(query, key, value, ends, index, keys, None, scale)
