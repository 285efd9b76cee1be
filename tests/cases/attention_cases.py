"""Random groups of queries and keys, and how exact residual attention must be on them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from patchgate import build_info, reference

op = torch.ops.patchgate.residual_attention
op_at = torch.ops.patchgate.residual_attention_level
SIMD = build_info()["simd"]
LEVELS = range(3 if "v4" in SIMD else 2 if "v3" in SIMD else 1)  # as in csrc/ops.cpp
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


class Case(NamedTuple):
    query: Tensor  # [R, H, d]
    key: Tensor  # [A, H, d]
    value: Tensor  # [A, H, d]
    cu_queries: Tensor  # [G + 1]
    key_index: Tensor  # [L]
    cu_keys: Tensor  # [G + 1]
    bias: Tensor | None  # [L]
    scale: float

    def to(self, dtype: torch.dtype) -> "Case":
        rows = (x.to(dtype) for x in self[:3])
        return Case(*rows, *self[3:])


def ends(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def make_case(
    queries: list[int],
    keys: list[int],
    heads: int = 2,
    width: int = 16,
    *,
    rows: int | None = None,
    biased: bool = True,
    spare: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Random groups of so many queries and keys; ``spare`` rows and index entries at the end."""
    total, rows = sum(keys), rows or max(1, sum(keys))
    query = torch.randn(sum(queries) + spare, heads, width)
    key, value = torch.randn(2, rows, heads, width).unbind()
    index = torch.cat([torch.randint(0, rows, (total,)), torch.full((spare,), -1)])
    bias = torch.randint(1, 9, (total + spare,)).float().log() if biased else None
    case = Case(query, key, value, ends(queries), index, ends(keys), bias, max(1, width) ** -0.5)
    return case.to(dtype)


def error(got: Tensor, exact: Tensor) -> float:
    """The largest difference, in float64; infinities must agree."""
    got = got.double()
    finite = exact.isfinite()
    assert torch.equal(got[~finite], exact[~finite])
    return (got - exact)[finite].abs().max().item() if finite.any() else 0.0


def check(case: Case, level: int | None = None, op: Callable[..., tuple[Tensor, ...]] = op) -> None:
    """At most twice as far from float64 as the plain torch computation in the same dtype."""
    got = op(*case) if level is None else op_at(*case, level)
    plain = reference.residual_attention(*case)
    exact = reference.residual_attention(*case.to(torch.float64))
    for mine, theirs, true in zip(got, plain, exact, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.shape == theirs.shape
        # Where plain torch happens to hit the exact result: four roundings of the largest number.
        # In float64 it is no judge of itself: a hundred.
        largest = true[true.isfinite()].abs().max().item() if true.isfinite().any() else 0.0
        roundings = 100 if mine.dtype == torch.float64 else 4
        least = roundings * torch.finfo(mine.dtype).eps * max(1.0, largest)
        assert error(mine, true) <= max(2 * error(theirs, true), least)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    groups = draw(st.integers(0, 6))
    queries = draw(st.lists(st.integers(0, 30), min_size=groups, max_size=groups))
    keys = draw(st.lists(st.integers(0, 70), min_size=groups, max_size=groups))
    return make_case(
        queries,
        keys,
        draw(st.integers(1, 4)),
        draw(st.integers(1, 50)),
        rows=draw(st.integers(1, 40)),
        biased=draw(st.booleans()),
        spare=draw(st.integers(0, 3)),
        dtype=draw(st.sampled_from(DTYPES)),
    )
