"""illumination="global": the reference follows the light, within the guarantee and bounds."""

from typing import Any

import numpy as np
import pytest
import torch
from gate_videos import drift, noisy, pan, relit, still, with_object
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuild import CHANGED, MOVED, STATIC, emitted_cells, rebuild, worst_sub_blocks
from torch import Tensor

from patchgate import Gate, GateResult, VideoTokens, tokenize

P, ONE = 8, 4096
LIT: dict[str, Any] = {"patch": P, "illumination": "global"}


def lit_by(video: Tensor, gain: list[float], level: list[float]) -> Tensor:
    """``gain * Y + level`` of every frame; colours fade towards grey with the gain."""
    g, o = (torch.tensor(each).view(-1, 1, 1, 1) for each in (gain, level))
    y = video[:, :1].float() * g + o
    colour = (video[:, 1:].float() - 128) * g + 128
    return torch.cat([y, colour], 1).round().clamp(0, 255).to(torch.uint8)


def faded(t: int, last: float, c: int = 3) -> Tensor:
    """A held picture that fades to ``last`` of its light."""
    return lit_by(still((6 * P, 7 * P), t, c=c), np.linspace(1, last, t).tolist(), [0.0] * t)


def kept(result: GateResult) -> list[int]:
    """How many cells of each frame are encoded."""
    return (result.kind == CHANGED).flatten(-2).sum(-1).tolist()


@pytest.mark.parametrize("c", [1, 3])
def test_a_held_picture_that_fades_to_a_fifth_is_encoded_a_few_times(c: int) -> None:
    video = faded(31, 0.2, c)
    plain, lit = Gate(patch=P).push(video), Gate(**LIT).push(video)
    assert sum(kept(lit)) <= 0.3 * sum(kept(plain))
    assert max(kept(lit)[1:]) > 21  # it is encoded anew where its light is too far


def test_a_token_is_never_shown_in_a_light_beyond_the_bound() -> None:
    video = torch.cat([faded(31, 0.2), faded(31, 0.2).flip(0)])
    result = Gate(**LIT).push(video)
    shown = torch.zeros(6, 7, dtype=torch.long)  # the frame whose light each cell's token is in
    light = torch.cat([torch.linspace(1, 0.2, 31), torch.linspace(0.2, 1, 31)])
    gain = torch.ones(6, 7)  # that each token is shown at
    for t, kind in enumerate(result.kind):
        shown[kind == CHANGED] = t
        gain[result.lit[t]] *= float(result.weights[t, 0, 0, 0]) / ONE
        gain[kind == CHANGED] = 1
        assert 0.699 <= float(gain.min()) <= float(gain.max()) <= 1.43, t
        ratio = light[t] / light[shown]  # what is within the limit may differ by that
        assert 0.64 <= float(ratio.min()) <= float(ratio.max()) <= 1.55, t
    assert bool((result.kind[1:] == STATIC).any())


def test_flicker_is_followed_without_end() -> None:
    t = 300
    gain = (1 + 0.06 * np.sin(1.3 * np.arange(t))).tolist()
    video = lit_by(still((6 * P, 7 * P), t, c=3) // 2 + 40, gain, [0.0] * t)
    plain = sum(kept(Gate(patch=P).push(video)))
    assert plain > 100 * 42
    assert sum(kept(Gate(**LIT).push(video))) <= 0.05 * plain


def test_where_the_light_does_not_change_nothing_differs() -> None:
    videos = [
        noisy(still((6 * P, 7 * P), 12, c=3), 2),
        pan((6 * P, 7 * P), 12, (1, -2), c=3),
        torch.cat([pan((6 * P, 7 * P), 5, (0, 3), 1, c=3), pan((6 * P, 7 * P), 5, (2, 0), 2, c=3)]),
    ]
    for video in videos:
        plain, lit = Gate(patch=P).push(video), Gate(**LIT).push(video)
        assert not bool(lit.lit.any())
        assert bool((lit.weights == torch.tensor([ONE, 0])).all())
        for name in ("kind", "motion", "cost", "source", "is_key", "limit"):
            assert torch.equal(getattr(plain, name), getattr(lit, name)), name


def test_what_does_not_follow_the_light_stays_as_it_is() -> None:
    """Bars above and below a picture that fades to white keep their tokens, and are not relit."""
    t = 12
    share = np.linspace(1, 0.6, t)
    video = lit_by(still((8 * P, 6 * P), t, c=3), share.tolist(), (255 * (1 - share)).tolist())
    video[:, 0, :P] = video[:, 0, -P:] = 16
    video[:, 1:, :P] = video[:, 1:, -P:] = 128
    result = Gate(**LIT).push(video)
    assert bool(result.lit[:, 1:-1].any())
    for row in (0, -1):
        assert not bool(result.lit[:, row].any())
        assert bool((result.kind[1:, row] == STATIC).all())


def test_a_faint_cell_is_not_encoded_for_the_light_of_others() -> None:
    """A picture fades to grey: what is faint stays within the limit as it is, and is left alone."""
    t = 30
    video = still((6 * P, 8 * P), t, c=3)
    video[:, 0, :, 4 * P :] = 128 + (video[:, 0, :, 4 * P :].int() - 128).clamp(-3, 3)
    gain = np.linspace(1, 0.2, t)
    video = lit_by(video, gain.tolist(), (128 * (1 - gain)).tolist())
    video[:, 1:] = 128
    plain, lit = Gate(patch=P).push(video), Gate(**LIT).push(video)
    assert not bool((plain.kind[1:, :, 4:] == CHANGED).any())
    assert not bool((lit.kind[1:, :, 4:] == CHANGED).any())
    assert bool(lit.lit[:, :, 4:].any())  # as far as its token's own light allows
    assert sum(kept(lit)) < 0.5 * sum(kept(plain))


def test_motion_is_found_in_the_light_of_the_frame() -> None:
    t = 10
    page = drift((6 * P, 7 * P), t, (0, 4), c=3, grain=24)
    video = lit_by(page, np.linspace(1, 0.5, t).tolist(), [0.0] * t)
    plain, lit = Gate(patch=P).push(video), Gate(**LIT).push(video)
    assert bool((lit.kind[1:, :, :-1] == MOVED).float().mean() > 0.5)
    assert sum(kept(lit)) < 0.6 * sum(kept(plain))


@given(st.integers(0, 10**6), st.sampled_from([1, 2]), st.sampled_from(["camera", "reuse"]))
@settings(max_examples=60)
def test_any_fade_is_rebuilt_within_the_limit(seed: int, f: int, on_motion: str) -> None:
    random = np.random.default_rng(seed)
    base = still((3 * P, 4 * P), 16, seed, 3)
    if seed % 3 == 0:
        base = with_object(base, (1, -2), 10, seed)
    if seed % 3 == 1:
        base = pan((3 * P, 4 * P), 16, (1, 2), seed, 3)
    gain = np.exp(random.normal(0, 0.08, 16).cumsum()).clip(0.05, 3)
    video = lit_by(base, gain.tolist(), random.normal(0, 4, 16).cumsum().tolist())
    video = noisy(video, int(random.integers(0, 3)), seed)
    result = Gate(temporal_patch=f, on_motion=on_motion, **LIT).push(video)
    emitted = emitted_cells(video, result.kind, P, f)
    seen = rebuild(result.kind, result.motion, emitted, 1, result.weights, result.lit)
    worst = worst_sub_blocks(video, seen, P, P // 2, f)
    assert bool((worst <= result.limit[:, None, None]).all())
    unchanged = result.kind != CHANGED
    assert torch.equal(worst[unchanged], result.cost[unchanged])


@pytest.mark.parametrize("sizes", [[1] * 24, [5, 7, 12], [24]])
def test_chunks_do_not_matter(sizes: list[int]) -> None:
    video = relit(still((3 * P, 4 * P), 24, 5, 3) // 2 + 50, 3)
    want = Gate(**LIT).push(video)
    assert bool(want.lit.any())
    gate = Gate(**LIT)
    parts = [gate.push(part) for part in video.split(sizes)]
    for name, whole in want._asdict().items():
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), whole), name


def test_a_push_that_fails_leaves_the_light_as_it_was() -> None:
    video = relit(still((3 * P, 4 * P), 12, 5, 3) // 2 + 50, 3)
    gate, want = Gate(**LIT), Gate(**LIT)
    for each in (gate, want):
        each.push(video[:6])
    undo = gate._mark()
    gate._pushed(video[6:], None)
    undo()
    got, expected = gate.push(video[6:]), want.push(video[6:])
    assert bool(expected.lit.any())
    for name, whole in expected._asdict().items():
        assert torch.equal(getattr(got, name), whole), name


def test_a_state_goes_on_and_is_refused_by_a_gate_without_light() -> None:
    video = relit(still((3 * P, 4 * P), 12, 5, 3) // 2 + 50, 3)
    gate = Gate(**LIT)
    gate.push(video[:6])
    state = {name: part.clone() for name, part in gate.state_dict().items()}
    other = Gate(**LIT)
    other.load_state_dict(state)
    for a, b in zip(gate.push(video[6:]), other.push(video[6:]), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="illumination='global', this one has None"):
        Gate(patch=P).load_state_dict(state)
    state["light"][0, 0, 0, 0, 0, 0] = ONE * 7 // 10 - 1
    with pytest.raises(ValueError, match="state: expected light within 7/10 and 10/7"):
        other.load_state_dict(state)


def test_an_unknown_kind_of_light_is_refused() -> None:
    with pytest.raises(ValueError, match="illumination: expected one of None, 'global'"):
        Gate(illumination="local")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tokens() -> VideoTokens:
    pictures = (faded(24, 0.3)[:, :1].expand(-1, 3, -1, -1)).contiguous()  # grey RGB
    return tokenize(pictures.movedim(1, -1), fps=25, gate=Gate(size=(6 * P, 7 * P), **LIT))


def test_tokens_carry_the_light_through_files_and_slices(
    tokens: VideoTokens, tmp_path: Any
) -> None:
    assert tokens.weights is not None
    assert tokens.lit is not None
    assert bool(tokens.lit.any())
    video = tokens.reconstruct()
    tokens.save(tmp_path / "lit")
    again = VideoTokens.load(tmp_path / "lit")
    assert torch.equal(again.lit, tokens.lit)
    assert torch.equal(again.reconstruct(), video)
    assert torch.equal(tokens.frames(7, 20).reconstruct(), video[7:20])
    assert float(video[-1, 0].float().mean()) < 0.4 * float(video[0, 0].float().mean())


def test_files_with_light_are_of_another_version(tokens: VideoTokens, tmp_path: Any) -> None:
    from safetensors import safe_open

    forms = []
    unlit = tokenize(faded(3, 1.0).movedim(1, -1), fps=25, gate=Gate(patch=P, size=(48, 56)))
    for each in (tokens, unlit):
        each.save(tmp_path / "file")
        with safe_open(tmp_path / "file", framework="pt") as file:
            forms.append(file.metadata()["format"])
    assert forms == ["patchgate.VideoTokens/2", "patchgate.VideoTokens/1"]
    assert unlit.weights is None


@pytest.mark.parametrize(
    ("field", "bad", "message"),
    [
        ("lit", None, "expected weights and lit together"),
        ("lit", lambda x: x.byte(), "expected lit bool"),
        ("weights", lambda x: x[:, :, :, :1], "expected weights int32"),
        ("weights", lambda x: x * 0, "expected gains of 1024..16384"),
        ("weights", lambda x: x + 5_000_000 * torch.tensor([0, 1]).int(), "expected offsets"),
    ],
)
def test_light_that_cannot_be_is_not_saved(
    tokens: VideoTokens, tmp_path: Any, field: str, bad: Any, message: str
) -> None:
    import dataclasses

    value = None if bad is None else bad(getattr(tokens, field))
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tokens, **{field: value}).save(tmp_path / "bad")


def test_a_gate_follows_the_light_or_remembers_pictures() -> None:
    expected = "a gate has one of them, got memory=2 and illumination='global'"
    with pytest.raises(ValueError, match=expected):
        Gate(memory=2, illumination="global")
    assert Gate(memory=0, illumination="global").settings.memory == 0
