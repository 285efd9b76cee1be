"""residual_attention: kept queries over keys that an index names, checked against plain torch."""

import math
import resource

import pytest
import torch
import torch.nn.functional as F
from attention_cases import DTYPES, LEVELS, Case, cases, check, ends, make_case, op, op_at
from hypothesis import given, settings
from hypothesis import strategies as st


@given(cases())
@settings(max_examples=200)
def test_op_is_as_exact_as_plain_torch(case: Case) -> None:
    check(case)


@given(cases(), st.sampled_from(LEVELS))
@settings(max_examples=200)
def test_every_instruction_set_is_as_exact(case: Case, level: int) -> None:
    check(case, level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("queries", "keys", "width"),
    [
        ([1, 3, 2, 5, 9, 1], [197] * 6, 64),  # a static camera
        ([197, 20], [197, 197], 64),
        ([60, 7], [729, 729], 72),
        ([530], [1100], 80),  # more than one block of each
        ([2], [1100], 72),
        ([13, 25], [17, 33], 200),
    ],
)
def test_sizes_of_real_towers(
    queries: list[int], keys: list[int], width: int, dtype: torch.dtype, level: int
) -> None:
    check(make_case(queries, keys, 3, width, rows=300, dtype=dtype), level)


@given(st.integers(1, 30), st.integers(1, 90), st.integers(1, 40))
@settings(max_examples=50)
def test_the_identity_index_is_dense_attention(queries: int, keys: int, width: int) -> None:
    query = torch.randn(queries, 2, width, dtype=torch.float64)
    key, value = torch.randn(2, keys, 2, width, dtype=torch.float64).unbind()
    out, _ = op(
        query, key, value, ends([queries]), torch.arange(keys), ends([keys]), None, width**-0.5
    )
    heads_first = (x.transpose(0, 1) for x in (query, key, value))
    dense = F.scaled_dot_product_attention(*heads_first).transpose(0, 1)
    torch.testing.assert_close(out, dense, rtol=1e-12, atol=1e-12)


@given(st.integers(0, 99))
@settings(max_examples=30)
def test_the_order_of_a_groups_keys_does_not_matter(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    case = make_case([4, 20], [60, 33], rows=40, dtype=torch.float64)
    assert case.bias is not None
    order = torch.cat([torch.randperm(60, generator=random), 60 + torch.randperm(33)])
    shuffled = case._replace(key_index=case.key_index[order], bias=case.bias[order])
    for a, b in zip(op(*case), op(*shuffled), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_token_of_size_n_counts_as_n_tokens() -> None:
    case = make_case([3], [5], rows=5, biased=False, dtype=torch.float64)
    index = torch.tensor([0, 1, 2, 2, 2])
    repeated = op(*case._replace(key_index=index))
    sizes = torch.tensor([1.0, 1.0, 3.0])
    merged = op(*case._replace(key_index=index[:3], cu_keys=ends([3]), bias=sizes.log()))
    for a, b in zip(repeated, merged, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)  # log 3 is rounded to float32


def test_groups_do_not_see_each_other() -> None:
    case = make_case([5, 0, 3, 30], [40, 7, 0, 50], rows=20)
    whole = op(*case)
    for g in range(4):
        q0, q1 = case.cu_queries[g : g + 2].tolist()
        k0, k1 = case.cu_keys[g : g + 2].tolist()
        alone = case._replace(
            query=case.query[q0:q1],
            cu_queries=ends([q1 - q0]),
            key_index=case.key_index[k0:k1],
            cu_keys=ends([k1 - k0]),
            bias=None if case.bias is None else case.bias[k0:k1],
        )
        for a, b in zip(op(*alone), whole, strict=True):
            assert torch.equal(a, b[q0:q1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_queries_without_keys_and_rows_of_no_group(dtype: torch.dtype) -> None:
    case = make_case([2, 3, 1], [4, 0, 5], spare=4, dtype=dtype)
    starts_late = case._replace(
        cu_queries=case.cu_queries.clone().index_fill_(0, torch.tensor(0), 1)
    )
    for each, empty in ((case, [2, 3, 4, 6, 7, 8, 9]), (starts_late, [0, 2, 3, 4, 6, 7, 8, 9])):
        out, lse = op(*each)
        assert (out.flatten(1).abs().sum(1) == 0).nonzero().flatten().tolist() == empty
        assert (lse == -math.inf).all(1).nonzero().flatten().tolist() == empty
        check(each)


@pytest.mark.parametrize("queries", [2, 40])
def test_keys_of_size_zero_are_not_seen(queries: int) -> None:
    case = make_case([queries, queries], [40, 3], rows=43, dtype=torch.float64)
    assert case.bias is not None
    case.bias[:9] = -math.inf
    case.bias[40:] = -math.inf  # all of the second group
    case = case._replace(key_index=torch.arange(43))
    case.value[40:] = math.nan
    out, lse = op(*case._replace(value=case.value.nan_to_num(0)))
    fewer = case._replace(
        key_index=torch.arange(9, 40), cu_keys=ends([31, 0]), bias=case.bias[9:40]
    )
    torch.testing.assert_close((out, lse), op(*fewer), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("queries", [1, 4, 40])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_nan_is_not_hidden(which: int, queries: int) -> None:
    case = make_case([queries], [40], biased=False)._replace(key_index=torch.arange(40))
    case[which][0, 1, 3] = math.nan
    out, _ = op(*case)
    assert out[0, 1].isnan().any()
    assert not out[:, 0].isnan().any()


@pytest.mark.parametrize("queries", [2, 40])
def test_large_scores_do_not_overflow(queries: int) -> None:
    case = make_case([queries], [900], biased=False, rows=900)
    check(case._replace(query=case.query * 100, key=case.key * 100))


@pytest.mark.parametrize("case", [
    make_case([], [], spare=0), make_case([0], [0]), make_case([0, 0], [3, 4]),
    make_case([3, 2], [0, 0]), make_case([1], [1], 1, 1), make_case([2], [3], 1, 0),
    make_case([2], [3], 0, 4), make_case([], [], spare=2),
])  # fmt: skip
def test_empty_and_smallest(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("queries", [3, 40])
def test_non_contiguous_inputs_equal_contiguous_ones(queries: int, dtype: torch.dtype) -> None:
    case = make_case([queries], [50], 4, 24, dtype=dtype)
    fused = torch.randn(60, 3, 4, 24).to(dtype)
    heads_first = torch.randn(4, 60, 24).to(dtype).transpose(0, 1)
    transposed = torch.randn(60, 24, 4).to(dtype).transpose(1, 2)  # d is not adjacent: copied
    every_second = torch.randn(60, 8, 24).to(dtype)[:, ::2]
    expanded = torch.randn(60, 1, 24).to(dtype).expand(-1, 4, -1)
    choices = [fused[:, 1], fused[:, 2], heads_first, transposed, every_second, expanded]
    index = torch.randint(0, 60, (50,))
    for key, value in zip(choices, reversed(choices), strict=True):
        query = value[:queries]
        strided = case._replace(query=query, key=key, value=value, key_index=index)
        dense = strided._replace(
            query=query.contiguous(), key=key.contiguous(), value=value.contiguous()
        )
        for a, b in zip(op(*strided), op(*dense), strict=True):
            assert torch.equal(a, b)


def test_nothing_is_read_past_a_row() -> None:
    """The numbers beside a row are NaN, which even a weight of 0 would let through."""
    for width in (1, 7, 16, 24, 72):
        case = make_case([3, 20], [30, 50], 1, width)
        wide = (F.pad(x, (5, 5), value=math.nan)[..., 5:-5] for x in case[:3])
        for a, b in zip(op(*Case(*wide, *case[3:])), op(*case), strict=True):
            assert torch.equal(a, b)


def test_threads_do_not_matter() -> None:
    case = make_case([300, 1, 40, 2, 13], [90, 200, 10, 300, 600], 3, 24)
    threads = torch.get_num_threads()
    results = []
    for n in (1, 2, 5):
        torch.set_num_threads(n)
        results.append(op(*case))
    torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(map(torch.equal, other, results[0]))


# ---- bad input


def test_bad_input_is_refused() -> None:
    case = make_case([2, 3], [4, 5], rows=6)
    assert case.bias is not None
    wrong: list[tuple[dict[str, object], str]] = [
        ({"query": case.query[0]}, r"query: expected \[rows, H, d\], got 2 dimensions"),
        ({"key": case.key.double()}, "key: dtype differs from query's"),
        ({"value": case.value.half()}, "value: dtype differs from query's"),
        ({"key": case.key[:, :1]}, "key: expected 2 heads of 16, got 1 of 16"),
        ({"value": case.value[..., 1:]}, "value: expected 2 heads of 16, got 2 of 15"),
        ({"value": case.value[:-1]}, "value: 5 rows, key has 6"),
        ({"cu_queries": case.cu_queries.long()}, "cu_queries: expected int32, got int64"),
        ({"cu_queries": case.cu_queries[:0]}, r"cu_queries: expected \[G \+ 1\], got no entry"),
        ({"cu_queries": ends([2, 4])}, r"cu_queries: expected numbers in 0..5, got 0..6"),
        ({"cu_queries": ends([2, -1])}, "cu_queries: expected ascending numbers, got 2 before 1"),
        ({"cu_queries": ends([2, 1]) - 1}, r"cu_queries: expected numbers in 0..5, got -1..2"),
        ({"cu_keys": ends([4, 6])}, r"cu_keys: expected numbers in 0..9, got 0..10"),
        ({"cu_keys": ends([4])}, "cu_keys: 1 groups, cu_queries has 2"),
        ({"key_index": case.key_index.int()}, "key_index: expected int64, got int32"),
        ({"key_index": torch.full((9,), 6)}, "key_index: 6 at 0 is not one of the 6 rows of key"),
        ({"key_index": torch.tensor([0] * 8 + [-1])}, "key_index: -1 at 8 is not one of"),
        ({"bias": case.bias.double()}, "bias: expected float32, got float64"),
        ({"bias": case.bias[1:]}, "bias: 8 entries, key_index has 9"),
    ]
    for change, message in wrong:
        with pytest.raises(RuntimeError, match=message):
            op(*case._replace(**change))
    with pytest.raises(RuntimeError, match=f"level: expected 0..{LEVELS[-1]} on this machine, got"):
        op_at(*case, 7)
    integers = Case(*(x.long() for x in case[:3]), *case[3:])
    with pytest.raises(RuntimeError, match="query: expected float32, float64, bfloat16 or float16"):
        op(*integers)


def test_an_index_past_the_groups_is_not_read() -> None:
    case = make_case([2], [3], rows=3)
    longer = case._replace(key_index=torch.cat([case.key_index, torch.tensor([99, -1])]), bias=None)
    for a, b in zip(op(*longer), op(*case._replace(bias=None)), strict=True):
        assert torch.equal(a, b)


def test_groups_without_queries_take_no_memory_for_each_head() -> None:
    """A million of them in a thousand heads: a number for each would take 8 GB."""
    groups, heads = 1_000_000, 1000
    cu_queries = torch.zeros(groups + 1, dtype=torch.int32)
    cu_queries[groups // 2 :] = 1
    cu_keys = torch.zeros(groups + 1, dtype=torch.int32)
    query, rows = torch.randn(1, heads, 1), torch.randn(2, heads, 1)
    index = torch.zeros(0, dtype=torch.int64)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out, lse = op(query, rows, rows, cu_queries, index, cu_keys, None, 1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KB
    assert not out.any()
    assert (lse == -torch.inf).all()
