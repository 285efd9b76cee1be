"""The state of a tokenizer: another one goes on with it; damaged and foreign ones are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_cases import mutations, refused, resealed, unseal
from stream_cases import RULES, gated
from token_cases import SIZE
from tokenizer_cases import FRAMES, MAKERS, assert_chunks, make, part
from torch import Tensor

from patchgate import Gate, Tokenizer
from patchgate.gate.saved import letters

every_kind = pytest.mark.parametrize("name", MAKERS)


def assert_goes_on(tokenizer: Tokenizer, other: Tokenizer, begin: int) -> None:
    assert tokenizer.frames == other.frames
    if begin < FRAMES:
        assert_chunks(tokenizer.push(part(begin, FRAMES)), other.push(part(begin, FRAMES)))
    assert_chunks(tokenizer.flush(), other.flush())


@every_kind
@settings(max_examples=8)
@given(at=st.integers(1, FRAMES))
def test_another_goes_on_as_if_nothing_had_happened(name: str, at: int) -> None:
    tokenizer, other = make(name), make(name)
    tokenizer.push(part(0, at))
    other.push(part(0, 2))  # what it has seen is forgotten
    other.load_state_dict(tokenizer.state_dict())
    assert_goes_on(other, tokenizer, at)


@every_kind
def test_a_file_holds_it(name: str, tmp_path: Path) -> None:
    tokenizer, other = make(name), make(name)
    tokenizer.push(part(0, 5))
    tokenizer.save(tmp_path / "state")
    tokenizer.save(tmp_path / "state")  # over an older one
    other.restore(tmp_path / "state")
    assert_goes_on(other, tokenizer, 5)
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


@every_kind
def test_a_new_one_has_a_state_too(name: str) -> None:
    tokenizer, other = make(name), make(name)
    other.push(part(0, 3))
    other.load_state_dict(tokenizer.state_dict())
    assert other.frames == 0
    assert_chunks(other.push(part(0, 3)), tokenizer.push(part(0, 3)))


def test_the_rate_goes_on() -> None:
    frames = torch.zeros(3, 24, 32, 3, dtype=torch.uint8)
    tokenizer, other = (Tokenizer(gate=Gate(patch=8), size=SIZE, fps=10) for _ in range(2))
    tokenizer.push(frames)
    other.load_state_dict(tokenizer.state_dict())
    assert other.push(frames).pts_seconds.tolist() == [0.3, 0.4, 0.5]


def test_a_state_is_a_copy() -> None:
    tokenizer, other = make("camera"), make("camera")
    tokenizer.push(part(0, 5))
    state = tokenizer.state_dict()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    tokenizer.push(part(5, 8))
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    other.load_state_dict(state)
    for tensor in state.values():
        tensor.zero_()
    other.push(part(5, 8))
    assert_goes_on(other, tokenizer, 8)


@pytest.mark.parametrize("name", ["camera", "tubelets", "passing"])
def test_every_changed_field_is_refused(name: str) -> None:
    tokenizer, other = make(name), make(name)
    tokenizer.push(part(0, 5))
    other.push(part(0, 3))
    state, own = tokenizer.state_dict(), other.state_dict()
    for what, changed in mutations(state):
        if "row" in what and "layer" in what:
            continue  # of the tower's tables: tests/encoders/test_stream_saved.py
        assert refused(other.load_state_dict, changed), what
    after = other.state_dict()
    assert all(torch.equal(own[key], after[key]) for key in own)
    assert_goes_on(other, _again(name, 3), 3)


def _again(name: str, frames: int) -> Tokenizer:
    tokenizer = make(name)
    tokenizer.push(part(0, frames))
    return tokenizer


def about(**changes: Any) -> Any:
    def change(state: dict[str, Tensor]) -> dict[str, Tensor]:
        own = json.loads(bytes(state["about"].tolist()))
        return {**state, "about": letters(json.dumps({**own, **changes}))}

    return change


def put(name: str, value: Any) -> Any:
    def change(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**state, name: value(state[name]) if callable(value) else value}

    return change


DOUBLES = {"dtype": torch.float64}
DAMAGED: dict[str, tuple[Any, str]] = {  # by somebody who knows how the digest is made
    "clock: no count": (put("clock", torch.tensor([0.5, 0.2], **DOUBLES)), "a count and a time"),
    "clock: a count without a rate": (put("clock", torch.tensor([3.0, 0.2], **DOUBLES)),
                                      "a clock of the frames that there were"),
    "clock: never": (put("clock", torch.tensor([0, -torch.inf], **DOUBLES)), "frames that there w"),
    "clock: no number": (put("clock", torch.tensor([0, torch.nan], **DOUBLES)), "count and a time"),
    "clock: longer": (put("clock", torch.zeros(3, **DOUBLES)), r"clock \[2\] of float64, got \[3"),
    "clock: another time": (put("clock", torch.tensor([0, 0.9], **DOUBLES)), "times to end at 0.9"),
    "about: no JSON": (put("about", letters("{")), "expected about to hold a JSON object"),
    "about: another matrix": (about(matrix="sepia"), "expected matrix of bt601.*got 'sepia'"),
    "about: no colour": (about(held=None), "expected the colour of held frames in about, got None"),
    "about: a strange colour": (about(held={"hue": 3}), "held: .*hue"),
    "about: a depth": (about(held={"bit_depth": 10}), "held: plane Y must be torch.uint16"),
    "held: two": (lambda s: {**s, **{n: torch.cat([t, t]) for n, t in s.items() if "held" in n}},
                  r"held: expected at most 1 frame\(s\)"),
    "held: other times": (put("held.pts_seconds", lambda t: t + 1), "held: expected its times to"),
    "held: a negative duration": (put("held.duration_seconds", lambda t: -t), "held: expected its"),
    "held: chroma of another shape": (put("held.cb", lambda t: t[:, 1:]), "held: Cb and Cr must"),
    "a tensor more": (put("extra", torch.zeros(1)), "it has unknown tensors: extra"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGED)
def test_parts_that_contradict_each_other_are_refused(what: str) -> None:
    change, message = DAMAGED[what]
    tokenizer, other = make("tubelets"), make("tubelets")
    tokenizer.push(part(0, 5))
    changed = resealed({n: t for n, t in change(tokenizer.state_dict()).items() if n != "digest"})
    with pytest.raises(ValueError, match=f"state: .*{message}"):
        other.load_state_dict(changed)
    assert other.frames == 0


def test_a_part_that_is_missing_is_refused() -> None:
    tokenizer, other = make("tubelets"), make("tubelets")
    tokenizer.push(part(0, 5))
    state = tokenizer.state_dict()
    for name in state.keys() - {"digest", "gate.streamed"}:
        assert refused(other.load_state_dict, unseal(state, name)), name


def test_a_gate_of_another_size_is_refused() -> None:
    one, other = (Tokenizer(gate=Gate(patch=8), size=size) for size in (SIZE, (24, 40)))
    for each in (one, other):
        each.push(part(0, 3))
    mixed = {n: t for n, t in one.state_dict().items() if not n.startswith("gate.")}
    mixed |= {n: t for n, t in other.state_dict().items() if n.startswith("gate.")}
    with pytest.raises(ValueError, match=r"of one stream of \(24, 32\) pixels"):
        one.load_state_dict(resealed({n: t for n, t in mixed.items() if n != "digest"}))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: Tokenizer(gate=Gate(patch=8, threshold=5), size=SIZE), "its gate is"),
        (lambda: Tokenizer(gate=Gate(patch=8), size=(24, 40)), "its gate is"),
        (lambda: Tokenizer(gate=Gate(patch=8), size=SIZE, fps=25), "its fps is null, that of this"),
        (lambda: make("kept"), "its .* is None, that of this stream|its tower is None"),
    ],
)
def test_a_state_of_another_tokenizer_is_refused(other: Any, message: str) -> None:
    tokenizer, stranger = make("camera"), other()
    tokenizer.push(part(0, 5))
    with pytest.raises(ValueError, match=f"state: {message}"):
        stranger.load_state_dict(tokenizer.state_dict())
    assert stranger.frames == 0


def test_a_state_of_another_tower_is_refused() -> None:
    tokenizer = make("watched")
    tokenizer.push(part(0, 5))
    state = tokenizer.state_dict()
    for other in (make("sources"), make("clip"), make("camera")):
        with pytest.raises(ValueError, match="state: its "):
            other.load_state_dict(state)
    stream = gated("siglip", **RULES["watched"]).stream()
    with pytest.raises(ValueError, match="expected a state of format patchgate"):
        stream.load_stream_state_dict(state)
    with pytest.raises(ValueError, match=r"of format patchgate\.Tokenizer/2"):
        tokenizer.load_state_dict(stream.stream_state_dict())


@pytest.mark.parametrize("what", [None, {}, {"clock": 3}, "state.pt"], ids=str)
def test_what_is_no_state_is_refused(what: Any) -> None:
    with pytest.raises(ValueError, match="state: expected"):
        make("camera").load_state_dict(what)


def test_what_is_no_file_of_it_is_refused(tmp_path: Path) -> None:
    tokenizer = make("camera")
    with pytest.raises(FileNotFoundError):
        tokenizer.restore(tmp_path / "none")
    (tmp_path / "text").write_text("no state")
    with pytest.raises(ValueError, match="text: not a safetensors file"):
        tokenizer.restore(tmp_path / "text")
    patch = Tokenizer(gate=Gate(patch=4), size=SIZE)
    patch.save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"other: state: its gate is"):
        tokenizer.restore(tmp_path / "other")
    with pytest.raises(ValueError, match="not a file"):
        tokenizer.save(tmp_path)
