"""residual_attention in Triton, in its interpreter: against plain torch, and what only it has."""

import math

import pytest
import torch
import torch.nn.functional as F
from attention_cases import DTYPES, Case, cases, check, ends, make_case
from hypothesis import given, settings
from interpreted import interpreted
from torch import Tensor

from patchgate.kernels import attention_tiles
from patchgate.kernels.residual_attention import residual_attention, tiling

pytestmark = interpreted
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@given(cases())
@settings(max_examples=25)
def test_it_is_as_exact_as_plain_torch(case: Case) -> None:
    check(case, op=residual_attention)


@dtypes
@pytest.mark.parametrize(
    ("queries", "keys", "width"),
    [
        ([1, 3, 2, 9, 1], [97] * 5, 64),  # a static camera
        ([97, 20], [97, 97], 72),
        ([60, 7], [229, 229], 72),  # tiles of 64: 64 + 16 features
        ([140], [70], 80),  # more than one tile of 128
        ([2], [300], 72),  # tiles of 16
        ([13, 25], [17, 33], 200),
        ([40], [70], 128),
        ([4] * 30, [4] * 30, 24),  # windows
    ],
)
def test_sizes_of_real_towers(
    queries: list[int], keys: list[int], width: int, dtype: torch.dtype
) -> None:
    check(make_case(queries, keys, 2, width, rows=150, dtype=dtype), op=residual_attention)


def test_more_groups_than_are_looked_at_together() -> None:
    queries = torch.randint(0, 3, (700,)).tolist()
    queries[100:500] = [0] * 400
    check(make_case(queries, [2] * 700, 1, 8, rows=30, dtype=torch.float16), op=residual_attention)


@pytest.mark.parametrize("case", [
    make_case([], [], spare=0), make_case([0], [0]), make_case([0, 0], [3, 4]),
    make_case([3, 2], [0, 0]), make_case([1], [1], 1, 1), make_case([2], [3], 1, 0),
    make_case([2], [3], 0, 4), make_case([], [], spare=2), make_case([3, 0, 4], [5, 2, 0], spare=3),
])  # fmt: skip
def test_empty_and_smallest(case: Case) -> None:
    check(case, op=residual_attention)


@dtypes
def test_rows_of_no_group(dtype: torch.dtype) -> None:
    case = make_case([2, 3, 20], [4, 0, 5], spare=4, dtype=dtype)
    late = case._replace(cu_queries=case.cu_queries.clone().index_fill_(0, torch.tensor(0), 1))
    for each, empty in ((case, [2, 3, 4, *range(25, 29)]), (late, [0, 2, 3, 4, *range(25, 29)])):
        out, lse = residual_attention(*each)
        assert (out.flatten(1).abs().sum(1) == 0).nonzero().flatten().tolist() == empty
        assert (lse == -math.inf).all(1).nonzero().flatten().tolist() == empty
        check(each, op=residual_attention)


@pytest.mark.parametrize("queries", [2, 40])
def test_keys_of_size_zero_are_not_seen(queries: int) -> None:
    case = make_case([queries, queries], [40, 3], rows=43, dtype=torch.float64)
    assert case.bias is not None
    case.bias[:9] = -math.inf
    case.bias[40:] = -math.inf  # all of the second group
    out, lse = residual_attention(*case)
    assert (lse[queries:] == -math.inf).all()
    assert not out[queries:].any()
    check(case, op=residual_attention)


@pytest.mark.parametrize("scale", [-0.3, 0.0, 2.0])
@pytest.mark.parametrize("biased", [False, True])
def test_any_scale(scale: float, biased: bool) -> None:
    check(make_case([7], [50], biased=biased)._replace(scale=scale), op=residual_attention)


@pytest.mark.parametrize("queries", [1, 40])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_nan_is_not_hidden(which: int, queries: int) -> None:
    case = make_case([queries], [40], biased=False)._replace(key_index=torch.arange(40))
    case[which][0, 1, 3] = math.nan
    out, _ = residual_attention(*case)
    assert out[0, 1].isnan().any()
    assert not out[:, 0].isnan().any()


@pytest.mark.parametrize("queries", [2, 40])
def test_large_scores_do_not_overflow(queries: int) -> None:
    case = make_case([queries], [300], biased=False, rows=300)
    check(case._replace(query=case.query * 100, key=case.key * 100), op=residual_attention)


@pytest.mark.parametrize("index", [-1, 9, 2**40])
def test_keys_that_are_not_there_are_nan_and_not_read(index: int) -> None:
    case = make_case([3, 2], [40, 5], rows=9, biased=False)
    case.key_index[7] = index
    out, lse = residual_attention(*case)
    assert out[:3].isnan().all()
    assert lse[:3].isnan().all()
    assert not out[3:].isnan().any()
    gone = residual_attention(*case._replace(key=case.key[:0], value=case.value[:0]))
    assert not gone[0].any()


@pytest.mark.parametrize("wrong", [[0, 99, 5], [-7, 3, 5], [4, 2, 5], [0, 3, 99]])
def test_ends_that_do_not_fit_lead_nowhere(wrong: list[int]) -> None:
    """The interpreter reads what it is told to read, and would crash."""
    case = make_case([3, 2], [40, 5], rows=9)
    broken = torch.tensor(wrong, dtype=torch.int32)
    for change in ({"cu_queries": broken}, {"cu_keys": broken * 9}):
        out, _ = residual_attention(*case._replace(**change))
        assert out.shape == case.query.shape


def strided(rows: int, heads: int, width: int, dtype: torch.dtype) -> list[Tensor]:
    """Tensors as projections and their views leave them."""
    fused = torch.randn(rows, 3, heads, width).to(dtype)
    heads_first = torch.randn(heads, rows, width).to(dtype).transpose(0, 1)
    transposed = torch.randn(rows, width, heads).to(dtype).transpose(1, 2)  # copied
    every_second = torch.randn(rows, 2 * heads, width).to(dtype)[:, ::2]
    expanded = torch.randn(rows, 1, width).to(dtype).expand(-1, heads, -1)
    shifted = torch.randn(rows, heads, width + 5).to(dtype)[..., 5:]
    return [fused[:, 1], fused[:, 2], heads_first, transposed, every_second, expanded, shifted]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("queries", [3, 40])
def test_non_contiguous_inputs_equal_contiguous_ones(queries: int, dtype: torch.dtype) -> None:
    case = make_case([queries], [50], 2, 24, dtype=dtype)
    choices = strided(60, 2, 24, dtype)
    index = torch.randint(0, 60, (50,))
    for key, value in zip(choices, reversed(choices), strict=True):
        views = case._replace(query=value[:queries], key=key, value=value, key_index=index)
        dense = views._replace(
            query=views.query.contiguous(), key=key.contiguous(), value=value.contiguous()
        )
        for a, b in zip(residual_attention(*views), residual_attention(*dense), strict=True):
            assert torch.equal(a, b)


def test_nothing_is_read_past_a_row() -> None:
    """The numbers beside a row are NaN, which even a weight of 0 would let through."""
    for width in (1, 7, 24, 72):
        case = make_case([3, 70], [30, 50], 1, width)
        wide = (F.pad(x, (5, 5), value=math.nan)[..., 5:-5] for x in case[:3])
        for a, b in zip(
            residual_attention(*Case(*wide, *case[3:])), residual_attention(*case), strict=True
        ):
            assert torch.equal(a, b)


def test_it_is_registered() -> None:
    registered = torch._C._dispatch_has_kernel_for_dispatch_key
    assert registered("patchgate::residual_attention", "CUDA")


# ---- how it is cut


def test_a_head_is_computed_in_parts() -> None:
    widths = {16: (16, 0), 1: (16, 0), 0: (16, 0), 24: (32, 0), 48: (32, 16), 64: (64, 0)}
    widths |= {72: (64, 16), 80: (64, 16), 96: (64, 32), 104: (128, 0), 128: (128, 0)}
    for width, parts in widths.items():
        assert attention_tiles.columns(width) == parts


def test_tiles_are_as_large_as_groups() -> None:
    assert tiling(32 * 729, 32, 72, torch.bfloat16).block == 128
    assert tiling(32 * 73, 32, 72, torch.bfloat16).block == 128
    assert tiling(32 * 40, 32, 64, torch.bfloat16).block == 64
    assert tiling(32 * 3, 32, 64, torch.bfloat16).block == 16
    assert tiling(5, 0, 64, torch.float32).block == 16


def test_the_unit_of_strides_divides_all() -> None:
    assert attention_tiles.strides(torch.empty(3, 4, 72))[0] == 8
    assert attention_tiles.strides(torch.empty(3, 4, 80), torch.empty(3, 4, 64))[0] == 16
    assert attention_tiles.strides(torch.empty(3, 4, 7)) == (1, [28, 7])


# ---- bad input


def test_bad_input_is_refused() -> None:
    case = make_case([2, 3], [4, 5], rows=6)
    assert case.bias is not None
    wrong: list[tuple[dict[str, object], str]] = [
        ({"query": case.query[0]}, r"query: expected \[rows, H, d\], got \[2, 16\]"),
        ({"query": case.query.int()}, "query: expected float32, float64, bfloat16 or float16"),
        ({"key": case.key.double()}, "key: expected torch.float32 as query has, got torch.float64"),
        ({"key": case.key[:, :1]}, "key: expected 2 heads of 16 features as query has, got"),
        ({"value": case.value[:-1]}, "value: 5 rows, key has 6"),
        ({"cu_queries": case.cu_queries.long()}, "cu_queries: expected int32, got torch.int64"),
        ({"cu_queries": case.cu_queries[:0]}, r"cu_queries: expected \[G \+ 1\], got no entry"),
        ({"cu_keys": ends([4])}, r"cu_keys: expected \[3\], got \[2\]"),
        ({"key_index": case.key_index.int()}, "key_index: expected int64, got torch.int32"),
        (
            {"key_index": case.key_index[::2], "bias": None},
            "key_index: expected a contiguous tensor",
        ),
        ({"bias": case.bias.double()}, "bias: expected float32, got torch.float64"),
        ({"bias": case.bias[1:]}, r"bias: expected \[9\], got \[8\]"),
        (
            {"key_index": case.key_index.to("meta")},
            "residual_attention: key_index is on meta, expected cpu",
        ),
    ]
    for change, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            residual_attention(*case._replace(**change))
    wide = make_case([2], [3], 1, 257)
    with pytest.raises(ValueError, match="query: expected at most 256 features a head, got 257"):
        residual_attention(*wide)


def test_tf32_may_be_allowed_in_the_old_way_and_in_the_new_one() -> None:
    matmul, wide = torch.backends.cuda.matmul, (torch.float64, torch.bfloat16)
    before = matmul.fp32_precision
    try:
        for name, values in (("allow_tf32", (False, True)), ("fp32_precision", ("ieee", "tf32"))):
            for value, expected in zip(values, ("ieee", "tf32"), strict=True):
                setattr(matmul, name, value)
                assert attention_tiles.precision(torch.float32) == expected
                assert [attention_tiles.precision(dtype) for dtype in wide] == ["ieee", "ieee"]
            matmul.allow_tf32 = False
    finally:
        matmul.fp32_precision = before
