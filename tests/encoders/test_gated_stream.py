"""A stream of pushes equals the whole clip, and remembers no more than it must."""

import copy
import math

import pytest
import torch
from gated_cases import FAMILIES, MEAN, STD, N, camera, flicker, noise, normalised, rows_of, tower
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_cases import EXACT, MODELS, assert_pushes_equal_the_whole_clip, gated

import patchgate

families = st.sampled_from(FAMILIES)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@settings(max_examples=60)
@given(
    family=families,
    clip=st.sampled_from([flicker, camera]),
    on_motion=st.sampled_from(["camera", "reuse"]),
    seed=st.integers(0, 99),
    cuts=st.sets(st.integers(1, 23), max_size=8),
)
def test_pushes_equal_the_whole_clip(family, clip, on_motion, seed, cuts):
    x = normalised(clip(24, seed))
    whole = gated(family, on_motion=on_motion, scene_cut=None)
    assert_pushes_equal_the_whole_clip(whole, x, cuts)


@pytest.mark.parametrize("family", FAMILIES)
def test_memory_is_bounded_by_what_can_be_named(family):
    stream = gated(family).stream()
    for t in range(20):
        stream(normalised(noise(1, seed=t)))  # every frame all new
    assert len(stream._now.memory.ids) == N


@pytest.mark.parametrize("family", FAMILIES)
def test_reset_forgets(family):
    stream, x = gated(family).stream(), normalised(flicker(3))
    first = stream(x).last_hidden_state
    again = stream(x[:1])
    assert stream.last_work.kept < N
    stream.reset()
    assert torch.equal(stream(x).last_hidden_state, first)
    assert again.last_hidden_state.shape[0] == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_inference_mode_may_end_in_between(family):
    stream, x = gated(family).stream(), normalised(flicker(4))
    with torch.inference_mode():
        stream(x[:2])
    with torch.enable_grad():
        assert stream(x[2:]).last_hidden_state.requires_grad


def test_streams_and_calls_are_apart():
    whole = gated("siglip")
    one, two = whole.stream(), whole.stream()
    a, b = normalised(flicker(4, 1)), normalised(flicker(4, 2))
    mixed = [one(a[:2]), two(b[:2]), whole(b), one(a[2:]), two(b[2:])]
    for pushes, clip in ((mixed[0::3], a), (mixed[1::3], b)):
        out = torch.cat([each.last_hidden_state for each in pushes])
        torch.testing.assert_close(out, whole(clip).last_hidden_state, **EXACT)


def test_what_a_stream_cannot_go_on_from():
    stream = patchgate.gated(tower("clip"), mean=MEAN, std=STD, context="kept").stream()
    x = normalised(flicker(2))
    stream(x)
    with pytest.raises(ValueError, match="did not ask for hidden_0"):
        stream(x, output_hidden_states=True)
    with pytest.raises(ValueError, match="a stream is one clip"):
        stream(x, clip_lengths=[1, 1])
    stream.to(torch.float32)
    with pytest.raises(ValueError, match=r"float64.*float32.*reset\(\)"):
        stream(x)
    stream.reset()
    assert stream(x).last_hidden_state.dtype == torch.float32


def test_bad_input_leaves_a_stream_as_it_was():
    stream, x = gated("siglip").stream(), normalised(flicker(4))
    stream(x[:2])
    with pytest.raises(ValueError, match="as RGB"):
        stream(x[2:] * 100)
    whole = gated("siglip")(x)
    torch.testing.assert_close(
        stream(x[2:]).last_hidden_state, whole.last_hidden_state[2:], **EXACT
    )


@pytest.mark.parametrize("rule", [{}, {"tolerance": 0.05}, {"refresh": 3}], ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_stream_goes_on_elsewhere(family, rule, tmp_path):
    x, path = normalised(camera(6)), tmp_path / "stream"
    rule = {"context": "full", **rule} if rule else {}
    first = gated(family, **rule).stream()
    first(x[:3])
    first.save(path)
    expected = first(x[3:])
    second = gated(family, **rule).stream()
    second.restore(path)
    out = second(x[3:])
    assert torch.equal(out.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(out.pooler_output, expected.pooler_output)
    second.save(path)
    first.restore(path)
    assert torch.equal(first(x).last_hidden_state, second(x).last_hidden_state)


def test_a_stream_that_saw_nothing_can_be_saved(tmp_path):
    x, stream = normalised(flicker(3)), gated("clip").stream()
    stream.save(tmp_path / "stream")
    stream(x)
    stream.restore(tmp_path / "stream")
    expected = gated("clip").stream()(x).last_hidden_state
    assert torch.equal(stream(x).last_hidden_state, expected)


def test_states_of_something_else(tmp_path):
    x, path = normalised(flicker(3)), tmp_path / "stream"
    stream = gated("siglip").stream()
    stream(x)
    stream.save(path)
    other = copy.deepcopy(MODELS["siglip"])
    with torch.no_grad():
        other.encoder.layers[1].mlp.fc1.weight[0, 0] += 1
    others = {
        "tower": patchgate.gated(other, mean=MEAN, std=STD, context="kept"),
        "tower is SiglipV": gated("clip"),
        "gate": gated("siglip", threshold=5),
        "fidelity": gated("siglip", context="full"),
    }
    for what, sparse in others.items():
        with pytest.raises(ValueError, match=f"its {what}"):
            sparse.stream().restore(path)
    with pytest.raises(FileNotFoundError):
        stream.restore(tmp_path / "nothing")
    (tmp_path / "text").write_text("no state")
    with pytest.raises(ValueError, match="not a safetensors file"):
        stream.restore(tmp_path / "text")


def test_frames_and_rows_are_not_mixed():
    x = normalised(noise(2))
    rows, cell = rows_of(x[:1])[0], torch.arange(N)
    arguments = rows, cell, torch.tensor([0, N]), torch.arange(N).view(1, 4, 4)
    stream = gated("siglip").stream()
    stream(x)
    with pytest.raises(ValueError, match=r"so far it had frames; reset\(\)"):
        stream.encode(*arguments)
    stream.reset()
    stream.encode(*arguments)
    with pytest.raises(ValueError, match=r"so far it had encode\(\); reset\(\)"):
        stream(x)


def test_a_token_that_was_forgotten_is_not_guessed():
    x = normalised(noise(3))
    rows, cell, ends = rows_of(x), torch.arange(N), torch.tensor([0, N])
    stream = gated("siglip", context="full").stream()
    for t in range(2):  # the second frame shows none of the first one's tokens
        stream.encode(rows[t], cell, ends, torch.arange(t * N, (t + 1) * N).view(1, 4, 4))
    with pytest.raises(ValueError, match="token 0 is not remembered"):
        stream.encode(rows[2, :0], cell[:0], ends * 0, torch.arange(N).view(1, 4, 4))
    nothing = rows[2, :0], cell[:0], ends * 0, torch.arange(N, 2 * N).view(1, 4, 4)
    for names, error, says in [
        (torch.tensor([3]), ValueError, "names: token 3 is not remembered"),
        (torch.tensor([2 * N]), ValueError, r"names: expected ids of tokens in 0\.\.31"),
        (torch.tensor([-1]), ValueError, "names: expected ids"),
        (torch.tensor([1.0]), TypeError, "names: expected a Tensor of integers, got torch.float32"),
        ([3], TypeError, "names: expected a Tensor of integers, got list"),
    ]:
        with pytest.raises(error, match=says):
            stream.encode(*nothing, names=names)
    assert not len(stream.encode(*nothing, names=torch.tensor([N, 2 * N - 1])))


@pytest.mark.parametrize("tolerance", [0.0, 0.05, math.inf])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_push_in_which_nothing_is_new_enters_no_layer(family, tolerance, monkeypatch):
    x = normalised(flicker(4))
    x = torch.cat([x[:3], x[2:3].expand(4, -1, -1, -1), x[3:], x[:1]])
    sparse = gated(family, context="full", tolerance=tolerance)
    whole, stream = sparse(x, output_hidden_states=True), sparse.stream()
    parts = [stream(x[:3], output_hidden_states=True)]
    with monkeypatch.context() as patched:
        patched.setattr(type(stream._tower), "qkv", None)  # cannot be called
        parts += [stream(part, output_hidden_states=True) for part in (x[3:4], x[4:7])]
    assert stream.last_work.gated_flops == 0
    parts.append(stream(x[7:], output_hidden_states=True))
    for name in ("last_hidden_state", "pooler_output"):
        joined = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(joined, whole[name], **EXACT)
    for expected, *found in zip(
        whole.hidden_states, *(part.hidden_states for part in parts), strict=True
    ):
        torch.testing.assert_close(torch.cat(found), expected, **EXACT)
