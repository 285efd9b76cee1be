"""Where a gate's token ids end."""

import resource

import pytest
import torch
from gate_states import assert_equal, state_of
from gate_videos import busy_video, pan

from patchgate import Gate
from patchgate.gate import memory as gate_memory
from patchgate.gate.memory import MOST_TOKENS, TokenIdsUsedUp


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
