"""activate on a GPU: its definition, in a graph, without waiting."""

from typing import Any

import pytest
import torch
from activate_cases import DTYPES, Case, check, make_case, op
from torch import Tensor

pytestmark = pytest.mark.needs_cuda


def moved(case: Case) -> Case:
    return Case(*(x.cuda() if isinstance(x, Tensor) else x for x in case))


def on_gpu(*arguments: Any) -> tuple[Tensor, ...]:
    return tuple(x.cpu() for x in op(*moved(Case(*arguments))))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("frames", "tokens", "width"), [
    (7, 20, 40), (8, 197, 768), (2, 3000, 8), (1, 4, 8), (0, 4, 8), (3, 0, 8), (3, 5, 1),
])  # fmt: skip
@pytest.mark.parametrize("spare", [0, 30, 9999])
def test_it_is_its_definition(frames, tokens, width, spare, dtype):
    bound = 2 * width**0.5  # about what random vectors move by, so that about half are beyond it
    check(on_gpu, make_case(frames, tokens, width, spare=spare, bound=bound, dtype=dtype))


def test_a_captured_graph_replays_over_other_frames() -> None:
    """Without waiting, for what waits cannot be captured."""
    static = moved(make_case(6, 50, 72, spare=20))
    op(*static)  # compiled before the capture
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = op(*static)
    for seed in (1, 2, 3):
        case = make_case(6, 50, 72, seed=seed)._replace(room=static.room)
        for to, new in zip(static[:-1], case[:-1], strict=True):
            to.copy_(new)
        graph.replay()
        check(lambda *_: tuple(x.cpu() for x in result), case)


def test_opcheck() -> None:
    torch.library.opcheck(op, moved(make_case(4, 5)))


def test_devices_do_not_mix() -> None:
    case = make_case(3, 4)
    with pytest.raises(ValueError, match="activate: parent is on cpu, expected cuda:0"):
        op(*moved(case)._replace(parent=case.parent))
