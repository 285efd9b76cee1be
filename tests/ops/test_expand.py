"""expand: tokens back to the dense grid; and the ops together in one compiled graph."""

from typing import Any

import pytest
import torch
from expand_cases import cases
from gate_cases import CONFIG, rules_for, state_for
from gate_videos import busy_video
from hypothesis import given
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from patchgate import reference

op = torch.ops.patchgate.expand
backward = torch.ops.patchgate.expand_backward


@given(cases())
def test_op_equals_reference(case: tuple[Tensor, Tensor]) -> None:
    got, expected = op(*case), reference.expand(*case)
    assert got.dtype == expected.dtype
    assert torch.equal(got, expected)


def test_every_cell_gets_its_sources_row() -> None:
    features, source = torch.randn(50, 3), torch.randint(0, 50, (4, 5, 6))
    dense = op(features, source)
    for t, y, x in torch.cartesian_prod(*map(torch.arange, source.shape)).tolist():
        assert torch.equal(dense[t, y, x], features[source[t, y, x]])


def test_many_rows_are_copied_across_threads() -> None:
    features, source = torch.randn(1000, 700), torch.randint(0, 1000, (5000,))
    assert torch.equal(op(features, source), features[source])


def test_non_contiguous_inputs_equal_contiguous_ones() -> None:
    features, source = torch.randn(7, 20).t(), torch.randint(0, 20, (6, 5, 4)).transpose(0, 2)
    assert torch.equal(op(features, source), features[source])


def test_no_cells_need_no_tokens() -> None:
    assert op(torch.empty(0, 5), torch.empty(0, 3, 4, dtype=torch.int64)).shape == (0, 3, 4, 5)


def test_gradients_reach_every_token_from_all_its_cells() -> None:
    source = torch.tensor([[[0, 2], [2, 2]], [[4, 0], [1, 2]]])  # token 3 stands for no cell
    features = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: op(values, source), (features,))
    assert torch.autograd.gradgradcheck(lambda values: op(values, source), (features,))
    op(features, source).sum().backward()
    assert features.grad is not None
    assert features.grad[:, 0].tolist() == [2, 1, 4, 0, 1]


def test_the_gradient_of_a_transposed_output_is_that_of_the_reference() -> None:
    source, weights = torch.randint(0, 9, (4, 5)), torch.randn(6, 5, 4)
    grads = []
    for run in (op, reference.expand):
        features = torch.linspace(0, 1, 54).view(9, 6).requires_grad_()
        (run(features, source).permute(2, 1, 0) * weights).sum().backward()
        grads.append(features.grad)
    torch.testing.assert_close(*grads)  # sums of the same numbers in another order


def test_opcheck() -> None:
    source = torch.randint(0, 6, (2, 3, 4))
    torch.library.opcheck(op.default, (torch.randn(6, 5), source))
    torch.library.opcheck(op.default, (torch.randn(6, 5, requires_grad=True), source))
    torch.library.opcheck(op.default, (torch.arange(30, dtype=torch.uint8).view(6, 5), source))
    grad = torch.randn(2, 3, 4, 5, requires_grad=True)
    torch.library.opcheck(backward.default, (grad, source, 6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_gradient_is_summed_wide_and_rounded_once(dtype: torch.dtype) -> None:
    """Whole numbers, whose sums are exact in float32."""
    source, grad = torch.randint(0, 9, (40, 50)), torch.randint(-100, 100, (40, 50, 7))
    exact = torch.zeros(9, 7, dtype=torch.int64).index_add(0, source.flatten(), grad.flatten(0, 1))
    assert torch.equal(backward(grad.to(dtype), source, 9), exact.to(dtype))


def test_a_gradient_that_does_not_fit_is_an_error() -> None:
    grad, source = torch.ones(2, 3), torch.tensor([0, 6])
    for arguments, message in (
        ((grad, source, 6), "source 6 of cell 1 is not one of the 6 tokens"),
        ((grad, source.int(), 7), "source must be int64"),
        ((grad, source[:1], 7), r"grad must be \[..., D\]"),
        ((grad.int(), source, 7), "grad: expected float32"),
        ((grad, source, -1), "tokens -1 must be at least 0"),
        ((grad, source, 2**63 - 1), "tokens 9223372036854775807 must be at least 0"),
        ((torch.ones(3, 2, 4), torch.zeros(2, 3).long(), 7), r"grad must be \[..., D\]"),
    ):
        with pytest.raises(RuntimeError, match=message):
            backward(*arguments)


@pytest.mark.parametrize(
    ("features", "source", "message"),
    [
        (torch.ones(6, 5), torch.tensor([0, 6]), "source 6 of cell 1 is not one of the 6 tokens"),
        (torch.ones(6, 5), torch.tensor([-1, 0]), "source -1 of cell 0 is not one of the 6 tokens"),
        (torch.ones(0, 5), torch.tensor([0]), "1 cells, but not one token"),
        (torch.ones(6, 5), torch.tensor([0], dtype=torch.int32), "source must be int64"),
        (torch.ones(6), torch.tensor([0]), r"features must be \[K, D\], got 1 dimensions"),
        (torch.ones(6, 5, 4), torch.tensor([0]), r"features must be \[K, D\], got 3 dimensions"),
    ],
)
def test_a_source_that_is_no_token_is_an_error(
    features: Tensor, source: Tensor, message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        op(features, source)


def video_to_dense(planes: Tensor, state: tuple[Any, ...], capacity: int) -> tuple[Tensor, ...]:
    """gate -> compact -> the cells' own samples -> expand, with no step that synchronises."""
    rules = rules_for(CONFIG, 12)
    kind, _, _, source, *_ = torch.ops.patchgate.gate(planes, *state, None, *rules)
    index, cu_seqlens, count = torch.ops.patchgate.compact(kind, capacity)
    s, t, f, c, _, _ = planes.shape
    cells = planes.view(s, t, f, c, 3, 8, 4, 8).permute(0, 1, 4, 6, 2, 3, 5, 7)
    features = cells.reshape(s * t * 12, f * c * 64)[index.clamp(min=0)]
    return torch.ops.patchgate.expand(features.float(), source), cu_seqlens, count


def clip(t: int) -> Tensor:
    return busy_video(0)[:t].view(1, t, 1, 3, 24, 32)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_the_ops_compile_into_one_graph_for_all_lengths(backend: str) -> None:
    torch._dynamo.reset()
    graphs = CompileCounterWithBackend(backend)
    compiled = torch.compile(video_to_dense, backend=graphs, fullgraph=True, dynamic=True)
    compilations = []
    for t in (5, 9, 20):
        ours, theirs = (state_for(clip(t), 8, 4) for _ in range(2))
        got = compiled(clip(t), ours, 12 * t)
        expected = video_to_dense(clip(t), theirs, 12 * t)
        assert all(map(torch.equal, got, expected))
        assert all(map(torch.equal, ours, theirs))  # mutated alike
        compilations.append(graphs.frame_count)
    assert compilations == compilations[:1] * 3
