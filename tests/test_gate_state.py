"""The gate's state: what may be loaded, what a push that fails leaves, and where token ids end."""

import copy
import gc
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import torch
from gate_videos import busy_video, pan
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gate import assert_same
from torch import Tensor

from patchgate import Gate, _ops, gate_memory, gate_undo
from patchgate.gate_memory import MOST_TOKENS, TokenIdsUsedUp
from patchgate.policies.prior import CappedGate
from patchgate.policies.statistics import WatchedGate

RULES: dict[str, Any] = {
    "patch": 8, "search_radius": 4, "max_age": 5, "hysteresis": 0.5, "noise": "adaptive",
}  # fmt: skip
KINDS: dict[str, Any] = {
    "one": lambda: Gate(**RULES),
    "tubelets": lambda: Gate(**RULES, temporal_patch=2),
    "capped": lambda: CappedGate([0.4] * 40, patch=8, on_motion="reuse"),
    "watched": lambda: WatchedGate(patch=8),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def state_of(gate: Gate) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in gate.state_dict().items()}


def assert_equal(got: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(got[name], tensor), name


def broken_op(error: BaseException, after: int = 0) -> Any:
    """The op, which does its work on the state and then fails, after so many calls."""
    real, calls = _ops.gate, []

    def op(*args: Any, **more: Any) -> Any:
        result = real(*args, **more)
        calls.append(1)
        if len(calls) > after:
            raise error
        return result

    return op


# ---- what fails


@every_kind
@pytest.mark.parametrize("error", [MemoryError("std::bad_alloc"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("after", [0, 2])
def test_a_push_that_fails_leaves_the_gate_as_it_was(
    kind: str, error: BaseException, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, gate, other = busy_video(0, 24), KINDS[kind](), KINDS[kind]()
    for part in (video[:7], video[7:9]):
        assert_same(gate.push(part), other.push(part))
    before = state_of(gate)
    with monkeypatch.context() as patched:
        patched.setattr(_ops, "gate", broken_op(error, after if kind == "capped" else 0))
        with pytest.raises(type(error)):
            gate.push(video[9:16])
    assert_equal(state_of(gate), before)
    for part in (video[9:16], video[16:]):
        assert_same(gate.push(part), other.push(part))
    assert_equal(state_of(gate), state_of(other))
    if kind == "watched":
        assert gate._seen == other._seen  # type: ignore[attr-defined]


@every_kind
def test_a_first_push_that_fails_leaves_a_new_gate(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = KINDS[kind]()
    with monkeypatch.context() as patched:
        patched.setattr(_ops, "gate", broken_op(MemoryError()))
        with pytest.raises(MemoryError):
            gate.push(busy_video(0)[:4])
    assert gate.state_dict() == {}
    assert gate.picture_ids is None
    assert_same(gate.push(busy_video(1)[:4]), KINDS[kind]().push(busy_video(1)[:4]))


def test_a_flush_and_a_reset_that_fail_leave_the_gate_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = Gate(**RULES, temporal_patch=2)
    gate.push(busy_video(0, 7))
    before = state_of(gate)
    with monkeypatch.context() as patched:
        patched.setattr(_ops, "gate", broken_op(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            gate.flush()
    with pytest.raises(ValueError, match="waits for its partner"):
        gate.reset([0])
    assert_equal(state_of(gate), before)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    small=st.booleans(),
    streams=st.integers(1, 3),
)
def test_what_is_kept_before_a_push_is_the_whole_state(
    seed: int, lengths: list[int], small: bool, streams: int
) -> None:
    """However little of it is copied: still parts, rows of cells, a ring of many births."""
    large, few = gate_undo._LARGE, gate_undo._FEW_BIRTHS
    gate_undo._LARGE, gate_undo._FEW_BIRTHS = (large, few) if small else (0, 0)
    try:
        gate = Gate(**{**RULES, "max_age": 7})
        videos = torch.stack([busy_video(seed + s, 40) for s in range(streams)])
        videos[:, 10:20] = videos[:, 9:10]  # it stands still for a while
        gate.push(videos[:, :1])
        at = 1
        for length in lengths:
            memory = gate._now.memory
            assert memory is not None
            memory.before.keep()
            assert torch.equal(torch.from_numpy(memory.before._copy), memory.bytes)
            gate.push(videos[:, at : at + length])
            if length == 3 and streams > 1:
                gate.reset([1])
            at += length
    finally:
        gate_undo._LARGE, gate_undo._FEW_BIRTHS = large, few


def test_a_still_push_copies_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, frame = Gate(patch=8), busy_video(0)[:1]
    for _ in range(3):
        gate.push(frame)
    written: list[int] = []
    real = gate_undo._write
    monkeypatch.setattr(
        gate_undo, "_write", lambda to, what: (written.append(to.nbytes), real(to, what))
    )
    gate.push(frame)
    assert 0 < sum(written) < frame.numel()


INTERRUPTED = """
import signal, sys, time, torch
from patchgate import Gate
signal.signal(signal.SIGALRM, signal.default_int_handler)
random = torch.Generator().manual_seed(0)
video = torch.randint(0, 256, (64, 3, 112, 112), generator=random, dtype=torch.uint8)
video[::2] = video[:1]
gate, other = Gate(on_motion="reuse"), Gate(on_motion="reuse")
started = time.perf_counter()
other.push(video[:8])
length = time.perf_counter() - started
gate.push(video[:8])
expected = {name: tensor.clone() for name, tensor in gate.state_dict().items()}
hit = 0
for i in range(60):
    signal.setitimer(signal.ITIMER_REAL, length * (0.1 + 0.9 * (i % 20) / 20))
    try:
        gate.push(video[8:16])
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt as error:
        if error.__traceback__.tb_next is not None:  # in the push, not after it
            hit += 1
            now = gate.state_dict()
            assert all(torch.equal(now[name], tensor) for name, tensor in expected.items()), i
    gate.load_state_dict(expected)
assert hit > 5, hit
got, wanted = gate.push(video[8:16]), other.push(video[8:16])
assert all(map(torch.equal, got, wanted))
print("as before", hit)
"""


def test_real_interrupts_leave_the_gate_as_it_was() -> None:
    code = (
        f"import signal\nsignal.signal(signal.SIGALRM, signal.default_int_handler)\n{INTERRUPTED}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "as before" in done.stdout, done.stderr


STARVED = """
import resource, torch
from patchgate import Gate
torch.set_num_threads(1)
random = torch.Generator().manual_seed(0)
wide = torch.randint(0, 256, (3, 1400, 1464), generator=random, dtype=torch.uint8)
frames = torch.stack([wide[:, :, 3 * i : 3 * i + 1400] for i in range(5)])
rules = dict(on_motion="reuse", scene_cut=None)
gate, other = Gate(**rules), Gate(**rules)
for part in (frames[:1], frames[1:2]):
    gate.push(part.clone()), other.push(part.clone())
before = {name: tensor.clone() for name, tensor in gate.state_dict().items()}
wanted, failed = other.push(frames[2:]), 0
for extra in range(80):
    used = int(open("/proc/self/statm").read().split()[0]) * 4096
    resource.setrlimit(resource.RLIMIT_AS, (used + (extra << 18), resource.RLIM_INFINITY))
    try:
        got = gate.push(frames[2:])
    except (MemoryError, RuntimeError):
        got, failed = None, failed + 1
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    if got is not None:
        break
    now = gate.state_dict()
    assert all(torch.equal(now[name], tensor) for name, tensor in before.items()), extra
assert failed > 2 and all(map(torch.equal, got, wanted)), failed
print("as before", failed)
"""


def test_a_push_without_memory_leaves_the_gate_as_it_was() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STARVED], capture_output=True, text=True, timeout=300,
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "32768"},  # what is freed is gone at once
    )  # fmt: skip
    assert "as before" in done.stdout, done.stderr


# ---- one at a time


def test_threads_that_share_a_gate_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, video = Gate(patch=8), busy_video(0)
    gate.push(video[:1])
    inside, go_on, real = threading.Event(), threading.Event(), _ops.gate

    def slow(*args: Any, **more: Any) -> Any:
        inside.set()
        assert go_on.wait(60)
        return real(*args, **more)

    monkeypatch.setattr(_ops, "gate", slow)
    first = threading.Thread(target=lambda: gate.push(video[1:5]))
    first.start()
    assert inside.wait(60)
    for call in (
        lambda: gate.push(video[1:2]),
        gate.flush,
        gate.reset,
        gate.state_dict,
        lambda: gate.load_state_dict({}),
    ):
        with pytest.raises(RuntimeError, match="Gate: used by two threads at once"):
            call()
    go_on.set()
    first.join()
    assert int(gate.state_dict()["clock"][0, 0]) == 5


def test_a_handler_that_pushes_in_the_middle_of_a_push_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, video, real = Gate(patch=8), busy_video(0), _ops.gate
    gate.push(video[:1])
    told = []

    def handler(*_: Any) -> None:
        try:
            gate.push(video[:1])
        except RuntimeError as error:
            told.append(str(error))

    def op(*args: Any, **more: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        time.sleep(0)  # the handler runs between two steps of Python
        return real(*args, **more)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        monkeypatch.setattr(_ops, "gate", op)
        gate.push(video[1:4])
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "signal handler" in told[0]
    assert int(gate.state_dict()["clock"][0, 0]) == 4


def test_gates_can_be_copied_and_pickled() -> None:
    video = busy_video(0)
    for copied in (copy.deepcopy, lambda gate: pickle.loads(pickle.dumps(gate))):
        gate = Gate(**RULES)
        gate.push(video[:6])
        other = copied(gate)
        assert_same(other.push(video[6:9]), gate.push(video[6:9]))
        gc.collect()
        before = state_of(other)
        gate.push(video[9:])
        assert_equal(state_of(other), before)  # nothing is shared
        memory = other._now.memory
        assert memory.state.picture.untyped_storage().data_ptr() == memory.bytes.data_ptr()


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
    with pytest.raises(ValueError, match="expected what state_dict gives, got list"):
        gate.load_state_dict(list(state))  # type: ignore[arg-type]


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


# ---- the end of the token ids


def near_the_end(left: int, streams: int = 1) -> Gate:
    """A gate that has seen a frame of 12 cells, with so many ids left."""
    gate = Gate(patch=8)
    video = busy_video(0)[None, :1].repeat(streams, 1, 1, 1, 1)
    gate.push(video)
    state = state_of(gate)
    state["clock"][0] = torch.tensor([2**31, MOST_TOKENS - left])
    gate.load_state_dict(state)
    return gate


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_which_frame_is_the_first_without_ids_does_not_depend_on_the_chunk(chunk: int) -> None:
    video, gate = busy_video(3, 11)[1:], near_the_end(40)
    whole = near_the_end(2**20).push(video[None])
    used = (whole.kind[0] == 2).flatten(1).sum(1).cumsum(0)  # [T]
    fit = int((used <= 40 - 12).sum()) + 1  # frames that find room for all of their 12 cells
    assert 0 < fit < len(video)
    done = 0
    for part in video.split(chunk):
        before = state_of(gate)
        if done + len(part) > fit:
            with pytest.raises(TokenIdsUsedUp, match=r"stream 0 has emitted .*reset\(\[0\]\)"):
                gate.push(part[None])
            assert_equal(state_of(gate), before)
            break
        result = gate.push(part[None])
        done += len(part)
        assert torch.equal(result.kind[0], whole.kind[0, done - len(part) : done])
        assert int(result.source.max()) < MOST_TOKENS
    gate.reset([0])
    result = gate.push(video[None])
    assert bool(result.is_key[0, 0])
    assert int(result.source.max()) < 12 * len(video)


def test_a_stream_at_its_end_is_named_and_the_others_go_on_after_its_reset() -> None:
    gate, video = near_the_end(5, streams=3), busy_video(0)[None, :1].repeat(3, 1, 1, 1, 1)
    with pytest.raises(ValueError, match=r"stream 0 has emitted 2147483641 .*reset\(\[0\]\)"):
        gate.push(video)
    gate.reset([0])
    result = gate.push(video)
    assert result.is_key[:, 0].tolist() == [True, False, False]


def test_an_id_that_is_written_into_the_lent_state_is_seen() -> None:
    gate = Gate(patch=8)
    gate.push(busy_video(0)[:1])
    gate.state_dict()["clock"][0, 1] = 2**31 - 10
    with pytest.raises(TokenIdsUsedUp):
        gate.push(busy_video(0)[1:])
    gate.state_dict()["clock"][0, 1] = -5
    with pytest.raises(ValueError, match="expected clock of 0 or more"):
        gate.push(busy_video(0)[1:])


def test_ids_are_looked_up_only_where_they_may_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU that would wait for it."""
    looked: list[int] = []
    real = gate_memory.GateMemory._emitted
    monkeypatch.setattr(
        gate_memory.GateMemory, "_emitted", lambda self: (looked.append(1), real(self))[1]
    )
    monkeypatch.setattr(gate_memory, "MOST_TOKENS", 1000)
    gate, still = Gate(patch=8), pan((24, 32), 1, (0, 0))
    for _ in range(300):
        gate.push(still)
    assert 3 <= len(looked) <= 10  # each time it finds that 12 tokens were emitted


def test_ids_end_in_memory_that_is_not_touched() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))  # should it crash, leave no file
    try:
        gate = near_the_end(12)
        gate.push(busy_video(0)[None, 1:2])
        assert int(gate.state_dict()["clock"][0, 1]) <= MOST_TOKENS
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
