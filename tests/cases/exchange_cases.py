"""Random softmaxes with keys to exchange, and how exact the exchange op must be on them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from attention_cases import ends
from hypothesis import strategies as st
from torch import Tensor

from patchgate import reference

op = torch.ops.patchgate.exchange
op_at = torch.ops.patchgate.exchange_level
DTYPES = [torch.float32, torch.float64]


class Case(NamedTuple):
    weighted: Tensor  # [M, H, d]
    total: Tensor  # [M, H]
    shift: Tensor  # [M, H]
    reference: Tensor  # [M, H, d]
    token: Tensor  # [n]
    row: Tensor  # [n]
    cu_tokens: Tensor  # [G + 1]
    query: Tensor  # [r, H, d]
    key: Tensor  # [r, H, d]
    value: Tensor  # [r, H, d]
    changed: Tensor  # [c]
    weight: Tensor  # [c]
    cu_changed: Tensor  # [G + 1]
    reach: Tensor  # [H]
    scale: float

    def to(self, dtype: torch.dtype) -> "Case":
        """A copy: the op changes the first two."""
        floats = (x.to(dtype).clone() if torch.is_tensor(x) and x.is_floating_point() else x
                  for x in self)  # fmt: skip
        return Case(*floats)


def make_case(
    tokens: list[int],
    keys: list[int],
    heads: int = 2,
    width: int = 16,
    *,
    rows: int = 30,
    spare: int = 3,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Groups of so many tokens and exchanged keys; ``spare`` tokens that exchange none."""
    n, c, m = sum(tokens), sum(keys), sum(tokens) + spare
    query, key, value = torch.randn(3, rows, heads, width).unbind()
    total = 1 + torch.rand(m, heads)
    # So that denominators stay far from 0: near it any rounding is magnified.
    shift = 2 + torch.tensor(1.0 + max(keys, default=0)).log() + torch.rand(m, heads)
    case = Case(
        torch.randn(m, heads, width), total, shift,
        torch.randn(m, heads, width), torch.randperm(m)[:n], torch.randint(0, rows, (n,)),
        ends(tokens), query, key, value, torch.randint(0, rows, (c,)),
        torch.tensor([-2.0, -1.0, 1.0, 2.0])[torch.randint(0, 4, (c,))], ends(keys),
        0.5 + torch.rand(heads), max(1, width) ** -0.5,
    )  # fmt: skip
    return case.to(dtype)


def results(call: Callable[..., Tensor], case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Numerators, denominators, how far the tokens moved."""
    case = case.to(case.weighted.dtype)
    moved = call(*case)
    return case.weighted, case.total, moved


def assert_same(got: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    """To the bit, NaN included."""
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


def error(got: Tensor, exact: Tensor) -> float:
    """The largest difference, in float64; NaN must agree."""
    got = got.double()
    assert torch.equal(got.isnan(), exact.isnan())
    return (got - exact).nan_to_num().abs().max().item() if got.numel() else 0.0


def check(case: Case, level: int | None = None, op: Callable[..., Tensor] = op) -> None:
    """At most twice as far from float64 as the plain torch computation in the same dtype."""
    mine = results(op if level is None else lambda *args: op_at(*args, level), case)
    plain = results(reference.exchange, case)
    exact = results(reference.exchange, case.to(torch.float64))
    untouched = torch.ones(len(case.total), dtype=torch.bool)
    untouched[case.token] = False
    assert torch.equal(mine[0][untouched], case.weighted[untouched])
    assert torch.equal(mine[1][untouched], case.total[untouched])
    # Where plain torch happens to hit the exact result: some roundings of the largest number.
    eps = torch.finfo(case.weighted.dtype).eps
    for got, theirs, true in zip(mine, plain, exact, strict=True):
        assert got.dtype == theirs.dtype
        assert got.shape == theirs.shape
        finite = true[true.isfinite()]
        largest = finite.abs().max().item() if finite.numel() else 0.0
        roundings = 100 if got.dtype == torch.float64 else 8
        assert error(got, true) <= max(2 * error(theirs, true), roundings * eps * max(1, largest))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    groups = draw(st.integers(0, 4))
    count = st.lists(st.integers(0, 40), min_size=groups, max_size=groups)
    return make_case(
        draw(count),
        draw(count),
        draw(st.integers(1, 4)),
        draw(st.integers(1, 70)),
        rows=draw(st.integers(1, 50)),
        spare=draw(st.integers(0, 3)),
        dtype=draw(st.sampled_from(DTYPES)),
    )
