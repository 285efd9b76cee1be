"""exchange: keys of a running softmax are replaced; against plain torch, and from scratch."""

import pytest
import torch
import torch.nn.functional as F
from attention_cases import LEVELS, ends
from exchange_cases import (
    DTYPES,
    Case,
    assert_same,
    cases,
    check,
    error,
    make_case,
    op,
    op_at,
    results,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchgate import reference

levels = pytest.mark.parametrize("level", LEVELS)


@given(cases())
@settings(max_examples=150)
def test_op_is_as_exact_as_plain_torch(case: Case) -> None:
    check(case)


@given(cases(), st.sampled_from(LEVELS))
@settings(max_examples=150)
def test_every_instruction_set_is_as_exact(case: Case, level: int) -> None:
    check(case, level)


@levels
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "keys", "heads", "width"), [
    ([180], [37], 12, 64), ([700], [300], 2, 72), ([1], [1], 1, 1), ([3], [16], 2, 32),
    ([0], [5], 2, 8), ([7], [0], 2, 8), ([], [], 2, 8), ([4, 0, 9], [5, 7, 0], 1, 80),
    ([2], [3], 2, 0), ([2], [3], 0, 8),
])  # fmt: skip
def test_sizes(tokens, keys, heads, width, dtype, level):
    check(make_case(tokens, keys, heads, width, rows=400, dtype=dtype), level)


def attended(query: Tensor, key: Tensor, value: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    scores = torch.einsum("nhd,khd->nhk", query, key) * scale
    out = torch.einsum("nhk,khd->nhd", scores.softmax(2), value)
    return out.contiguous(), scores.logsumexp(2)


@given(st.integers(1, 30), st.integers(1, 10), st.integers(0, 99))
@settings(max_examples=50)
def test_exchanged_keys_are_those_of_a_fresh_softmax(tokens: int, keys: int, seed: int) -> None:
    """From the definition: attention over the keys before, then over the keys after."""
    random = torch.Generator().manual_seed(seed)
    query, key, value = torch.randn(3, 60, 2, 24, generator=random, dtype=torch.float64).unbind()
    before = torch.randint(0, 60, (40,), generator=random)
    after = before.clone()
    after[:keys] = torch.randint(0, 60, (keys,), generator=random)
    weight = after.bincount(minlength=60) - before.bincount(minlength=60)
    changed = weight.nonzero().flatten()
    row, scale, reach = torch.arange(tokens), 24**-0.5, torch.tensor([0.5, 3.0]).double()
    old, lse = attended(query[row], key[before], value[before], scale)
    new, _ = attended(query[row], key[after], value[after], scale)
    weighted, total = old.clone(), torch.ones_like(lse)
    distance = op(
        weighted, total, lse, old, torch.arange(tokens), row, ends([tokens]), query, key, value,
        changed, weight[changed].double(), ends([len(changed)]), reach, scale,
    )  # fmt: skip
    torch.testing.assert_close(weighted / total[..., None], new, rtol=1e-9, atol=1e-9)
    moved = ((new - old).norm(dim=2) * reach).norm(dim=1)
    torch.testing.assert_close(distance, moved, rtol=1e-9, atol=1e-9)


def test_rounding_does_not_gather() -> None:
    """After 300 exchanges in float32 (anew every 64), little farther from float64 than fresh."""
    m, heads, width, scale = 64, 4, 64, 64**-0.5
    key, value = torch.randn(2, 400, heads, width).unbind()
    query = torch.randn(m, heads, width)
    rows, token = torch.arange(m), torch.arange(m)
    out, lse = attended(query, key[rows], value[rows], scale)
    weighted, total = out.clone(), torch.ones_like(lse)
    old_error = new_error = 0.0
    for t in range(300):
        if t % 64 == 63:
            weighted, lse = attended(query, key[rows], value[rows], scale)
            total = torch.ones_like(lse)
        after = rows.clone()
        after[torch.randperm(m)[:6]] = torch.randint(0, 400, (6,))
        weight = after.bincount(minlength=400) - rows.bincount(minlength=400)
        changed, rows = weight.nonzero().flatten(), after
        distance = op(
            weighted, total, lse, out, token, token, ends([m]), query, key, value, changed,
            weight[changed].float(), ends([len(changed)]), torch.ones(heads), scale,
        )  # fmt: skip
        useless = distance.isnan()
        fresh, fresh_lse = attended(query, key[rows], value[rows], scale)
        weighted[useless], lse[useless], total[useless] = fresh[useless], fresh_lse[useless], 1.0
        exact, _ = attended(query.double(), key[rows].double(), value[rows].double(), scale)
        old_error = max(old_error, error(fresh, exact))
        new_error = max(new_error, error(weighted / total[..., None], exact))
    assert new_error < 20 * old_error
    assert new_error < 1e-5


@levels
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_cannot_be_trusted_is_nan(dtype: torch.dtype, level: int) -> None:
    case = make_case([6], [0], 2, 8, dtype=dtype)._replace(token=torch.arange(6))
    case.total[0, 1], case.total[1, 0], case.total[2, 0] = 0.25, 4.0, torch.nan
    case.total[3, 1] = -1
    distance = op_at(*case, level)
    assert distance.isnan().tolist() == [True] * 4 + [False] * 2
    case.total.fill_(1)
    case.reference[0] = case.weighted[0]
    case.weighted[1], case.reference[1] = 0, 0
    distance = op_at(*case, level)
    assert distance[:2].tolist() == [0, 0]
    assert (distance[2:] > 0).all()
    check(case, level)


@levels
@pytest.mark.parametrize("dtype", DTYPES)
def test_scores_far_from_the_shift(dtype: torch.dtype, level: int) -> None:
    """Huge ones are useless, not infinity less infinity; tiny ones add nothing."""
    case = make_case([5], [4], 1, 8, spare=0, dtype=dtype)
    far = case._replace(shift=torch.tensor([[-200.0], [-60], [-3], [200], [0]], dtype=dtype))
    distance = results(lambda *args: op_at(*args, level), far._replace(token=torch.arange(5)))[2]
    assert distance.isnan()[:2].all()
    assert distance.isfinite()[3]
    check(far._replace(token=torch.arange(5), weight=case.weight.abs()), level)


@levels
@pytest.mark.parametrize("dtype", DTYPES)
def test_non_contiguous_inputs_equal_contiguous_ones(dtype: torch.dtype, level: int) -> None:
    case = make_case([9], [7], 4, 24, dtype=dtype)
    fused = torch.randn(30, 3, 4, 24, dtype=dtype)
    heads_first = torch.randn(4, 30, 24, dtype=dtype).transpose(0, 1)
    transposed = torch.randn(30, 24, 4, dtype=dtype).transpose(1, 2)  # d is not adjacent: copied
    choices = [fused[:, 1], heads_first, transposed]
    for query, key, value in (choices, choices[1:] + choices[:1], choices[2:] + choices[:2]):
        strided = case._replace(query=query, key=key, value=value)
        dense = case._replace(
            query=query.contiguous(), key=key.contiguous(), value=value.contiguous()
        )
        pair = [results(lambda *args: op_at(*args, level), each) for each in (strided, dense)]
        assert_same(*pair)


def test_nothing_is_read_past_a_row() -> None:
    """The numbers beside a row are NaN, which even a weight of 0 would let through."""
    for width in (1, 7, 16, 24, 72):
        case = make_case([9], [5], 1, width)
        query, key, value = (
            F.pad(x, (5, 5), value=torch.nan)[..., 5:-5] for x in (case.query, case.key, case.value)
        )
        padded = case._replace(query=query, key=key, value=value)
        assert_same(results(op, padded), results(op, case))


def test_threads_do_not_matter() -> None:
    case = make_case([300, 1, 40], [90, 20, 3], 3, 24)
    threads, found = torch.get_num_threads(), []
    for n in (1, 2, 5):
        torch.set_num_threads(n)
        found.append(results(op, case))
    torch.set_num_threads(threads)
    for other in found[1:]:
        assert_same(other, found[0])


def test_op_is_well_registered() -> None:
    torch.library.opcheck(op.default, make_case([4, 3], [5, 2]))


def test_it_compiles() -> None:
    case = make_case([4, 3], [5, 2])
    compiled = torch.compile(lambda *args: op(*args), fullgraph=True, backend="eager")
    assert_same(results(compiled, case), results(op, case))


@pytest.mark.parametrize("which", ["weighted", "query", "key", "value"])
def test_the_definition_has_gradients(which: str) -> None:
    case = make_case([3, 2], [4, 1], 1, 3, rows=6, dtype=torch.float64)

    def sums(x: Tensor) -> tuple[Tensor, Tensor]:
        own = case._replace(**{which: x})
        own = own._replace(weighted=own.weighted.clone(), total=own.total.clone())
        reference.exchange(*own)
        return own.weighted, own.total

    assert torch.autograd.gradcheck(sums, getattr(case, which).clone().requires_grad_())


# ---- bad input


def test_bad_input_is_refused_and_changes_nothing() -> None:
    case = make_case([2, 3], [4, 5], rows=6)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"weighted": case.weighted[0]}, "weighted: expected 3 dimensions, got 2"),
        ({"weighted": case.weighted.half()}, "weighted: expected float32 or float64"),
        ({"weighted": case.weighted.transpose(0, 1)}, "weighted: expected a contiguous tensor"),
        ({"total": case.total.double()}, "total: expected float32, got float64"),
        ({"total": case.total[1:]}, "total: expected 8 in dimension 0 as weighted has, got 7"),
        (
            {"shift": case.shift[:, :1].clone()},
            "shift: expected 2 in dimension 1 as weighted has, got 1",
        ),
        ({"reference": case.reference[..., 1:].contiguous()}, "reference: expected 16 in dimens"),
        ({"token": case.token.int()}, "token: expected int64, got int32"),
        ({"token": torch.tensor([0, 1, 2, 8, 3])}, "token: 8 at 3 is not one of the 8 rows of wei"),
        ({"token": torch.tensor([0, 1, 2, 1, 3])}, "token: 1 occurs twice"),
        ({"row": torch.tensor([0, 1, 2, -1, 3])}, "row: -1 at 3 is not one of the 6 rows of query"),
        ({"row": case.row[1:]}, "row: 4 entries, token has 5"),
        ({"query": case.query[0]}, r"query: expected \[rows, H, d\], got 2 dimensions"),
        ({"key": case.key.double()}, "key: dtype differs from weighted's"),
        ({"value": case.value[:, 1:]}, "value: expected 2 heads of 16, got 1 of 16"),
        ({"value": case.value[1:]}, "value: 5 rows, key has 6"),
        ({"changed": torch.full((9,), 6)}, "changed: 6 at 0 is not one of the 6 rows of key"),
        ({"reach": case.reach.double()}, "reach: expected float32, got float64"),
        ({"reach": case.reach[1:]}, "reach: 1 entries, weighted has 2 heads"),
        ({"weight": case.weight.double()}, "weight: expected float32, got float64"),
        ({"weight": case.weight[1:]}, "weight: 8 entries, changed has 9"),
        ({"cu_tokens": ends([2, 4])}, "cu_tokens: expected numbers in 0..5, got 0..6"),
        ({"cu_tokens": ends([2, 2])}, "cu_tokens: expected ascending numbers from 0 to 5"),
        ({"cu_tokens": ends([6, -1])}, "cu_tokens: expected ascending numbers, got 6 before 5"),
        ({"cu_changed": ends([4, 5]).long()}, "cu_changed: expected int32, got int64"),
        ({"cu_changed": ends([9])}, "cu_changed: 1 groups, cu_tokens has 2"),
        ({"cu_changed": ends([])[:0]}, r"cu_changed: expected \[G \+ 1\], got no entry"),
    ]
    before = case.to(torch.float32)
    for change, message in wrong:
        with pytest.raises(RuntimeError, match=message):
            op(*case._replace(**change))
    with pytest.raises(RuntimeError, match=f"level: expected 0..{LEVELS[-1]} on this machine, got"):
        op_at(*case, 7)
    assert torch.equal(case.weighted, before.weighted)
    assert torch.equal(case.total, before.total)


def test_a_token_that_occurs_twice_among_very_many_is_refused() -> None:
    tokens = 200_000
    case = make_case([3], [2], 1, 4, spare=tokens)
    token = torch.tensor([tokens, 7, tokens - 1])
    assert op(*case._replace(token=token)).shape == (3,)
    with pytest.raises(RuntimeError, match="token: 7 occurs twice"):
        op(*case._replace(token=torch.tensor([7, tokens, 7])))
