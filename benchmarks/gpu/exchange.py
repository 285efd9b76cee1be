"""Exchange: a frame of so400m/14 at 378 px, of which a share has changed.

The tokens that stand still exchange the keys of those that do not: each takes its old one out and
puts the new one in. Baseline: all keys anew, which is what exchanging saves.

Letters: N tokens, H heads, d features of a head.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from patchgate import _ops


def cases(small: bool) -> list[Case]:
    return [_case(share, small) for share in (0.02, 0.1, 0.3)]


def _case(share: float, small: bool) -> Case:
    tokens, heads, width = (60, 2, 72) if small else (729, 16, 72)
    random = torch.Generator().manual_seed(0)
    new = max(1, round(tokens * share))
    query, key, value = torch.randn(2 * tokens, 3, heads, width, generator=random).unbind(1)
    still = torch.randperm(tokens, generator=random)[new:].sort().values
    # In and out again: however often it is called, sums stay what they are but for rounding.
    changed = torch.randint(0, 2 * tokens, (new,), generator=random).repeat_interleave(2)
    weight = torch.tensor([1.0, -1.0]).repeat(new)
    sums = torch.randn(tokens, heads, width, generator=random)
    total, shift = torch.ones(tokens, heads), torch.full((tokens, heads), 9.0)
    ends = [torch.tensor([0, n], dtype=torch.int32) for n in (len(still), len(changed))]
    inputs = (
        sums, total, shift, sums.clone() + 1, still, still, ends[0], query, key, value, changed,
        weight, ends[1], torch.ones(heads), width**-0.5,
    )  # fmt: skip
    row = heads * width * 4
    # Sums read and written, references and queries read; keys and values of the changed.
    moved = len(still) * (4 * row + 4 * heads * 4) + 2 * len(changed) * row
    work = Work(moved, float32=2 * len(still) * len(changed) * heads * width)
    name = f"{share:.0%} of {tokens} tokens changed, {width} features, float32"
    return Case("exchange", name, work, inputs, _exchange, agree=_close, baseline=_anew)


def _exchange(weighted: Tensor, total: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    distance = _ops.exchange(weighted, total, *rest)
    return distance, weighted, total


def _anew(*inputs: Any) -> tuple[Tensor, Tensor]:
    """Residual attention of the same tokens, to all keys of their frame."""
    _, _, _, _, token, _, ends, query, key, value, *_, scale = inputs
    every = torch.arange(inputs[0].shape[0], device=query.device)
    keys = torch.arange(2, dtype=torch.int32, device=query.device) * len(every)
    return _ops.residual_attention(query[token], key, value, ends, every, keys, None, scale)


def _close(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-4, equal_nan=True) for a, b in pairs)
