"""Near the last of 2^31 token ids nothing is lost: videos, files, towers' streams and merging."""

import collections
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from gate_states import state_of
from gated_cases import N, camera, normalised, rows_of
from merge_cases import chunk_of, random_tokens
from stream_cases import stream_of
from token_cases import SIZE, assert_same, path
from torch import Tensor

import patchgate
from patchgate import Gate, MergeStream, VideoTokens
from patchgate.gate.memory import MOST_TOKENS, TokenIdsUsedUp
from patchgate.merging.ledger import Ledger
from patchgate.pipeline.collect import collected, empty_chunk
from patchgate.pipeline.features import PixelFeatures
from patchgate.pipeline.frames import token_chunks, until_used_up
from patchgate.tokens.chunk import joined, split
from patchgate.tokens.layout import layout_of
from patchgate.tokens.spill import TokenSpill

FAR = 2**31


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


# ---- a video


def described(gate: Gate, video: Any) -> tuple[Any, Any]:
    """What a spill is told of the tokens to come."""
    return empty_chunk(gate), layout_of(gate, video.colour.matrix)


def gate_with(left: int) -> Gate:
    """A gate that has seen a white picture, unlike any of the video, and has so many ids left."""
    gate = Gate(patch=8, size=SIZE)
    gate.push(torch.full((1, 3, *SIZE), 255, dtype=torch.uint8))
    state = state_of(gate)
    state["clock"][0] = torch.tensor([FAR, MOST_TOKENS - left])
    gate.load_state_dict(state)
    return gate


def tokens_with(left: int, chunk: int) -> VideoTokens:
    gate = gate_with(left)
    with patchgate.open_video(path(), chunk=chunk) as video:
        layout = layout_of(gate, video.colour.matrix)
        return collected(video, gate, PixelFeatures(gate.settings, SIZE), layout)


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_a_video_that_needs_every_id_gets_it(chunk: int) -> None:
    whole = patchgate.tokenize(path(), gate=Gate(patch=8), size=SIZE)
    emitted = len(whole)
    last = int((whole.kind[-1] == 2).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The last frame is looked at with room for all of its 12 cells.
        assert_same(tokens_with(emitted - last + 12, chunk), whole)


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("left", [60, 100])
def test_a_video_without_ids_ends_and_the_rest_follows(chunk: int, left: int) -> None:
    whole = patchgate.tokenize(path(), gate=Gate(patch=8), size=SIZE)
    with pytest.warns(UserWarning, match="more tokens than there are numbers for") as said:
        first = tokens_with(left, chunk)
    frames = len(first.pts_seconds)
    assert 0 < frames < len(whole.pts_seconds)
    assert len(first) <= left
    assert_same(first, whole.slice(0, float(whole.pts_seconds[frames])))
    start = float(str(said[0].message).rsplit("start=", 1)[1])
    rest = patchgate.tokenize(path(), gate=Gate(patch=8), size=SIZE, start=start)
    both = torch.cat([first.pts_seconds, rest.pts_seconds])
    assert torch.equal(both, whole.pts_seconds)


def test_a_file_that_is_written_meanwhile_holds_what_came(tmp_path: Path) -> None:
    gate = gate_with(100)
    with (
        patchgate.open_video(path(), chunk=3) as video,
        TokenSpill(
            tmp_path / "t", empty_chunk(gate), layout_of(gate, video.colour.matrix)
        ) as spill,
    ):
        chunks = until_used_up(token_chunks(video, gate))
        with pytest.warns(UserWarning, match="numbers for"):
            collections.deque(map(spill.add, chunks))
        spill.finish()
    with pytest.warns(UserWarning, match="numbers for"):
        expected = tokens_with(100, 3)
    assert_same(VideoTokens.load(tmp_path / "t"), expected)


def test_a_video_whose_first_frames_find_no_ids_is_an_error() -> None:
    with pytest.raises(TokenIdsUsedUp):
        tokens_with(11, 4)


def test_a_file_takes_no_more_than_there_are_numbers_for(tmp_path: Path) -> None:
    gate = Gate(patch=8, size=SIZE)
    with patchgate.open_video(path(), chunk=64) as video:
        (chunk,) = token_chunks(video, gate)
        with TokenSpill(
            tmp_path / "t", empty_chunk(gate), layout_of(gate, video.colour.matrix)
        ) as spill:
            spill.tokens = MOST_TOKENS - len(chunk.frame) + 1
            with pytest.raises(ValueError, match=f"at most {MOST_TOKENS} tokens in all"):
                spill.add(chunk)
            spill.tokens = 0
            spill.add(chunk)
            spill.finish()
    loaded = VideoTokens.load(tmp_path / "t")
    assert_same(loaded, patchgate.tokenize(path(), gate=Gate(patch=8), size=SIZE))
    assert loaded.layout is not None


# ---- a tower's stream


def move_on(stream: Any, tokens: int) -> None:
    """As if so many tokens, and 2^31 frames, had been emitted before and were forgotten."""
    memory, frames = stream._now.memory, FAR
    if stream._now.gate.picture_ids is not None:
        state = state_of(stream._now.gate)
        state["ids"] += tokens
        state["source"] += tokens
        state["clock"] += torch.tensor([[frames, tokens]])
        stream._now.gate.load_state_dict(state)
    stream._now.memory = replace(
        memory,
        ids=memory.ids + tokens,
        source=memory.source + tokens,
        emitted=memory.emitted + tokens,
        frames=memory.frames + frames,
    )


def assert_alike(got: Any, expected: Any) -> None:
    assert torch.equal(got.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(got.pooler_output, expected.pooler_output)


@pytest.mark.parametrize("rule", ["kept", "residual"])
def test_a_towers_stream_goes_on_to_the_last_id(rule: str, tmp_path: Path) -> None:
    x = normalised(camera(9))
    stream, twin = stream_of(rule), stream_of(rule)
    for each in (stream, twin):
        each(x[:3])
    move_on(stream, MOST_TOKENS - stream._now.memory.emitted - 4 * N)
    assert_alike(stream(x[3:5]), twin(x[3:5]))
    stream.save(tmp_path / "t")
    again = stream_of(rule)
    again.restore(tmp_path / "t")
    move_on(again, 4 * N - (again._now.memory.emitted - (MOST_TOKENS - 4 * N)) - N)  # for a frame
    expected = twin(x[5:6])
    assert_alike(again(x[5:6]), expected)
    move_on(again, MOST_TOKENS - again._now.memory.emitted - N + 1)
    before = again._now.memory
    with pytest.raises(TokenIdsUsedUp, match=r"reset\(\) of a tower's stream"):
        again(x[6:])
    assert again._now.memory is before
    again.reset()
    assert_alike(again(x[6:]), stream_of(rule)(x[6:]))


def test_a_stream_of_rows_counts_on(tmp_path: Path) -> None:
    """It has no gate: its ids are whatever it is told, in 64 bits."""
    rows, ends = rows_of(normalised(camera(4))), torch.tensor([0, N])

    def given(t: int, before: int) -> tuple[Tensor, ...]:
        source = torch.arange(t * N, (t + 1) * N).view(1, 4, 4) + before
        return rows[t], torch.arange(N), ends, source

    stream, twin = stream_of("residual"), stream_of("residual")
    for each in (stream, twin):
        each.encode(*given(0, 0))
    move_on(stream, FAR - 20)  # the next frame's ids lie on both sides
    assert torch.equal(stream.encode(*given(1, FAR - 20)), twin.encode(*given(1, 0)))
    stream.save(tmp_path / "t")
    again = stream_of("residual")
    again.restore(tmp_path / "t")
    assert torch.equal(again.encode(*given(2, FAR - 20)), twin.encode(*given(2, 0)))


# ---- merging


def far_on(stream: MergeStream, tokens: int) -> None:
    """As if so many tokens had come before and were forgotten."""
    now = stream._now
    known = Ledger(2 if now.settings.keep_grid else 0)
    for ledger in (known, now.merger.titles):
        ledger._begin = tokens
    stream._now = now._replace(before=replace(now.before, tokens=tokens, cells=known))
    now.merger.handed_out = tokens


@pytest.mark.parametrize("keep_grid", [False, True])
@pytest.mark.parametrize("before", [FAR - 30, FAR, 2**40])
def test_merging_goes_on_beyond(before: int, keep_grid: bool) -> None:
    tokens = chunk_of(random_tokens(t=15, grid=(4, 6)))
    asked: dict[str, Any] = {"window": 4, "threshold": 2.5, "keep_grid": keep_grid}
    stream, twin = MergeStream(**asked), MergeStream(**asked)
    far_on(stream, before)
    rest, seen, got, expected = tokens, 0, [], []
    for frames in (5, 3, 6, 1):
        chunk, rest = split(rest, frames, seen)
        seen += len(chunk.kind)
        names = tokens.source[:seen].unique()
        expected += twin.push(chunk, names)
        got += stream.push(chunk._replace(source=chunk.source + before), names + before)
    a, b = joined([*got, *stream.flush()]), joined([*expected, *twin.flush()])
    assert len(b.frame) < len(tokens.frame)
    for name, value in b.tensors().items():
        shift = before if name == "source" else 0
        assert torch.equal(getattr(a, name), value + shift if shift else value), name
