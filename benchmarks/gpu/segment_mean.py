"""Segment mean: 100,000 tokens of width 1152 into a fifth as many, by size."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from patchgate import _ops

WIDTH, SEGMENT = 1152, 5


def cases(small: bool) -> list[Case]:
    segments = 40 if small else 20_000
    return [_case(segments, dtype) for dtype in (torch.bfloat16, torch.float32)]


def _case(segments: int, dtype: torch.dtype) -> Case:
    """Segments of 1 to 9 tokens that lie anywhere, as merging has them."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 2 * SEGMENT, (segments,), generator=random)
    ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()
    rows = int(ends[-1])
    features = torch.randn(rows, WIDTH, generator=random).to(dtype)
    weight = torch.randint(1, 30, (rows,), generator=random).float()
    index = torch.randperm(rows, generator=random)
    moved = (rows + segments) * WIDTH * features.element_size() + rows * 12 + 4 * (segments + 1)
    told = str(dtype).removeprefix("torch.")
    return Case(
        "segment_mean", f"{rows} tokens into {segments}, {told}",
        Work(moved, float32=rows * WIDTH), (features, weight, index, ends), _ops.segment_mean,
        agree=_near, baseline=_index_add,
    )  # fmt: skip


def _near(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Sums of a few rows, in float32 whatever their order, rounded once."""
    return all(
        torch.allclose(a.float(), b.float(), rtol=2 * torch.finfo(a.dtype).eps, atol=1e-5)
        for a, b in zip(ours, theirs, strict=True)
    )


def _index_add(features: Tensor, weight: Tensor, index: Tensor, ends: Tensor) -> Tensor:
    """The same in plain torch."""
    lengths = ends.diff().long()
    segment = torch.arange(len(lengths), device=ends.device).repeat_interleave(
        lengths, output_size=len(index)
    )
    weighted = features[index].float() * weight[index, None]
    sums = weighted.new_zeros((len(lengths), features.shape[1])).index_add(0, segment, weighted)
    totals = weight.new_zeros(len(lengths)).index_add(0, segment, weight[index])
    return (sums / totals[:, None]).to(features.dtype)
