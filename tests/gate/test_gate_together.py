"""Gates whose pushes are made together: each finds what it finds alone, bit for bit.

Letters: T frames, S gates.
"""

from __future__ import annotations

import copy
import gc
import pickle
from contextlib import ExitStack

import pytest
import torch

from patchgate import Gate, _ops
from patchgate.encoders.run.together import together
from patchgate.gate import memory as gate_memory
from patchgate.gate.step import GateStep

SIDE = 42
RULES = {
    "usual": {},
    "reuse": {"on_motion": "reuse", "max_age": 3},
    "adaptive": {"noise": "adaptive", "hysteresis": 0.5, "scene_cut": None},
    "tubelets": {"temporal_patch": 2, "chroma": False},
}


def video(seed, frames=12):
    """A noisy still picture, in which a square moves and sometimes something new comes."""
    chance = torch.Generator().manual_seed(seed)
    base = torch.randint(40, 200, (3, SIDE, SIDE), generator=chance)
    found = []
    for t in range(frames):
        frame = base + torch.randint(-1, 2, base.shape, generator=chance)
        top = (3 + t) % 26
        frame[:, top : top + 14, 5:19] = base[:, 20:34, 20:34]
        if (t + seed) % 4 == 3:
            frame[:, 28:, 28:] = torch.randint(0, 256, (3, 14, 14), generator=chance)
        found.append(frame.clamp(0, 255).to(torch.uint8))
    return torch.stack(found)


def stepping(gate, planes):
    return (yield GateStep(gate, planes))


def pushed(pushes):
    """The results of ``{gate: planes}``, made together as ``push_together`` makes them."""
    with ExitStack():
        marks = [gate._mark() for gate in pushes]
        try:
            return together([stepping(gate, planes) for gate, planes in pushes.items()])
        except BaseException:
            for back in marks:
                back()
            raise


def assert_same(one, other):
    for name, a, b in zip(one._fields, one, other, strict=True):
        assert a.dtype == b.dtype, name
        assert torch.equal(a, b), name


def assert_same_state(gate, other):
    own, wanted = gate.state_dict(), other.state_dict()
    assert own.keys() == wanted.keys()
    for name, tensor in own.items():
        assert torch.equal(tensor, wanted[name]), name


@pytest.fixture
def calls(monkeypatch):
    """The numbers of streams of each call of the op."""
    found, op = [], _ops.gate

    def counted(tubelets, *rest):
        found.append(tubelets.shape[0])
        return op(tubelets, *rest)

    monkeypatch.setattr(_ops, "gate", counted)
    return found


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk", [1, 3])
def test_each_finds_what_it_finds_alone(rule, chunk, calls):
    gates = [Gate(**RULES[rule]) for _ in range(4)]
    alone = [gate.fresh() for gate in gates]
    videos = [video(seed) for seed in range(4)]
    for t in range(0, 12, chunk):
        parts = [each[t : t + chunk] for each in videos]
        del calls[:]
        results = pushed(dict(zip(gates, parts, strict=True)))
        whole = (t % 2 + chunk) // RULES[rule].get("temporal_patch", 1)
        assert calls == ([4] if whole else [1] * 4)
        for other, part, result in zip(alone, parts, results, strict=True):
            assert_same(result, other.push(part))
    for gate, other in zip(gates, alone, strict=True):
        assert_same_state(gate, other)
        if rule == "tubelets":
            assert_same(gate.flush(), other.flush())


def test_any_of_them_may_come_leave_and_push_alone(calls):
    chance = torch.Generator().manual_seed(5)
    gates = [Gate(max_age=5) for _ in range(6)]
    alone = [gate.fresh() for gate in gates]
    videos = [video(seed, 30) for seed in range(6)]
    at = [0] * 6
    for _ in range(25):
        some = (torch.rand(6, generator=chance) < 0.6).nonzero().flatten().tolist()
        parts = {n: videos[n][at[n] : at[n] + 1] for n in some}
        if len(some) == 1:
            results = [gates[some[0]].push(parts[some[0]])]
        else:
            results = pushed({gates[n]: part for n, part in parts.items()}) if some else []
        for n, result in zip(some, results, strict=True):
            assert_same(result, alone[n].push(parts[n]))
            at[n] += 1
    assert max(calls) >= 4
    gates[2].reset()
    alone[2].reset()
    everything = {gate: each[-1:] for gate, each in zip(gates, videos, strict=True)}
    for _ in range(2):
        del calls[:]
        for other, part, result in zip(alone, everything.values(), pushed(everything), strict=True):
            assert_same(result, other.push(part))
    assert calls == [6] + [1] * 6  # those of ``alone`` are counted, too


def test_those_that_have_other_rules_or_maps_go_alone(calls):
    gates = [Gate(), Gate(), Gate(threshold=9), Gate(max_age=4), Gate(), Gate(chroma=False)]
    odd = video(0)[:, :, :28]
    planes = [video(n)[:1] for n in range(4)] + [odd[:1], video(5)[:1]]
    results = pushed(dict(zip(gates, planes, strict=True)))
    assert sorted(calls) == [1, 1, 1, 1, 2]
    for gate, part, result in zip(gates, planes, results, strict=True):
        assert_same(result, gate.fresh().push(part))


def test_a_new_threshold_holds_and_comes_back_into_the_joint_call(calls):
    gates = [Gate(), Gate(), Gate()]
    alone = [gate.fresh() for gate in gates]
    videos = [video(n) for n in range(3)]
    for t in range(6):
        for gate in (gates[1], alone[1]):
            if t in (2, 4):
                gate.set_threshold(30 if t == 2 else 4)
        del calls[:]
        results = pushed({g: each[t : t + 1] for g, each in zip(gates, videos, strict=True)})
        # Two and one that lie between them: their states are where they were.
        assert calls == ([1, 1, 1] if t in (2, 3) else [3])
        for other, each, result in zip(alone, videos, results, strict=True):
            assert_same(result, other.push(each[t : t + 1]))


@pytest.mark.parametrize("before", [0, 1, 3])
def test_a_failure_leaves_all_as_they_were(before, monkeypatch):
    gates = [Gate() for _ in range(3)]
    alone = [gate.fresh() for gate in gates]
    videos = [video(n) for n in range(3)]
    for t in range(before):
        for other, each, result in zip(
            alone,
            videos,
            pushed({g: each[t : t + 1] for g, each in zip(gates, videos, strict=True)}),
            strict=True,
        ):
            assert_same(result, other.push(each[t : t + 1]))
    op = _ops.gate

    def fails(*given):
        op(*given)
        raise MemoryError("none is left")

    monkeypatch.setattr(_ops, "gate", fails)
    parts = {g: each[before : before + 2] for g, each in zip(gates, videos, strict=True)}
    with pytest.raises(MemoryError):
        pushed(parts)
    monkeypatch.setattr(_ops, "gate", op)
    for gate, other in zip(gates, alone, strict=True):
        assert_same_state(gate, other)
    for other, part, result in zip(alone, parts.values(), pushed(parts), strict=True):
        assert_same(result, other.push(part))
    for gate, other in zip(gates, alone, strict=True):
        assert_same_state(gate, other)


def test_large_states_are_undone_by_rows(monkeypatch):
    """As those of large pictures are: only the rows of cells that changed are copied."""
    monkeypatch.setattr("patchgate.gate.undo._LARGE", 0)
    monkeypatch.setattr("patchgate.gate.undo._FEW_BIRTHS", 1)
    gates = [Gate(max_age=4) for _ in range(3)]
    videos = [video(n) for n in range(3)]
    for t in range(10):
        parts = {g: each[t : t + 1] for g, each in zip(gates, videos, strict=True)}
        earlier = [copy.deepcopy(gate.state_dict()) for gate in gates]
        marks = [gate._mark() for gate in gates]
        together([stepping(gate, part) for gate, part in parts.items()])
        for back in marks:
            back()
        for gate, state in zip(gates, earlier, strict=True):
            for name, tensor in gate.state_dict().items():
                assert torch.equal(tensor, state[name]), (t, name)
        pushed(parts)


def test_copies_and_results_hold_no_other_gates_memory():
    gates = [Gate() for _ in range(3)]
    videos = [video(n) for n in range(3)]
    results = pushed({g: each[:1] for g, each in zip(gates, videos, strict=True)})
    for result in results:
        for tensor in result:
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    size = gates[0]._now.memory.layout.size
    for made in (copy.deepcopy(gates[1]), pickle.loads(pickle.dumps(gates[1]))):
        assert made._now.memory.bank is None
        assert len(made._now.memory.bytes) == size
        assert_same(made.push(videos[1][1:2]), copy.deepcopy(gates[1]).push(videos[1][1:2]))
    bank = gates[0]._now.memory.bank
    assert len(bank.members) == 3
    del gates[1:]
    gc.collect()
    assert len(bank.members) == 1


def test_one_without_token_ids_is_named_and_all_are_undone(monkeypatch):
    monkeypatch.setattr(gate_memory, "MOST_TOKENS", 20)  # of 9 cells: two whole frames
    gates = [Gate() for _ in range(3)]
    noise = torch.randint(0, 256, (3, 3, SIDE, SIDE), dtype=torch.uint8)
    still = video(1)[:1].expand(3, -1, -1, -1)
    films = [still, noise, still]
    for t in range(2):
        pushed({g: film[t : t + 1] for g, film in zip(gates, films, strict=True)})
    before = [copy.deepcopy(gate.state_dict()) for gate in gates]
    with pytest.raises(gate_memory.TokenIdsUsedUp, match="stream 0 has emitted 18 tokens"):
        pushed({g: film[2:] for g, film in zip(gates, films, strict=True)})
    for gate, state in zip(gates, before, strict=True):
        for name, tensor in gate.state_dict().items():
            assert torch.equal(tensor, state[name]), name
    pushed({gates[0]: still[2:], gates[2]: still[2:]})


def test_another_kind_of_gate_decides_in_its_own_way():
    class Whole(Gate):
        def _pushed(self, planes, threshold_map):
            return super()._pushed(planes, torch.zeros(3, 3, dtype=torch.float64))

    gates = [Gate(), Whole(), Gate()]
    films = [video(n) for n in range(3)]
    for t in range(4):
        results = pushed({g: film[t : t + 1] for g, film in zip(gates, films, strict=True)})
    assert bool((results[1].kind == 2).any())  # noise of one grey level is not exactly equal
