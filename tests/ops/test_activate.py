"""activate: which tokens that stand still become active, by the op, by plain torch, by Triton."""

import pytest
import torch
from activate_cases import DTYPES, check, make_case, op
from hypothesis import given
from hypothesis import strategies as st
from interpreted import interpreted

from patchgate import reference
from patchgate.kernels.activate import activate as triton_activate

calls = pytest.mark.parametrize(
    "call", [op, reference.activate, pytest.param(triton_activate, marks=interpreted)]
)


@calls
@given(
    st.integers(1, 7), st.integers(1, 20), st.integers(1, 20), st.integers(1, 3),
    st.sampled_from([0, 1, 3, 10, 999]), st.sampled_from([0.0, 2.0, 5.0, 9.0]), st.integers(0, 999),
)  # fmt: skip
def test_it_is_its_definition(call, frames, tokens, width, heads, spare, bound, seed):
    check(call, make_case(frames, tokens, width, heads, spare=spare, bound=bound, seed=seed))


@calls
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(call, dtype):
    check(call, make_case(4, 16, 24, dtype=dtype))


@calls
def test_more_tokens_than_are_admitted_together(call):
    check(call, make_case(2, 1100, 2, spare=700, bound=0.1))


@calls
@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 0)])
def test_nothing_to_decide(call, shape):
    fired, late = call(*make_case(*shape))
    assert fired.shape == shape
    assert not fired.any()
    assert late.tolist() == [0]


@calls
def test_what_does_not_move_and_what_is_nan_do_not_become_active(call):
    out = torch.tensor([0.0, 0, 1, 0, 2, torch.nan]).double()[:, None, None]
    active = torch.tensor([[True] * 3, [False] * 3])
    parent, one = torch.arange(3).expand(2, 3), torch.ones(1).double()
    for bound, expected in ((0.0, [False, True, False]), (2.0, [False] * 3)):
        bounds = torch.full((2, 3), bound).double()
        fired, _ = call(out, active, torch.tensor([False, True]), parent, one, bounds, 99)
        assert fired[1].tolist() == expected


@calls
def test_a_head_counts_by_its_reach(call):
    out = torch.zeros(6, 2, 3)
    out[3, 0, 1], out[4, 1, 1], out[5] = 1, 1, 1
    active = torch.tensor([[True] * 3, [False] * 3])
    parent = torch.arange(3).expand(2, 3)
    moved = torch.tensor([0.5, 2.0, (3 * (0.25 + 4)) ** 0.5])
    for by in (-1e-3, 1e-3):
        bound = torch.stack([moved, moved + by])
        rest = active, torch.tensor([False, True]), parent, torch.tensor([0.5, 2.0]), bound, 99
        assert call(out, *rest)[0][1].tolist() == [by < 0] * 3


@calls
def test_room_is_given_in_order(call):
    out = torch.arange(12.0).double()[:, None, None]
    active = torch.zeros(4, 3, dtype=torch.bool)
    active[0] = True
    parent = (torch.arange(12) - 3).clamp(min=0).view(4, 3)
    differs = torch.tensor([False, True, True, True])
    reach, bound = torch.ones(1).double(), torch.zeros(4, 3).double()
    fired, late = call(out, active, differs, parent, reach, bound, 7)
    assert fired.int().tolist() == [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert late.tolist() == [5]


@calls
def test_views(call):
    case = make_case(5, 6)
    wide = case.out.new_empty(30, 4, 9)[:, ::2, 3:7].copy_(case.out)
    turned = {name: getattr(case, name).T.contiguous().T for name in ("active", "parent", "bound")}
    reach = case.reach.repeat_interleave(2)[::2]
    views = case._replace(out=wide, reach=reach, **turned)
    for a, b in zip(call(*views), call(*case), strict=True):
        assert torch.equal(a, b)


def test_opcheck() -> None:
    torch.library.opcheck(op, make_case(4, 5))


def test_it_compiles() -> None:
    compiled = torch.compile(lambda *x: op(*x), fullgraph=True, backend="aot_eager")
    for case in (make_case(4, 5), make_case(3, 9)):
        for a, b in zip(compiled(*case), op(*case), strict=True):
            assert torch.equal(a, b)


def test_it_is_registered() -> None:
    assert torch._C._dispatch_has_kernel_for_dispatch_key("patchgate::activate", "CUDA")


def test_bad_input_is_refused() -> None:
    case = make_case(3, 4)
    wrong: list[tuple[dict[str, object], str]] = [
        ({"out": case.out.int()}, "out: expected float32, float64, bfloat16 or float16, got"),
        ({"out": case.out[1:]}, r"out: expected \[12, 2, 4\], got \[11, 2, 4\]"),
        ({"active": case.active[0]}, r"active: expected \[T, M\], got \[4\]"),
        ({"active": case.active.int()}, "active: expected bool, got torch.int32"),
        ({"differs": case.differs[1:]}, r"differs: expected \[3\], got \[2\]"),
        ({"parent": case.parent.int()}, "parent: expected int64, got torch.int32"),
        ({"parent": case.parent[1:]}, r"parent: expected \[3, 4\], got \[2, 4\]"),
        ({"reach": case.reach[1:]}, r"reach: expected \[2\], got \[1\]"),
        ({"reach": case.reach.float()}, "reach: expected float64, got torch.float32"),
        ({"bound": case.bound[1:]}, r"bound: expected \[3, 4\], got \[2, 4\]"),
        ({"parent": case.parent.to("meta")}, "activate: parent is on meta, expected cpu"),
    ]
    for change, message in wrong:
        with pytest.raises((TypeError, ValueError), match=message):
            triton_activate(*case._replace(**change))


def test_the_op_refuses_on_the_cpu_what_the_kernel_refuses_and_parents_that_are_none() -> None:
    case = make_case(3, 4)
    for value in (-1, 12, 2**62, -(2**63)):
        parent = case.parent.clone()
        parent[2, 1] = value
        with pytest.raises(ValueError, match=f"parent: {value} is not one of the 12 rows of out"):
            op(*case._replace(parent=parent))
    for change, message in (
        ({"room": -1}, "room: expected at least 0, got -1"),
        ({"parent": case.parent[:, 1:]}, r"parent: expected \[3, 4\], got \[3, 3\]"),
        ({"active": case.active.int()}, "active: expected bool, got torch.int32"),
        ({"out": case.out[None]}, r"out: expected \[T \* M, H, d\], got \[1, 12, 2, 4\]"),
    ):
        for run in (op, triton_activate):
            with pytest.raises((TypeError, ValueError), match=message):
                run(*case._replace(**change))
    unread = case.parent.clone()
    unread[0] = -1  # all of the first frame is active: it inherits from nobody
    for a, b in zip(op(*case._replace(parent=unread)), op(*case), strict=True):
        assert torch.equal(a, b)
