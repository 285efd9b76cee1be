"""exchange in Triton, in its interpreter: against plain torch, and what only it has."""

import pytest
import torch
import torch.nn.functional as F
from attention_cases import ends
from exchange_cases import DTYPES, Case, assert_same, cases, check, make_case, results
from hypothesis import given, settings
from interpreted import interpreted

from patchgate.kernels.exchange import exchange

pytestmark = interpreted
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@given(cases())
@settings(max_examples=40)
def test_it_is_as_exact_as_plain_torch(case: Case) -> None:
    check(case, op=exchange)


@dtypes
@pytest.mark.parametrize(("tokens", "keys", "heads", "width"), [
    ([80], [37], 3, 64), ([70], [100], 2, 72), ([1], [1], 1, 1), ([3], [16], 2, 32),
    ([0], [5], 2, 8), ([7], [0], 2, 8), ([], [], 2, 8), ([4, 0, 9], [5, 7, 0], 1, 80),
    ([2], [3], 2, 0), ([2], [3], 0, 8), ([3] * 20, [4] * 20, 2, 16), ([5], [9], 1, 128),
])  # fmt: skip
def test_sizes(tokens, keys, heads, width, dtype):
    check(make_case(tokens, keys, heads, width, rows=200, dtype=dtype), op=exchange)


@dtypes
def test_what_cannot_be_trusted_is_nan(dtype: torch.dtype) -> None:
    case = make_case([6], [0], 2, 8, dtype=dtype)._replace(token=torch.arange(6))
    case.total[0, 1], case.total[1, 0], case.total[2, 0] = 0.25, 4.0, torch.nan
    case.total[3, 1] = -1
    assert exchange(*case).isnan().tolist() == [True] * 4 + [False] * 2
    case.total.fill_(1)
    case.reference[0] = case.weighted[0]
    case.weighted[1], case.reference[1] = 0, 0
    distance = exchange(*case)
    assert distance[:2].tolist() == [0, 0]
    assert (distance[2:] > 0).all()
    check(case, op=exchange)


@dtypes
def test_scores_far_from_the_shift(dtype: torch.dtype) -> None:
    """Huge ones are useless, not infinity less infinity; tiny ones add nothing."""
    case = make_case([5], [4], 1, 8, spare=0, dtype=dtype)
    far = case._replace(
        shift=torch.tensor([[-200.0], [-60], [-3], [200], [0]], dtype=dtype),
        token=torch.arange(5),
    )
    distance = results(exchange, far)[2]
    assert distance.isnan()[:2].all()
    assert distance.isfinite()[3]
    check(far._replace(weight=case.weight.abs()), op=exchange)


@dtypes
def test_non_contiguous_inputs_equal_contiguous_ones(dtype: torch.dtype) -> None:
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
        assert_same(results(exchange, strided), results(exchange, dense))


def test_nothing_is_read_past_a_row() -> None:
    """The numbers beside a row are NaN, which even a weight of 0 would let through."""
    for width in (1, 7, 24, 72):
        case = make_case([9], [5], 1, width)
        query, key, value = (
            F.pad(x, (5, 5), value=torch.nan)[..., 5:-5] for x in (case.query, case.key, case.value)
        )
        padded = case._replace(query=query, key=key, value=value)
        assert_same(results(exchange, padded), results(exchange, case))


@pytest.mark.parametrize("wrong", [-1, 99, 2**40])
def test_what_is_not_there_is_nan_and_not_touched(wrong: int) -> None:
    case = make_case([4, 2], [3, 5], 2, 8, rows=9)
    for name in ("token", "row"):
        index = getattr(case, name).clone()
        index[1] = wrong
        weighted, total, distance = results(exchange, case._replace(**{name: index}))
        assert distance.isnan().tolist() == [False, True, False, False, False, False]
        assert torch.equal(weighted[case.token[1]], case.weighted[case.token[1]])
        assert torch.equal(total[case.token[1]], case.total[case.token[1]])
    changed = case.changed.clone()
    changed[2] = wrong
    distance = results(exchange, case._replace(changed=changed))[2]
    assert distance.isnan().tolist() == [True] * 4 + [False] * 2
    none = case._replace(key=case.key[:0], value=case.value[:0])
    assert results(exchange, none)[2].isfinite().all()


@pytest.mark.parametrize("wrong", [[0, 99, 5], [-7, 3, 6], [4, 2, 6], [0, 3, 99]])
def test_ends_that_do_not_fit_lead_nowhere(wrong: list[int]) -> None:
    """The interpreter reads what it is told to read, and would crash."""
    case = make_case([4, 2], [3, 5], 2, 8, rows=9)
    broken = torch.tensor(wrong, dtype=torch.int32)
    for change in ({"cu_tokens": broken}, {"cu_changed": broken * 9}):
        assert results(exchange, case._replace(**change))[2].shape == case.token.shape


def test_it_is_registered() -> None:
    registered = torch._C._dispatch_has_kernel_for_dispatch_key
    assert registered("patchgate::exchange", "CUDA")


def test_bad_input_is_refused_and_changes_nothing() -> None:
    case = make_case([2, 3], [4, 5], rows=6)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"weighted": case.weighted[0]}, r"weighted: expected \[M, H, d\], got"),
        ({"weighted": case.weighted.half()}, "weighted: expected float32 or float64, got"),
        ({"weighted": case.weighted.mT.contiguous().mT}, "weighted: expected a contiguous tensor"),
        ({"total": case.total.double()}, "total: expected float32, got torch.float64"),
        ({"total": case.total[1:]}, r"total: expected \[8, 2\], got \[7, 2\]"),
        ({"shift": case.shift[:, :1].clone()}, r"shift: expected \[8, 2\], got \[8, 1\]"),
        ({"shift": case.shift.T.contiguous().T}, "shift: expected a contiguous tensor"),
        ({"reference": case.reference[..., 1:]}, r"reference: expected \[8, 2, 16\], got"),
        ({"token": case.token.int()}, "token: expected int64, got torch.int32"),
        ({"row": case.row[1:]}, r"row: expected \[5\], got \[4\]"),
        ({"query": case.query[0]}, r"query: expected \[rows, H, d\], got \[2, 16\]"),
        ({"key": case.key.double()}, "key: expected torch.float32 as weighted has"),
        (
            {"value": case.value[:, 1:]},
            "value: expected 2 heads of 16 features as weighted has, got",
        ),
        ({"value": case.value[1:]}, "value: 5 rows, key has 6"),
        ({"reach": case.reach.double()}, "reach: expected float32, got torch.float64"),
        ({"reach": case.reach[1:]}, r"reach: expected \[2\], got \[1\]"),
        ({"weight": case.weight.double()}, "weight: expected float32, got torch.float64"),
        ({"weight": case.weight[1:]}, r"weight: expected \[9\], got \[8\]"),
        ({"cu_changed": case.cu_changed.long()}, "cu_changed: expected int32, got torch.int64"),
        ({"cu_changed": ends([9])}, r"cu_changed: expected \[3\], got \[2\]"),
        ({"cu_tokens": ends([])[:0]}, r"cu_tokens: expected \[G \+ 1\], got no entry"),
        ({"query": case.query.to("meta")}, "exchange: query is on meta, expected cpu"),
    ]
    before = case.to(torch.float32)
    for change, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            exchange(*case._replace(**change))
    assert torch.equal(case.weighted, before.weighted)
    assert torch.equal(case.total, before.total)
