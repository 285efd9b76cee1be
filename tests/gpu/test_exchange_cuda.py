"""exchange on a GPU: against plain torch on the CPU, in a graph, without waiting."""

from typing import Any

import pytest
import torch
from exchange_cases import DTYPES, Case, assert_same, cases, check, make_case, op, results
from hypothesis import given, settings
from torch import Tensor

pytestmark = pytest.mark.needs_cuda


def on_gpu(*arguments: Any) -> Tensor:
    """The op, for tensors of the CPU, which it changes."""
    there = [x.cuda() if isinstance(x, Tensor) else x for x in arguments]
    distance = op(*there)
    for here, changed in zip(arguments[:2], there[:2], strict=True):
        here.copy_(changed)
    return distance.cpu()


def moved(case: Case) -> Case:
    return Case(*(x.cuda() if isinstance(x, Tensor) else x for x in case))


@given(cases())
@settings(max_examples=100)
def test_it_is_as_exact_as_plain_torch(case: Case) -> None:
    check(case, op=on_gpu)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "keys", "heads", "width"), [
    ([180], [37], 12, 64), ([700], [300], 16, 72), ([1], [1], 1, 1), ([3], [16], 2, 32),
    ([0], [5], 2, 8), ([7], [0], 2, 8), ([], [], 2, 8), ([4, 0, 9], [5, 7, 0], 1, 80),
    ([2], [3], 2, 0), ([2], [3], 0, 8), ([9] * 500, [4] * 500, 2, 128),
])  # fmt: skip
def test_sizes(tokens, keys, heads, width, dtype):
    check(make_case(tokens, keys, heads, width, rows=400, dtype=dtype), op=on_gpu)


def test_it_is_the_same_every_time() -> None:
    case = moved(make_case([300, 200], [150, 90], 8, 72, rows=400))
    first = results(op, case)
    for _ in range(5):
        assert_same(results(op, case), first)


def test_it_does_not_wait() -> None:
    case = moved(make_case([300], [150], 8, 72, rows=400))
    op(*case)  # compiled now
    torch.cuda.set_sync_debug_mode("error")
    try:
        op(*case)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_captured_graph_replays_over_other_groups() -> None:
    static = moved(make_case([30, 30], [20, 20], 4, 72, spare=0, rows=99))
    op(*static.to(torch.float32))  # compiled before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        distance = op(*static)
    for tokens, keys in (([30, 30], [20, 20]), ([59, 1], [1, 39]), ([60, 0], [0, 40])):
        case = make_case(tokens, keys, 4, 72, spare=0, rows=99)
        for to, new in zip(static[:13], case[:13], strict=True):
            to.copy_(new)
        graph.replay()
        torch.cuda.synchronize()

        def replayed(weighted: Tensor, total: Tensor, *_: Any) -> Tensor:
            weighted.copy_(static.weighted)
            total.copy_(static.total)
            return distance.cpu()

        check(case, op=replayed)


def test_opcheck() -> None:
    torch.library.opcheck(op.default, moved(make_case([4, 3], [5, 2])))


def test_devices_do_not_mix() -> None:
    case = make_case([3], [4])
    with pytest.raises(ValueError, match="row is on cpu, expected cuda:0"):
        op(*moved(case)._replace(row=case.row))
