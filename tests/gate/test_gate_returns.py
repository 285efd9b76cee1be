"""A gate that remembers pictures: against its oracle, the guarantee, chunks, streams, state."""

from typing import Any

import pytest
import torch
from gate_states import assert_equal, assert_same, state_of
from gate_videos import any_map, any_video, busy_video, gate_settings, grids, noisy, pan, texture
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuild import CHANGED, RETURNED, emitted_cells, rebuild, worst_sub_blocks
from returns_oracle import Returning
from torch import Tensor

from patchgate import Gate
from patchgate.gate.run import gate_clip

P = 8  # cell side of the hand-made cases
SIZE = (48, 64)


def shots(order: str, length: int = 4, noise: int = 1) -> Tensor:
    """Held pictures, one for each letter, ``[T, 3, H, W]``."""
    parts = [texture(SIZE, ord(one), 3).expand(length, -1, -1, -1) for one in order]
    return noisy(torch.cat(parts), noise)


def returning(size: tuple[int, int], c: int, seed: int) -> Tensor:
    """Pieces of three videos in turn, each of which goes on where it was left or begins again."""
    random = torch.Generator().manual_seed(seed)
    videos = [any_video(size, c, seed + i) for i in range(3)]
    parts = []
    for _ in range(7):
        one = videos[int(torch.randint(0, 3, (), generator=random))]
        first = int(torch.randint(0, 3, (), generator=random))
        parts.append(one[first : first + int(torch.randint(1, 5, (), generator=random))])
        if not int(torch.randint(0, 3, (), generator=random)):  # a window over half of it
            left = parts[-1].clone()
            left[..., : size[1] // 2] = videos[0][0, :, :, : size[1] // 2]
            parts.append(left)
    return torch.cat(parts)


def pushed(video: Tensor, memory: int | None = 2, **rules: Any) -> Any:
    return Gate(**{"patch": P, "memory": memory, **rules}).push(video)


# ---- the rules


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_it_equals_its_oracle(data: st.DataObject) -> None:
    config, memory = data.draw(gate_settings(illumination=None)), data.draw(st.integers(1, 3))
    h, w = data.draw(grids(config))
    p, seed = config["patch"] * config["merge"], data.draw(st.integers(0, 10**6))
    video = returning((h * p, w * p), data.draw(st.sampled_from([1, 3])), seed)
    video = video[: len(video) // 2 * 2]
    factors = any_map(h, w, seed) if data.draw(st.booleans()) else None
    gate, oracle = Gate(memory=memory, **config), Returning(memory, **config)
    cut = data.draw(st.integers(0, len(video) // 2)) * 2
    parts, turns, before = [], [], 0
    for part in (video[:cut], video[cut:]):
        parts.append(gate.push(part, factors))
        turns += [(turn.frame + before, turn.base, turn.kept) for turn in gate.turns[0]]
        before += len(parts[-1].kind)
    frames = oracle.push(video.numpy(), None if factors is None else factors.numpy())
    for name in ("kind", "motion", "cost", "source"):
        got = torch.cat([getattr(part, name) for part in parts]).long()
        expected = torch.stack([torch.as_tensor(getattr(frame, name)) for frame in frames])
        assert torch.equal(got, expected.long()), name
    assert torch.cat([part.is_key for part in parts]).tolist() == [f.is_key for f in frames]
    assert turns == oracle.told


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_every_sub_block_is_rebuilt_within_the_limit(data: st.DataObject) -> None:
    config = data.draw(gate_settings(illumination=None))
    h, w = data.draw(grids(config))
    p, f, seed = (
        config["patch"] * config["merge"],
        config["temporal_patch"],
        data.draw(st.integers(0, 10**6)),
    )
    video = returning((h * p, w * p), 1, seed)
    video = video[: len(video) // 2 * 2]
    result = Gate(memory=data.draw(st.integers(1, 3)), **config).push(video)
    emitted = emitted_cells(video, result.kind, p, f)
    told = result.kind, result.motion, emitted, config["motion_precision"]
    seen = rebuild(*told, source=result.source)
    worst = worst_sub_blocks(video, seen, p, config["patch"] // config["sub_blocks"], f)
    assert bool((worst <= result.limit[:, None, None]).all())
    kept = result.kind != CHANGED
    assert torch.equal(worst[kept], result.cost[kept])


def test_a_dialogue_costs_two_pictures() -> None:
    result = pushed(shots("ABABABA"))
    per_frame = (result.kind == CHANGED).flatten(1).sum(1)
    cells = result.kind[0].numel()
    assert per_frame[0] == per_frame[4] == cells
    assert int(per_frame[8:].max()) <= 0.1 * cells
    back = (result.kind == RETURNED).flatten(1).sum(1)
    assert back[8::4].tolist() == [cells] * 5
    assert torch.equal(result.source[8], result.source[0])


def test_three_pictures_need_two_places_beside_the_reference() -> None:
    kept = {m: int((pushed(shots("ABCABC"), m).kind == CHANGED).sum()) for m in (1, 2)}
    assert kept[2] == 3 * 48
    assert kept[1] > kept[2]


def test_a_picture_of_long_ago_gives_its_place_to_a_newer_one() -> None:
    result = pushed(shots("ABCDEA"), 2)
    assert bool(result.is_key[-4])  # A was the least recently used
    assert not bool(pushed(shots("ABCDEA"), 4).is_key[-4])


def test_a_shot_has_at_most_half_of_the_places() -> None:
    """A, then another shot of many windows: A returns nevertheless."""
    busy = shots("B" * 1, 40, 0)
    for i in range(1, 10):
        busy[4 * i :, :, :, : 8 * ((i * 3) % 5 + 2)] = texture(SIZE, i, 3)[
            :, :, : 8 * ((i * 3) % 5 + 2)
        ]
    video = torch.cat([shots("A", 4, 0), busy, shots("A", 4, 0)])
    assert not bool(pushed(video, 4).is_key[-4])


def test_a_window_that_closes_shows_what_was_there() -> None:
    page, window = shots("A", 12, 0), texture(SIZE, 5, 3)
    page[4:8, :, :32, :32] = window[:, :32, :32]
    result = pushed(page, 1)
    counts = (result.kind == CHANGED).flatten(1).sum(1)
    assert counts[4] == 16
    assert counts[8] == 0
    assert bool((result.kind[8] == RETURNED).all())  # the picture of before, as a whole
    assert torch.equal(result.source[8], result.source[0])


def test_cells_that_moved_do_not_return() -> None:
    """They are no token as it was encoded, so the receiver could not put them there."""
    video = torch.cat([pan(SIZE, 4, (0, 3), 1, 3), shots("B", 3, 0)])
    video = torch.cat([video, video[3:4]])
    result = pushed(video, 2, on_motion="reuse")
    moved = result.kind[:4] == 1
    assert bool(moved.any())
    assert not bool((result.kind[-1] == RETURNED)[moved[3]].any())


def test_cells_that_are_too_old_do_not_return() -> None:
    video = shots("AB" * 3, 4, 0)
    assert bool((pushed(video, 2, max_age=9).kind == RETURNED).any())
    aged = pushed(video, 2, max_age=5)
    assert not bool((aged.kind == RETURNED).any())
    assert_same(aged, pushed(video, None, max_age=5))


# ---- what it leaves alone


@pytest.mark.parametrize("memory", [0, None])
def test_without_memory_nothing_changes(memory: int | None) -> None:
    video = returning((24, 32), 3, 7)
    gate, other = Gate(patch=P, memory=memory), Gate(patch=P)
    assert_same(gate.push(video), other.push(video))
    assert gate.state_dict().keys() == other.state_dict().keys()
    assert gate.memory_ids is None


def test_where_nothing_turns_memory_changes_nothing() -> None:
    video = noisy(pan(SIZE, 12, (0, 1), 3, 3), 1)
    assert_same(pushed(video), pushed(video, None))


# ---- back ends

RULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {"max_age": 9, "hysteresis": 0.5, "noise": "adaptive", "motion_precision": 2},
    "tubelets": {"temporal_patch": 2, "on_motion": "reuse"},
    "cells apart": {"search_radius": 0, "scene_cut": None},
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("kernel", ["definition", "emulated"])
def test_every_back_end_gives_the_same_bits(
    kernel: str, rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The op is taken from elsewhere: plain torch, or CUDA's kernels on the CPU."""
    from emulated_gate import definition, emulated

    from patchgate import _ops

    video = torch.cat([shots("ABAB", 2), returning(SIZE, 3, 11)])[:24]
    gate = Gate(patch=P, memory=2, **RULES[rules])
    expected = [gate.push(part) for part in video.split(8)]
    calls = []

    def op(*args: Any) -> list[Tensor]:
        calls.append(args[11])  # the limit
        return emulated(args, 3, 0) if kernel == "emulated" else list(definition(*args))

    monkeypatch.setattr(_ops, "gate", op)
    other = Gate(patch=P, memory=2, **RULES[rules])
    for part, own in zip(video.split(8), expected, strict=True):
        assert_same(other.push(part), own)
    assert_equal(state_of(other), state_of(gate))
    assert 255 * 16 in calls  # pictures were compared


# ---- chunks, streams, state


@pytest.mark.parametrize("chunk", [1, 2, 5, 64])
@pytest.mark.parametrize("rules", [{}, {"temporal_patch": 2}, {"max_age": 7, "noise": "adaptive"}])
def test_chunks_do_not_matter(chunk: int, rules: dict[str, Any]) -> None:
    video = torch.cat([shots("ABCAB", 3), returning(SIZE, 3, 5), shots("CB", 2)])
    video = video[: len(video) // 2 * 2]
    whole = pushed(video, **rules)
    gate = Gate(patch=P, memory=2, **rules)
    parts = [gate.push(part) for part in video.split(chunk)]
    assert_same(whole, type(whole)(*map(torch.cat, zip(*parts, strict=True))))


def test_streams_do_not_know_of_each_other() -> None:
    videos = torch.stack([shots("ABABA"), shots("CCCCC"), shots("DEEDE")])
    gate = Gate(patch=P, memory=2)
    parts = [gate.push(part) for part in videos.split(7, 1)]
    for s, video in enumerate(videos):
        alone = Gate(patch=P, memory=2)
        for part, own in zip(parts, video.split(7), strict=True):
            assert_same(type(part)(*(tensor[s] for tensor in part)), alone.push(own))


def test_a_stream_that_is_reset_forgets_its_pictures() -> None:
    videos = torch.stack([shots("AB"), shots("AB")])
    gate = Gate(patch=P, memory=2)
    gate.push(videos)
    gate.reset([1])
    again = gate.push(torch.stack([shots("BA"), shots("BA")]))
    assert not bool(again.is_key[0].any())
    assert again.is_key[1].nonzero().flatten().tolist() == [0, 4]


@pytest.mark.parametrize("at", [3, 8, 9, 17])
def test_a_loaded_state_goes_on(at: int) -> None:
    video = torch.cat([shots("ABCAB", 4), busy_video(3)[:, :, :16, :16].repeat(1, 1, 3, 4)])
    gate = Gate(patch=P, memory=2)
    gate.push(video[:at])
    other = Gate(patch=P, memory=2)
    other.load_state_dict(state_of(gate))
    assert_equal(state_of(other), state_of(gate))
    assert_same(other.push(video[at:]), gate.push(video[at:]))


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("memory_now", 99, "memory_now"),
        ("memory_tokens", 10**6, "memory_tokens"),
        ("memory_numbers", 9, "memory_numbers"),
        ("memory_pixels", None, "memory_pixels"),
        ("memory_whole", None, "memory_whole"),
    ],
)
def test_a_damaged_state_is_refused(name: str, change: int | None, says: str) -> None:
    gate = Gate(patch=P, memory=2)
    gate.push(shots("ABA"))
    state = state_of(gate)
    if change is None:
        del state[name]
    else:
        state[name] = state[name] + change
    before = state_of(gate)
    with pytest.raises(ValueError, match=says):
        gate.load_state_dict(state)
    assert_equal(state_of(gate), before)


def test_states_with_and_without_memory_do_not_fit_each_other() -> None:
    with_memory, without = Gate(patch=P, memory=1), Gate(patch=P)
    for gate in (with_memory, without):
        gate.push(shots("A"))
    with pytest.raises(ValueError, match="memory"):
        without.load_state_dict(with_memory.state_dict())
    with pytest.raises(ValueError, match="memory"):
        with_memory.load_state_dict(without.state_dict())
    with pytest.raises(ValueError, match="memory"):
        Gate(patch=P, memory=2).load_state_dict(with_memory.state_dict())


def test_a_push_that_fails_leaves_what_was_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    from patchgate.gate.longterm import turns

    gate = Gate(patch=P, memory=2)
    gate.push(shots("AB"))
    before, real = {n: t.clone() for n, t in gate.state_dict().items()}, turns.slot_for

    def fails(*given: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(turns, "slot_for", fails)
    with pytest.raises(MemoryError):
        gate.push(shots("ACA"))
    monkeypatch.setattr(turns, "slot_for", real)
    assert_equal(gate.state_dict(), before)
    other = Gate(patch=P, memory=2)
    other.push(shots("AB"))
    assert_same(gate.push(shots("ACA")), other.push(shots("ACA")))


@pytest.mark.parametrize("memory", [-1, 65, 1.5, True])
def test_settings_out_of_range_are_refused(memory: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="memory"):
        Gate(memory=memory)


def test_one_graph_of_a_clip_has_no_memory() -> None:
    with pytest.raises(ValueError, match="memory"):
        gate_clip(shots("AB"), Gate(patch=P, memory=1).settings)
