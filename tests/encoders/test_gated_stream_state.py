"""A stream's state as a dict of tensors: it goes on elsewhere, and what cannot be is refused."""

import io
import json
import pickle

import pytest
import torch
from gated_cases import (
    FAMILIES,
    MEAN,
    STD,
    N,
    camera,
    flicker,
    noise,
    normalised,
    rows_of,
    tower,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from saved_cases import mutations, refused, resealed, unseal

import patchgate
from patchgate.gate.saved import check_digest

MODELS = {family: tower(family) for family in FAMILIES}
RULES = [
    {"context": "kept"},
    {"tolerance": 0.05},
    {"tolerance": 0.05, "moved": "source"},
    {"tolerance": 0.05, "pass_over": (0.4, 2)},
    {"refresh": 3, "max_age": 4},
]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def gated(family, **rules):
    return patchgate.gated(MODELS[family], mean=MEAN, std=STD, **rules)


def same(a, b):
    names = ("last_hidden_state", "pooler_output")
    return all(torch.equal(a[name], b[name]) for name in names)


@settings(max_examples=40)
@given(
    family=st.sampled_from(FAMILIES),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 9),
    cuts=st.lists(st.integers(0, 9), min_size=1, max_size=4).map(sorted),
)
def test_a_stream_cut_anywhere_goes_on_as_if_it_were_not(family, rule, seed, cuts):
    x, whole = normalised(camera(9, seed)), gated(family, **rule)
    one = other = whole.stream()
    for part in x.tensor_split(cuts):
        if len(part):
            assert same(one(part), other(part)) if other is not one else one(part) is not None
        state = one.stream_state_dict()
        other = whole.stream()
        other.load_stream_state_dict(pickle.loads(pickle.dumps(state)))
        again = other.stream_state_dict()
        assert list(again) == list(state)
        assert all(torch.equal(again[name], state[name]) for name in state)


def test_the_weights_are_no_part_of_it():
    stream = gated("siglip").stream()
    stream(normalised(flicker(3)))
    assert stream.state_dict().keys() == MODELS["siglip"].state_dict().keys()
    assert not stream.state_dict().keys() & stream.stream_state_dict().keys()


@pytest.mark.parametrize("frames", [0, 3])
def test_it_can_be_written_and_read_by_others(frames, tmp_path):
    stream, x = gated("clip").stream(), normalised(flicker(6))
    if frames:
        stream(x[:frames])
    state = stream.stream_state_dict()
    save_file(state, tmp_path / "state")
    kept = io.BytesIO()
    torch.save(state, kept)
    kept.seek(0)
    expected = stream(x[frames:])
    for found in (load_file(tmp_path / "state"), torch.load(kept, weights_only=True), state):
        other = gated("clip").stream()
        other.load_stream_state_dict(found)
        assert same(other(x[frames:]), expected)


def test_what_it_gives_and_takes_are_copies():
    stream, x = gated("siglip", tolerance=0.05).stream(), normalised(camera(8))
    stream(x[:4])
    state = stream.stream_state_dict()
    before = {name: tensor.clone() for name, tensor in state.items()}
    expected = stream(x[4:])
    assert all(torch.equal(state[name], before[name]) for name in state)
    other = gated("siglip", tolerance=0.05).stream()
    other.load_stream_state_dict(state)
    for tensor in state.values():
        tensor.zero_()
    assert same(other(x[4:]), expected)


def test_rows_without_frames_are_a_state_too():
    stream = gated("siglip").stream()
    x = normalised(noise(2))
    rows, cell, ends = rows_of(x), torch.arange(N), torch.tensor([0, N])
    stream.encode(rows[0], cell, ends, torch.arange(N).view(1, 4, 4))
    state = stream.stream_state_dict()
    assert not any(name.startswith("gate.") for name in state)
    other = gated("siglip").stream()
    other.load_stream_state_dict(state)
    call = rows[1], cell, ends, torch.arange(N, 2 * N).view(1, 4, 4)
    assert torch.equal(other.encode(*call), stream.encode(*call))


def test_the_file_has_the_same_tables_and_a_format(tmp_path):
    stream = gated("siglip", tolerance=0.05).stream()
    stream(normalised(flicker(3)))
    stream.save(tmp_path / "state")
    state = stream.stream_state_dict()
    with safe_open(tmp_path / "state", "pt") as file:
        told, names = file.metadata(), set(file.keys())
    beside = {"counts", "belongs_to", "digest"}
    assert names == state.keys() - beside
    assert told["format"] == "patchgate.TowerStream/4"
    assert list(json.loads(told["counts"]).values()) == state["counts"].tolist()
    belongs = json.loads(bytes(state["belongs_to"].tolist()))
    assert {name: told[name] for name in belongs} == belongs
    assert told.keys() == belongs.keys() | {"counts", "digest"}


@pytest.mark.parametrize("rule", [{"context": "kept"}, {"tolerance": 0.05}], ids=str)
def test_a_state_that_was_changed_is_refused_and_leaves_the_stream_as_it_was(rule):
    x, whole = normalised(camera(6)), gated("siglip", **rule)
    stream, other = whole.stream(), whole.stream()
    stream(x[:3])
    state = stream.stream_state_dict()
    other(x[:2])
    kept = other.stream_state_dict()
    tried = 0
    for said, wrong in mutations(state):
        assert refused(other.load_stream_state_dict, wrong), said
        tried += 1
    assert tried > 4 * len(state)
    after = other.stream_state_dict()
    assert all(torch.equal(after[name], kept[name]) for name in kept)
    untouched = whole.stream()
    untouched(x[:2])
    assert same(other(x[2:]), untouched(x[2:]))


def test_numbers_that_cannot_be_are_refused_even_with_a_digest_of_their_own():
    """What the digest alone refuses are numbers that might be: the stream goes on with them."""
    stream, x = gated("siglip", tolerance=0.05, max_age=5).stream(), normalised(camera(6))
    stream(x[:3])
    state, other = stream.stream_state_dict(), stream.stream()
    taken = set()
    for said, wrong in mutations(state):
        if said.startswith("digest"):
            continue
        wrong = resealed(wrong)
        check_digest(wrong)
        if not refused(other.load_stream_state_dict, wrong):
            taken.add(said)
            other(x[3:])
    fields = {said.split(": ")[0] for said in taken}
    never = {"counts", "belongs_to", "ids", "source", "gate.clock", "gate.source"}
    assert not fields & never
    assert {name.split(".")[-1] for name in fields} <= {
        "picture", "births", "quartiles", "streamed", "patches", "pooled", "row", "x", "key",
        "value", "query", "made", "weighted", "total", "shift", "age", "rows", "born", "pool",
        "ids",
    }  # fmt: skip


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda state: [*state.items()], "expected what stream_state_dict returns, got list"),
    (lambda state: {}, "expected what stream_state_dict returns, with a digest"),
    (lambda state: {**state, "counts": [1, 2]}, "expected tensors by name.*, got list as .counts"),
    (lambda state: {**state, 3: state["ids"]}, "got Tensor as 3"),
    (lambda state: {**state, "ids": state["ids"].to("meta")}, "expected ids to be dense"),
    (lambda state: unseal(state, "belongs_to"), "belongs_to is missing"),
    (lambda state: unseal(state, "ids"), "'ids' is missing"),
    (lambda state: unseal(state, "counts"), "it has tensors, but no counts"),
    (lambda state: unseal(state, "gate.clock"), "expected picture, ids, .* got"),
    (lambda state: resealed({**state, "odd": state["ids"]}), "unknown tensors: odd"),
])  # fmt: skip
def test_what_is_no_state_is_refused_in_words(spoil, message):
    stream = gated("clip").stream()
    stream(normalised(flicker(3)))
    other = gated("clip").stream()
    with pytest.raises(ValueError, match=f"^state: .*{message}"):
        other.load_stream_state_dict(spoil(stream.stream_state_dict()))
    assert "counts" not in other.stream_state_dict()


@pytest.mark.parametrize(("other", "message"), [
    (lambda: gated("clip"), "its tower is Siglip"),
    (lambda: gated("siglip", threshold=5), "its gate is .*that of this stream .*5.0"),
    (lambda: gated("siglip", context="kept"), "its fidelity is"),
])  # fmt: skip
def test_a_state_of_something_else_is_refused(other, message):
    stream = gated("siglip").stream()
    stream(normalised(flicker(3)))
    with pytest.raises(ValueError, match=f"^state: {message}"):
        other().stream().load_stream_state_dict(stream.stream_state_dict())


def test_a_file_of_another_rule_is_refused_in_these_words(tmp_path):
    stream, path = gated("siglip", tolerance=0.05).stream(), tmp_path / "state"
    stream(normalised(flicker(3)))
    stream.save(path)
    with safe_open(path, "pt") as file:
        told = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, path, {**told, "format": "patchgate.TowerStream/2"})
    message = "expected a state of format patchgate.TowerStream/4, got patchgate.TowerStream/2"
    with pytest.raises(ValueError, match=message):
        stream.restore(path)
