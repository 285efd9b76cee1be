"""residual_attention on a GPU: against plain torch on the CPU, in a graph, without waiting."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from attention_cases import DTYPES, Case, cases, check, ends, make_case, op
from hypothesis import given, settings
from torch import Tensor

from patchgate import reference

pytestmark = pytest.mark.needs_cuda
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def moved(values: Any, device: str) -> Any:
    """A copy whose tensors are on a device."""
    return type(values)(*(x.to(device) if isinstance(x, Tensor) else x for x in values))


def on_gpu(call: Callable[..., Any]) -> Callable[..., tuple[Tensor, ...]]:
    """The op, for tensors of the CPU."""

    def run(*arguments: Any) -> tuple[Tensor, ...]:
        given = (x.cuda() if isinstance(x, Tensor) else x for x in arguments)
        return tuple(x.cpu() for x in call(*given))

    return run


@given(cases())
@settings(max_examples=100)
def test_it_is_as_exact_as_plain_torch(case: Case) -> None:
    check(case, op=on_gpu(op))


@dtypes
@pytest.mark.parametrize(
    ("queries", "keys", "heads", "width"),
    [
        ([1, 3, 2, 5, 9, 1], [197] * 6, 12, 64),
        ([197, 20], [197, 197], 12, 64),
        ([729, 73, 0, 12], [729] * 4, 16, 72),
        ([530], [1100], 16, 80),
        ([2] * 200, [64] * 200, 4, 128),
        ([1] * 3000, [3] * 3000, 2, 24),  # windows; more than are looked at together
        ([13, 25], [17, 33], 3, 200),
        ([5], [9], 1, 1),
    ],
)
def test_sizes_of_real_towers(
    queries: list[int], keys: list[int], heads: int, width: int, dtype: torch.dtype
) -> None:
    for biased in (False, True):
        case = make_case(queries, keys, heads, width, rows=2000, biased=biased, dtype=dtype)
        check(case, op=on_gpu(op))


@pytest.mark.parametrize("case", [
    make_case([], [], spare=0), make_case([0], [0]), make_case([0, 0], [3, 4]),
    make_case([3, 2], [0, 0]), make_case([1], [1], 1, 1), make_case([2], [3], 1, 0),
    make_case([2], [3], 0, 4), make_case([], [], spare=2), make_case([3, 0, 4], [5, 2, 0], spare=3),
])  # fmt: skip
def test_empty_and_smallest(case: Case) -> None:
    check(case, op=on_gpu(op))


@dtypes
def test_views_equal_contiguous_tensors(dtype: torch.dtype) -> None:
    index = torch.randint(0, 300, (250,), device="cuda")
    fused = torch.randn(300, 3, 4, 72, device="cuda").to(dtype)
    heads_first = torch.randn(4, 300, 72, device="cuda").to(dtype).transpose(0, 1)
    shifted = torch.randn(300, 4, 77, device="cuda").to(dtype)[..., 5:]  # of no wide alignment
    for query, key, value in (
        fused.unbind(1),
        (fused[:, 0], heads_first, shifted),
        (shifted, fused[:, 2], heads_first),
    ):
        rest = (ends([90]).cuda(), index, ends([250]).cuda(), None, 0.1)
        got = op(query[:90], key, value, *rest)
        dense = op(query[:90].contiguous(), key.contiguous(), value.contiguous(), *rest)
        assert all(map(torch.equal, got, dense))


def test_memory_beside_the_rows_is_not_read() -> None:
    case = moved(make_case([300, 20], [200, 90], 2, 72, rows=150), "cuda")
    padded = (torch.nn.functional.pad(x, (5, 5), value=math.nan)[..., 5:-5] for x in case[:3])
    assert all(map(torch.equal, op(*Case(*padded, *case[3:])), op(*case)))


def test_keys_that_are_not_there_are_nan() -> None:
    case = moved(make_case([3, 2], [40, 5], rows=9, biased=False), "cuda")
    case.key_index[7] = 2**40
    out, lse = op(*case)
    assert out[:3].isnan().all()
    assert lse[:3].isnan().all()
    assert not out[3:].isnan().any()


# ---- gradients


@dtypes
@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("width", [16, 64, 72, 80, 128])
def test_gradients(width: int, dtype: torch.dtype, deterministic: bool) -> None:
    """At most twice as far from float64 as plain torch in the same dtype."""
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    case = make_case([70, 0, 13], [150, 3, 40], 3, width, rows=99, dtype=dtype)
    mine = gradients(on_gpu_with_gradients, case)
    theirs = gradients(reference.residual_attention, case)
    exact = gradients(reference.residual_attention, case.to(torch.float64))
    for got, near, true in zip(mine, theirs, exact, strict=True):
        largest = max(1.0, true.abs().max().item())
        eps = max(torch.finfo(got.dtype).eps, torch.finfo(dtype).eps)
        least = (100 if dtype == torch.float64 else 8) * eps * largest
        errors = [(x.double() - true).abs().max().item() for x in (got, near)]
        assert errors[0] <= max(2 * errors[1], least)


def on_gpu_with_gradients(*arguments: Any) -> tuple[Tensor, ...]:
    out, lse = op(*(x.cuda() if isinstance(x, Tensor) else x for x in arguments))
    return out.cpu(), lse.cpu()


def gradients(call: Callable[..., tuple[Tensor, ...]], case: Case) -> tuple[Tensor, ...]:
    assert case.bias is not None
    leaves = [x.detach().clone().requires_grad_() for x in (*case[:3], case.bias)]
    out, lse = call(*leaves[:3], *case[3:6], leaves[3], case.scale)
    weights = torch.linspace(-1, 1, out.numel()).view_as(out)
    loss = (out.double() * weights).sum() + lse[lse.isfinite()].double().square().sum()
    return torch.autograd.grad(loss, leaves)


def test_deterministic_gradients_are_the_same_bits() -> None:
    case = moved(make_case([400] * 8, [300] * 8, 4, 72, rows=60, dtype=torch.bfloat16), "cuda")
    out, lse = op(*case)
    grads = [
        torch.ops.patchgate.residual_attention_backward(out, lse, *case, out, lse) for _ in range(5)
    ]
    assert all(all(map(torch.equal, each, grads[0])) for each in grads[1:])


# ---- graphs, streams, compilers


def test_it_does_not_wait() -> None:
    case = moved(make_case([60, 9], [100, 70], 4, 72, dtype=torch.bfloat16), "cuda")
    rows = [x.requires_grad_() for x in case[:3]]
    op(*case)  # compiled now
    torch.cuda.set_sync_debug_mode("error")
    try:
        out, lse = op(*case)
        torch.autograd.grad([out.sum() + lse.sum()], rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_captured_graph_replays_over_other_groups(dtype: torch.dtype) -> None:
    """Groups, keys and what they hold change between replays; the shapes are those captured."""
    static = moved(
        make_case([30, 30], [80, 80], 4, 72, rows=160, biased=False, dtype=dtype), "cuda"
    )
    op(*static)  # compiled before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = op(*static)
    for queries, keys in (([30, 30], [80, 80]), ([59, 1], [3, 157]), ([0, 7], [100, 20])):
        spare = (60 - sum(queries), 160 - sum(keys))
        case = make_case(queries, keys, 4, 72, rows=160, biased=False, dtype=dtype)
        query = torch.cat([case.query, torch.randn(spare[0], 4, 72).to(dtype)])
        index = torch.cat([case.key_index, torch.full((spare[1],), -1)])
        case = case._replace(query=query, key_index=index)
        for to, new in zip(static[:6], case[:6], strict=True):
            to.copy_(new)
        graph.replay()
        check(case, op=lambda *_: tuple(x.cpu() for x in captured))


def test_another_stream() -> None:
    case = make_case([60, 9], [100, 70], 4, 64)
    here = moved(case, "cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        check(case, op=lambda *_: tuple(x.cpu() for x in op(*here)))


def test_opcheck() -> None:
    torch.library.opcheck(op.default, moved(make_case([3, 20], [30, 40]), "cuda"))
    torch.library.opcheck(op.default, moved(make_case([2, 0], [0, 3], biased=False), "cuda"))


def test_one_graph_for_all_sizes() -> None:
    compiled = torch.compile(lambda *x: op(*x)[0] * 2, fullgraph=True, dynamic=True)
    for queries, keys in (([3, 4], [9, 8]), ([5, 6, 7], [10, 11, 12]), ([30, 2], [50, 40])):
        case = moved(make_case(queries, keys), "cuda")
        assert torch.equal(compiled(*case), op(*case)[0] * 2)


def test_devices_do_not_mix() -> None:
    case = make_case([3], [4])
    with pytest.raises(ValueError, match="key_index is on cpu, expected cuda:0"):
        op(*moved(case, "cuda")._replace(key_index=case.key_index))
