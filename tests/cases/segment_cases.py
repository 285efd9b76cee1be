"""Segments to average, and how far their means may be off.

Letters: A rows, D features, L entries of an index, G segments.
"""

from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from patchgate import reference

op = torch.ops.patchgate.segment_mean
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Case(NamedTuple):
    features: Tensor  # [A, D]
    weight: Tensor | None  # [A]
    index: Tensor  # [L]
    cu_segments: Tensor  # [G + 1]

    def to(self, dtype: torch.dtype) -> "Case":
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        weight = None if self.weight is None else self.weight.to(wide)
        return Case(self.features.to(dtype), weight, self.index, self.cu_segments)


def make_case(
    lengths: list[int], width: int = 5, rows: int = 9, weighted: bool = True, spare: int = 0
) -> Case:
    """Random segments of so many rows; ``spare`` entries of the index at both ends name no row."""
    none = torch.full((spare,), -1)
    index = torch.cat([none, torch.randint(0, rows, (sum(lengths),)), none])
    ends = torch.tensor([0, *lengths]).cumsum(0).int() + spare
    weight = torch.randint(1, 9, (rows,)).float() if weighted else None
    return Case(torch.randn(rows, width), weight, index, ends)


def check(case: Case, run: Any = op) -> None:
    """At most twice as far from float64 as the plain torch computation in the same dtype."""
    got, plain = run(*case), reference.segment_mean(*case)
    exact = reference.segment_mean(*case.to(torch.float64))
    assert got.dtype == plain.dtype
    assert got.shape == plain.shape
    error, theirs = ((x.double() - exact).abs().max() if x.numel() else 0 for x in (got, plain))
    least = 4 * torch.finfo(got.dtype).eps * max(1.0, float(case.features.abs().max()))
    assert error <= max(2 * theirs, least)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    lengths = draw(st.lists(st.integers(0, 20), max_size=8))
    width, rows = draw(st.sampled_from([0, 1, 5, 600])), draw(st.integers(1, 12))
    case = make_case(lengths, width, rows, draw(st.booleans()), draw(st.integers(0, 2)))
    return case.to(draw(st.sampled_from(DTYPES)))
