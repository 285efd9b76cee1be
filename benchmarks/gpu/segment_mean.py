"""Segment mean: 100,000 tokens of width 1152 into a fifth as many, by size."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gpu import Case
from gpu.floors import Work
from patchgate import _ops

WIDTH, SEGMENT = 1152, 5


def cases(small: bool) -> list[Case]:
    segments = 12 if small else 20_000
    made = [_case(segments, dtype) for dtype in (torch.bfloat16, torch.float32)]
    return [*made, _gradient(segments, torch.bfloat16)]


def _case(segments: int, dtype: torch.dtype) -> Case:
    inputs, work = _inputs(segments, dtype)
    rows, told = len(inputs[0]), str(dtype).removeprefix("torch.")
    return Case(
        "segment_mean", f"{rows} tokens into {segments}, {told}", work, inputs, _ops.segment_mean,
        agree=_near, baseline=_index_add,
    )  # fmt: skip


def _gradient(segments: int, dtype: torch.dtype) -> Case:
    inputs, work = _inputs(segments, dtype)
    random = torch.Generator().manual_seed(1)
    grad, out = torch.randn(2, segments, WIDTH, generator=random).to(dtype).unbind()
    # Every token's features are read for the gradient of its weight, and its own is written.
    twice = Work(2 * work.bytes, float32=3 * work.float32)
    told = f"gradients, {len(inputs[0])} tokens into {segments}"
    return Case(
        "segment_mean", f"{told}, {str(dtype).removeprefix('torch.')}", twice,
        (grad, *inputs, out), torch.ops.patchgate.segment_mean_backward, agree=_close,
        kernel="segment_mean_backward",
    )  # fmt: skip


def _inputs(segments: int, dtype: torch.dtype) -> tuple[tuple[Tensor, ...], Work]:
    """Segments of 1 to 9 tokens that lie anywhere, as merging has them."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 2 * SEGMENT, (segments,), generator=random)
    ends = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()
    rows = int(ends[-1])
    features = torch.randn(rows, WIDTH, generator=random).to(dtype)
    weight = torch.randint(1, 30, (rows,), generator=random).float()
    index = torch.randperm(rows, generator=random)
    moved = (rows + segments) * WIDTH * features.element_size() + rows * 12 + 4 * (segments + 1)
    return (features, weight, index, ends), Work(moved, float32=rows * WIDTH)


def _near(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Sums of a few rows, in float32 whatever their order, rounded once."""
    return all(
        torch.allclose(a.float(), b.float(), rtol=2 * torch.finfo(a.dtype).eps, atol=1e-5)
        for a, b in zip(ours, theirs, strict=True)
    )


def _close(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """To some roundings of the largest number: of bfloat16, and of sums of 1152 in float32."""
    return all(
        bool((a.float() - b.float()).abs().max() <= (1e-4 if a.dtype == torch.float32 else 0.01)
             * max(1.0, float(b.abs().max())))
        for a, b in zip(ours, theirs, strict=True)
    )  # fmt: skip


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
