"""Towers with a gate that remembers pictures: a picture that returns costs nothing and is exact."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from gate_videos import texture
from gated_cases import FAMILIES, SIDE, N, flicker, noise, normalised
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_cases import MODELS, RULES, assert_pushes_equal_the_whole_clip, gated
from torch import Tensor

import patchgate
from patchgate.gate import CHANGED, RETURNED
from patchgate.gate.saved import letters, sealed

ALL = {name: rules for name, rules in RULES.items() if name != "passing"}
every_rule = pytest.mark.parametrize("rule", ALL)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def held(order: str, length: int = 2) -> Tensor:
    """Held pictures, one for each letter, uint8 ``[T, 3, H, W]``."""
    parts = [texture((SIDE, SIDE), ord(one), 3).expand(length, -1, -1, -1) for one in order]
    return torch.cat(parts).clone()


def lively(order: str, seed: int = 0) -> Tensor:
    """The same, with cells that change while a picture is shown, and a window in some."""
    video, random = held(order, 4), torch.Generator().manual_seed(seed)
    for t in range(1, len(video)):
        if int(torch.randint(0, 2, (), generator=random)):
            y, x = (8 * torch.randint(0, 4, (2,), generator=random)).tolist()
            video[t:, :, y : y + 8, x : x + 8] = noise(1, t)[0, :, :8, :8]
        if t % 4 == 0:  # what changed in one shot does not stay in the next
            video[t:] = held(order, 4)[t:]
    video[6:8, :, :, :16] = noise(1, 99)[0, :, :, :16]
    return video


@every_rule
@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_that_returns_shows_what_it_showed(rule: str, family: str) -> None:
    if "refresh" in ALL[rule]:
        pytest.skip("it computes all cells of some frames")
    stream, x = gated(family, memory=2, **ALL[rule]).stream(), normalised(held("ABA"))
    first = stream(x[:2], output_hidden_states=[1])
    stream(x[2:4], output_hidden_states=[1])
    again = stream(x[4:], output_hidden_states=[1])
    assert stream.last_work.kept == 0
    assert stream.last_work.gated_flops == 0
    for name in ("last_hidden_state", "pooler_output"):
        assert torch.equal(again[name], first[name])
    assert torch.equal(again.hidden_states[1], first.hidden_states[1])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("moved", ["own", "source", "lend"])
@pytest.mark.parametrize("seed", range(3))
def test_at_tolerance_0_it_is_the_dense_tower(family: str, moved: str, seed: int) -> None:
    x = normalised(lively("ABABCA", seed))
    rules: dict[str, Any] = {"threshold": 0, "search_radius": None, "memory": 2}
    tower = gated(family, context="full", tolerance=0, moved=moved, **rules)
    expected, found = MODELS[family](x), tower(x)
    assert tower.last_work.kept < 0.6 * tower.last_work.cells
    for name in ("last_hidden_state", "pooler_output"):
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    rule=st.sampled_from(sorted(ALL)),
    order=st.text("ABC", min_size=2, max_size=6),
    seed=st.integers(0, 99),
    cuts=st.sets(st.integers(1, 23), max_size=5),
)
def test_pushes_equal_the_whole_clip(family, rule, order, seed, cuts) -> None:
    x = normalised(lively(order, seed))
    whole = gated(family, memory=2, **ALL[rule])
    assert_pushes_equal_the_whole_clip(whole, x, cuts)


@pytest.mark.parametrize("family", FAMILIES)
def test_cells_of_a_picture_that_returns_in_part(family: str) -> None:
    """A closed window: half of the cells return, the others stand still."""
    video = held("A", 6)
    video[2:4, :, :16] = noise(1, 3)[0, :, :16]
    video[3:, :, 24:, 24:] = noise(1, 5)[0, :, 24:, 24:]  # so that the pictures differ, too
    rules: dict[str, Any] = {"threshold": 0, "search_radius": None, "memory": 1}
    tower = gated(family, context="full", tolerance=0, **rules)
    x = normalised(video)
    torch.testing.assert_close(tower(x).last_hidden_state, MODELS[family](x).last_hidden_state,
                               rtol=0, atol=1e-9)  # fmt: skip
    assert tower.last_work.kept == N + 8 + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_frame_of_a_return_costs_a_tenth_at_most(family: str) -> None:
    stream = gated(family, memory=2, context="full", tolerance=0.15).stream()
    x = normalised(held("ABABA", 1))
    stream(x[:1])
    key = stream.last_work
    stream(x[1:2])
    for t in range(2, 5):
        stream(x[t : t + 1])
        assert stream.last_work.kept <= 0.1 * key.kept
        assert stream.last_work.gated_flops <= 0.1 * key.gated_flops


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_remembered_is_bounded(family: str) -> None:
    stream = gated(family, memory=2, context="full", tolerance=0.05).stream()
    for t in range(12):
        stream(normalised(noise(1, seed=t)))  # every frame all new
        memory = stream._now.memory
        assert len(memory.ids) <= 3 * N
        assert all(layer.count <= 4 * (N + 1) for layer in memory.layers)


@every_rule
def test_several_streams_equal_one_each(rule: str) -> None:
    tower = gated("siglip", memory=2, **ALL[rule])
    clips = [normalised(lively(order)) for order in ("ABAB", "CCBC", "ABCA")]
    together, alone = tower.stream(streams=3), [tower.stream() for _ in clips]
    for t in range(0, 16, 5):
        found = together.push([clip[t : t + 5] for clip in clips])
        for out, one, clip in zip(found, alone, clips, strict=True):
            expected = one(clip[t : t + 5])
            torch.testing.assert_close(
                out.last_hidden_state, expected.last_hidden_state, rtol=0, atol=1e-9
            )


def test_tokens_of_a_call_say_what_returned() -> None:
    tower = gated("siglip", memory=2, context="full", tolerance=0.05)
    video = tower.tokens(normalised(held("ABA")), pts_seconds=torch.arange(6, dtype=torch.float64))
    assert bool((video.kind[4] == RETURNED).all())
    assert torch.equal(video.dense()[4], video.dense()[0])
    assert int((video.kind == CHANGED).sum()) == 2 * N


def test_a_call_that_fails_leaves_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, x = gated("siglip", memory=2, **ALL["watched"]).stream(), normalised(held("ABAB"))
    other = gated("siglip", memory=2, **ALL["watched"]).stream()
    stream(x[:3])
    other(x[:3])
    with monkeypatch.context() as patched:
        patched.setattr(patchgate.encoders.run.clip, "stand_still", None)
        with pytest.raises(TypeError):
            stream(x[3:])
    assert torch.equal(stream(x[3:]).last_hidden_state, other(x[3:]).last_hidden_state)


@pytest.mark.parametrize(
    "more", [{"pass_over": (0.4, 2), "context": "full"}, {"capacity": 20, "context": "kept"}]
)
def test_what_it_cannot_go_with_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="memory"):
        gated("siglip", memory=2, **more)


def test_flicker_is_no_turn() -> None:
    x = normalised(flicker(8))
    with_memory, without = (gated("siglip", memory=m, **ALL["watched"]) for m in (2, None))
    assert torch.equal(with_memory(x).last_hidden_state, without(x).last_hidden_state)


# ---- saved streams


@every_rule
@pytest.mark.parametrize("at", [3, 8, 13])
def test_a_saved_stream_goes_on(rule: str, at: int, tmp_path: Path) -> None:
    tower, x = gated("clip", memory=2, **ALL[rule]), normalised(lively("ABCAB"))
    stream, other, third = (tower.stream() for _ in range(3))
    stream(x[:at])
    stream.save(tmp_path / "state")
    other.restore(tmp_path / "state")
    third.load_stream_state_dict(stream.stream_state_dict())
    expected = stream(x[at:])
    for each in (other, third):
        found = each(x[at:])
        assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
        assert torch.equal(found.pooler_output, expected.pooler_output)
        assert vars(each.last_work) == vars(stream.last_work)


@pytest.mark.parametrize(
    "name",
    [
        "picture.0.source",
        "picture.0.pooled",
        "layer.1.picture.0.row",
        "layer.0.picture.0.sums.total",
        "output.features.picture.0.row",
        "gate.memory_tokens",
    ],
)
def test_a_damaged_state_is_refused(name: str) -> None:
    tower, x = gated("clip", memory=2, **ALL["watched"]), normalised(lively("ABA"))
    stream = tower.stream()
    stream(x)
    state = stream.stream_state_dict()
    assert name in state
    for change in ("missing", "other"):
        damaged = dict(state)
        if change == "missing":
            del damaged[name]
        else:
            damaged[name] = state[name] + 10**6
        with pytest.raises(ValueError, match="state"):
            stream.load_stream_state_dict(damaged)


def test_a_state_from_before_there_was_memory_is_loaded() -> None:
    """Its description of the gate lacks the setting, which is off."""
    stream, x = gated("clip", **ALL["watched"]).stream(), normalised(lively("AB"))
    stream(x[:4])
    state = stream.stream_state_dict()
    owner = json.loads(bytes(state["belongs_to"].tolist()))
    assert json.loads(owner["gate"]).pop("memory") is None
    gate = {name: value for name, value in json.loads(owner["gate"]).items() if name != "memory"}
    old = {**state, "belongs_to": letters(json.dumps({**owner, "gate": json.dumps(gate)}))}
    del old["digest"]
    other = gated("clip", **ALL["watched"]).stream()
    other.load_stream_state_dict(sealed(old))
    assert torch.equal(other(x[4:]).last_hidden_state, stream(x[4:]).last_hidden_state)
