"""What may stand in a gate's state."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from gate_states import RULES, assert_equal, assert_same, state_of
from gate_videos import busy_video
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from patchgate import Gate

# ---- what may be loaded


def good_state(**rules: Any) -> tuple[Gate, dict[str, Tensor]]:
    gate = Gate(**{**RULES, **rules})
    gate.push(busy_video(0)[:9], torch.full((3, 4), 1.5))
    return gate, state_of(gate)


@pytest.mark.parametrize("rules", [{}, {"temporal_patch": 2}, {"max_age": None}, {"noise": None}])
def test_a_loaded_state_goes_on_and_is_a_copy(rules: dict[str, Any]) -> None:
    gate, state = good_state(**rules)
    other = gate.fresh()
    other.load_state_dict(state)
    assert_equal(state_of(other), state)
    for tensor in state.values():
        tensor.fill_(1)  # whoever had it may write to it
    assert_same(other.push(busy_video(0)[9:]), gate.push(busy_video(0)[9:]))


def test_a_state_of_streams_some_of_which_were_reset() -> None:
    videos = torch.stack([busy_video(seed) for seed in range(3)])
    gate = Gate(**RULES)
    gate.push(videos[:, :9])
    gate.reset([1])
    other = gate.fresh()
    other.load_state_dict(gate.state_dict())
    assert_same(other.push(videos[:, 9:]), gate.push(videos[:, 9:]))


def test_an_empty_state_is_that_of_a_new_gate() -> None:
    gate, _ = good_state()
    gate.load_state_dict({})
    assert gate.state_dict() == {}
    gate.push(busy_video(0)[..., :16, :16])
    gate.reset()
    assert gate.state_dict() == {}


def altered(name: str, index: Any, value: Any) -> Any:
    def change(state: dict[str, Any]) -> None:
        state[name][index] = value

    return change


def replaced(name: str, make: Any) -> Any:
    def change(state: dict[str, Any]) -> None:
        state[name] = make(state[name])

    return change


WRONG = {
    "clock: negative frames": altered("clock", (0, 0), -999_999),
    "clock: frames beyond all": altered("clock", (0, 0), 2**63 - 1),
    "clock: more tokens than cells": altered("clock", (0, 1), 9 * 12 + 1),
    "clock: no first frame": altered("clock", (0, 1), 11),
    "clock: negative tokens": altered("clock", (0, 1), -1),
    "clock: too many tokens": lambda s: s["clock"].copy_(torch.tensor([[2**40, 2**31 - 1]])),
    "clock: frame 0 with tokens": altered("clock", (0, 0), 0),
    "ids: negative": altered("ids", (0, 3, 3), -1),
    "ids: of the future": altered("ids", (0, 3, 3), 10**6),
    "source: negative": altered("source", (0, 1, 1), -(2**62)),
    "source: of the future": altered("source", (0, 1, 1), 2**62),
    "source: of another cell": lambda s: s["source"].copy_(s["source"].flip(1)),
    "ids: of one token": lambda s: s["ids"].fill_(int(s["ids"][0, 0, 0])),
    "births: negative": altered("births", (0, 2), -1),
    "births: out of order": lambda s: s["births"].copy_(s["births"].flip(1) * 7 + 3),
    "births: of the future": altered("births", (0, 3), 10**6),
    "quartiles: negative": altered("quartiles", (0, 0), -1),
    "quartiles: beyond all costs": altered("quartiles", (0, 0), 2**31 - 1),
    "picture: another dtype": replaced("picture", Tensor.float),
    "ids: another dtype": replaced("ids", Tensor.long),
    "clock: another dtype": replaced("clock", Tensor.double),
    "ids: another shape": replaced("ids", lambda x: x[:, :-1]),
    "clock: another shape": replaced("clock", lambda x: x.repeat(2, 1)),
    "clock: no dimensions": replaced("clock", lambda x: x.sum()),
    "quartiles: too short": replaced("quartiles", lambda x: x[:, :3]),
    "births: too short": replaced("births", lambda x: x[:, :3]),
    "births: one dimension": replaced("births", torch.flatten),
    "source: flat": replaced("source", torch.flatten),
    "picture: two planes": replaced("picture", lambda x: x[:, :, :2]),
    "picture: no streams": lambda s: s.update({n: s[n][:0] for n in ("picture", "ids", "source",
                                               "clock", "births", "quartiles")}),
    "picture: no tensor": replaced("picture", lambda x: x.tolist()),
    "picture: sparse": replaced("picture", Tensor.to_sparse),
    "picture: of no device": replaced("picture", lambda x: x.to("meta")),
    "pending: without tubelets": lambda s: s.update(pending=s["picture"].clone()),
    "pending_map: NaN": altered("pending_map", (0, 0), float("nan")),
    "pending_map: negative": altered("pending_map", (0, 0), -1.0),
    "pending_map: another shape": replaced("pending_map", lambda x: x[:1]),
    "pending_map: another dtype": replaced("pending_map", Tensor.float),
    "streamed: several": replaced("streamed", lambda x: x.repeat(2)),
    "streamed: another dtype": replaced("streamed", Tensor.int),
    "a tensor is missing": lambda s: s.pop("ids"),
    "a tensor too many": lambda s: s.update(evil=torch.zeros(1)),
    "a name that is a number": lambda s: s.update({5: torch.zeros(1)}),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_state_that_cannot_be_is_refused_and_changes_nothing(what: str) -> None:
    gate, state = good_state()
    before = state_of(gate)
    WRONG[what](state)
    with pytest.raises(ValueError, match="state: "):
        gate.load_state_dict(state)
    assert_equal(state_of(gate), before)
    new = gate.fresh()
    with pytest.raises(ValueError, match="state: "):
        new.load_state_dict(state)
    assert new.state_dict() == {}


def test_what_waits_in_a_state_is_checked() -> None:
    gate, state = good_state(temporal_patch=2)
    for wrong in (state["pending"][..., :-8], state["pending"].float(), state["pending"][:, :0]):
        with pytest.raises(ValueError, match="expected pending"):
            gate.load_state_dict({**state, "pending": wrong})
    with pytest.raises(ValueError, match="expected picture, ids"):
        gate.load_state_dict({"pending": state["pending"]})
    with pytest.raises(ValueError, match="expected what state_dict returns, got list"):
        gate.load_state_dict(list(state))  # type: ignore[arg-type]


class Fickle(dict[str, Tensor]):
    """Gives other clocks from the second time on."""

    def __getitem__(self, name: str) -> Tensor:
        tensor = super().__getitem__(name)
        self.asked = (*getattr(self, "asked", ()), name)
        return tensor if self.asked.count(name) < 2 else tensor - 10**6


class Lazy(Mapping[str, Tensor]):
    """Reads a tensor whenever it is asked, from something that changes."""

    def __init__(self, parts: dict[str, Tensor]) -> None:
        self._parts = Fickle(parts)

    def __getitem__(self, name: str) -> Tensor:
        return self._parts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def test_what_was_checked_is_what_is_loaded() -> None:
    gate, state = good_state()
    other = gate.fresh()
    other.load_state_dict(Lazy(state))
    assert_equal(state_of(other), state)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (torch.ones(3, 4).to_sparse(), "dense tensor, got torch.sparse"),
        (torch.ones(3, 4, device="meta"), "on the CPU or a GPU, got meta"),
        (torch.ones(3, 4).to(torch.complex64), "real numbers"),
    ],
)
def test_maps_of_other_kinds_are_refused(factors: Tensor, message: str) -> None:
    with pytest.raises(TypeError, match=f"threshold_map: expected .*{message}"):
        Gate(patch=8).push(busy_video(0), factors)


def test_no_gradient_is_remembered() -> None:
    gate, state = good_state(temporal_patch=2)
    gate.push(busy_video(0)[9:], torch.ones(3, 4, requires_grad=True))
    assert not gate.state_dict()["pending_map"].requires_grad
    state["pending_map"].requires_grad_()
    gate.load_state_dict(state)
    assert not gate.state_dict()["pending_map"].requires_grad


def test_a_state_with_several_streams_says_so() -> None:
    gate = Gate(patch=8)
    gate.push(torch.stack([busy_video(0), busy_video(1)]))
    with pytest.raises(ValueError, match="expected streamed to be true of 2 streams"):
        gate.load_state_dict({**gate.state_dict(), "streamed": torch.tensor(False)})


@settings(max_examples=150)
@given(st.data())
def test_no_number_in_a_state_breaks_a_push(data: st.DataObject) -> None:
    """Whatever stands in it, it is refused, or a push goes through without leaving its memory."""
    gate, state = good_state(**data.draw(st.sampled_from([{}, {"max_age": None}])))
    name = data.draw(st.sampled_from(["clock", "ids", "source", "births", "quartiles"]))
    flat = state[name].view(-1)
    for _ in range(data.draw(st.integers(1, 3))):
        if not len(flat):
            continue
        at = data.draw(st.integers(0, len(flat) - 1))
        top = torch.iinfo(flat.dtype).max
        value = data.draw(st.sampled_from([0, -1, 1, 2, 11, 12, 107, 108, 109, top, -top - 1]))
        flat[at] = value
    try:
        gate.load_state_dict(state)
    except ValueError:
        return
    result = gate.push(busy_video(0)[9:])
    tokens = int(gate.state_dict()["clock"][0, 1])
    assert 0 <= int(result.source.min()) <= int(result.source.max()) < tokens


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        (lambda x: x.to_sparse(), "dense tensor, got torch.sparse"),
        (lambda x: torch.nested.nested_tensor([x, x]), "dense tensor, got a nested one"),
        (lambda x: x.to("meta"), "on the CPU or a GPU, got meta"),
    ],
)
def test_tensors_of_other_kinds_are_refused(planes: Any, message: str) -> None:
    gate, video = Gate(patch=8), busy_video(0)
    with pytest.raises(TypeError, match=message):
        gate.push(planes(video))
    assert_same(gate.push(video), Gate(patch=8).push(video))
