"""A merge stream's state: it goes on elsewhere bit for bit, and what cannot be is refused."""

import io
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_cases import SETTINGS, chunk_of, random_tokens, shots
from safetensors.torch import load_file, save_file
from saved_cases import State, mutations, refused, resealed, unseal
from torch import Tensor

from patchgate import MergeStream, TokenChunk, VideoTokens
from patchgate.merging import ledger
from patchgate.tokens.chunk import split

ASKED: list[dict[str, Any]] = [
    *SETTINGS,
    {"ratio": 0.7, "keep_grid": True},
    {"budget": 30, "per": "second", "every_frame": True, "memory": 0},
    {"threshold": 0.5, "delta": None, "agreement": math.inf},
    {"ratio": 0.8, "delta": 0.0, "memory": 1},
]


def head(mean: Tensor) -> Tensor:
    """A user's own: three outcomes."""
    return mean[:3].double() * 4


def videos(kind: str, seed: int) -> VideoTokens:
    torch.manual_seed(seed)
    return random_tokens(t=15) if kind == "random" else shots(0, 1, 0, 2, 1, length=3)


def parts(tokens: TokenChunk, cuts: list[int]) -> list[TokenChunk]:
    """The frames by chunks of so many, and the rest."""
    found, rest, before = [], tokens, 0
    for frames in cuts:
        first, rest = split(rest, frames, before)
        before += len(first.kind)
        found.append(first)
    return [*found, rest]


def nameable(tokens: TokenChunk, frame: int) -> Tensor:
    """Tokens up to a frame that later frames name."""
    names = tokens.source[frame + 1 :].unique()
    return names[names < int((tokens.frame <= frame).sum())]


def same(a: list[TokenChunk], b: list[TokenChunk]) -> bool:
    """Bit for bit."""
    return len(a) == len(b) and all(
        torch.equal(x, other.tensors()[name]) and x.dtype == other.tensors()[name].dtype
        for one, other in zip(a, b, strict=True)
        for name, x in one.tensors().items()
    )


def equal(a: State, b: State) -> bool:
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


# ---- it goes on


@pytest.mark.parametrize("asked", ASKED, ids=str)
@settings(max_examples=12)
@given(
    kind=st.sampled_from(["random", "shots"]),
    seed=st.integers(0, 99),
    window=st.integers(1, 7),
    cuts=st.lists(st.integers(0, 6), max_size=5),
    named=st.lists(st.booleans(), min_size=6, max_size=6),
    own_head=st.booleans(),
)
def test_a_stream_cut_anywhere_goes_on_as_if_it_were_not(
    asked, kind, seed, window, cuts, named, own_head
) -> None:
    tokens = chunk_of(videos(kind, seed))
    heads = head if own_head else None
    whole = MergeStream(heads, window=window, **asked)
    cut, frames = MergeStream(heads, window=window, **asked), 0
    try:
        for chunk, told in zip(parts(tokens, cuts), named, strict=False):
            frames += len(chunk.kind)
            names = nameable(tokens, frames - 1) if told and frames else None
            expected = whole.push(chunk, names)
            assert same(cut.push(chunk, names), expected)
            state = whole.state_dict()
            assert equal(state, cut.state_dict())
            cut = MergeStream(heads, window=window, **asked)
            cut.load_state_dict(pickle.loads(pickle.dumps(state)))
            assert equal(state, cut.state_dict())
        assert same(cut.flush(), whole.flush())
    except ValueError as error:  # a second of several windows may be used up: not by the cut
        if "budget: of" not in str(error):
            raise
    assert equal(whole.state_dict(), cut.state_dict())


def half(asked: dict[str, Any], frames: int = 8, **more: Any) -> tuple[MergeStream, TokenChunk]:
    """A stream that saw so many frames, and those to come."""
    torch.manual_seed(3)
    first, rest = split(chunk_of(random_tokens(t=15)), frames)
    stream = MergeStream(**{"window": 5, **asked, **more})
    stream.push(first)
    return stream, rest


@pytest.mark.parametrize("block", [3, 1 << 16])
def test_how_the_tables_are_stored_plays_no_part(block, monkeypatch) -> None:
    stream, rest = half({"ratio": 0.7, "keep_grid": True})
    state = stream.state_dict()
    monkeypatch.setattr(ledger, "_BLOCK", block)
    other = MergeStream(window=5, ratio=0.7, keep_grid=True)
    other.load_state_dict(state)
    assert same(other.push(rest), stream.push(rest))


@pytest.mark.parametrize("dtype", [
    torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.int16, torch.uint16,
    torch.int64, torch.uint64,
])  # fmt: skip
def test_features_of_every_dtype_are_kept_in_files(dtype, tmp_path) -> None:
    tokens = chunk_of(random_tokens(t=12))
    tokens = tokens._replace(features=(tokens.features.abs() * 50).to(dtype))
    stream, (first, rest) = MergeStream(window=5, ratio=0.8), split(tokens, 7)
    stream.push(first)
    stream.save(tmp_path / "state")
    other = MergeStream(window=5, ratio=0.8)
    other.restore(tmp_path / "state")
    expected = [*stream.push(rest), *stream.flush()]
    assert same([*other.push(rest), *other.flush()], expected)
    assert expected[0].features.dtype == dtype


def test_it_can_be_written_and_read_by_others(tmp_path) -> None:
    stream, rest = half({"threshold": 0.5})
    state = stream.state_dict()
    save_file(state, tmp_path / "state")
    kept = io.BytesIO()
    torch.save(state, kept)
    kept.seek(0)
    expected = stream.push(rest)
    for found in (load_file(tmp_path / "state"), torch.load(kept, weights_only=True), state):
        other = MergeStream(window=5, threshold=0.5)
        other.load_state_dict(found)
        assert same(other.push(rest), expected)


def test_what_it_gives_and_takes_are_copies() -> None:
    stream, rest = half({"ratio": 0.7})
    state = stream.state_dict()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    other = MergeStream(window=5, ratio=0.7)
    other.load_state_dict(state)
    expected = stream.push(rest)
    assert equal(state, kept)
    for tensor in state.values():
        tensor.zero_()
    assert same(other.push(rest), expected)


def test_a_stream_before_its_first_frame_and_one_after_its_last() -> None:
    fresh, (first, _) = MergeStream(window=4, ratio=0.5), split(chunk_of(random_tokens()), 6)
    for chunk in (None, split(first, 0)[0]):
        if chunk is not None:
            assert fresh.push(chunk) == []
        other = MergeStream(window=4, ratio=0.5)
        other.load_state_dict(fresh.state_dict())
        assert same(other.push(first), MergeStream(window=4, ratio=0.5).push(first))
    other = MergeStream(window=4, ratio=0.5)
    other.load_state_dict(fresh.state_dict())
    wider = first._replace(features=torch.randn(len(first.frame), 7))
    with pytest.raises(ValueError, match="expected 6 numbers a token like those before, got 7"):
        other.push(wider)
    fresh.push(first)
    fresh.flush()
    other.load_state_dict(fresh.state_dict())
    assert other.flush() == []
    with pytest.raises(ValueError, match=r"flush\(\) has ended this video"):
        other.push(split(first, 0)[0])
    ended = MergeStream(window=4, ratio=0.5)
    ended.flush()
    other.load_state_dict(ended.state_dict())
    with pytest.raises(ValueError, match=r"flush\(\) has ended this video"):
        other.push(first)


def test_a_budget_that_was_too_low_can_be_relaxed_elsewhere() -> None:
    asked = {"window": 4, "budget": 2, "per": "frame", "spatial": False}
    stream, (first, rest) = MergeStream(**asked), split(chunk_of(shots(0, 1, length=4)), 3)
    stream.push(first)
    other = MergeStream(**asked)
    other.load_state_dict(stream.state_dict())
    for each in (stream, other):
        with pytest.raises(ValueError, match=r"budget: .* can join another"):
            each.push(rest)
        each.relax(spatial=True, delta=None)
    assert same(other.push(rest), stream.push(rest))
    relaxed = stream.state_dict()
    with pytest.raises(ValueError, match=r"spatial=True, delta=None, this one has spatial=False, "
                       r"delta=0\.05; make a MergeStream .* or relax\(\)"):  # fmt: skip
        MergeStream(**asked).load_state_dict(relaxed)
    third = MergeStream(**asked)
    third.relax(spatial=True, delta=None)
    third.load_state_dict(relaxed)
    assert same(third.flush(), stream.flush())


def test_save_replaces_and_restore_names_the_file(tmp_path) -> None:
    stream, rest = half({"ratio": 0.7})
    path, other = tmp_path / "state", MergeStream(window=5, ratio=0.7)
    path.write_text("older")
    stream.save(path)
    other.restore(path, device="cpu")
    assert same(other.push(rest), stream.push(rest))
    assert [each.name for each in tmp_path.iterdir()] == ["state"]
    kept = other.state_dict()
    with pytest.raises(ValueError, match=r"state: state: of a stream with ratio=0\.7"):
        MergeStream(window=5, ratio=0.8).restore(path)
    save_file({"x": torch.zeros(1)}, tmp_path / "x")
    with pytest.raises(ValueError, match=r"expected patchgate.MergeStream/1, got None"):
        other.restore(tmp_path / "x")
    (tmp_path / "text").write_text("no state")
    with pytest.raises(ValueError, match="text: not a safetensors file"):
        other.restore(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        other.restore(tmp_path / "nothing")
    with pytest.raises(OSError, match="no such folder"):
        other.save(tmp_path / "absent" / "state")
    assert equal(other.state_dict(), kept)


# ---- what cannot be


MUTATED = [{"ratio": 0.7, "keep_grid": True}, {"budget": 30, "per": "second"}]


@pytest.mark.parametrize("asked", MUTATED, ids=str)
@pytest.mark.parametrize("frames", [3, 8, 10])
def test_a_state_that_was_changed_is_refused_and_leaves_the_stream_as_it_was(asked, frames) -> None:
    stream, rest = half(asked, frames)
    state, kept = stream.state_dict(), stream.state_dict()
    other, tried = MergeStream(window=5, **asked), 0
    other.load_state_dict(state)
    for said, wrong in mutations(state):
        assert refused(other.load_state_dict, wrong), said
        tried += 1
    assert tried > 4 * len(state)
    assert equal(other.state_dict(), kept)
    assert same(other.push(rest), stream.push(rest))


@pytest.mark.parametrize("asked", MUTATED, ids=str)
@pytest.mark.parametrize("names", [True, False])
def test_numbers_that_cannot_be_are_refused_even_with_a_digest_of_their_own(asked, names) -> None:
    """What the digest alone refuses are numbers that might be: the stream goes on with them."""
    torch.manual_seed(3)
    tokens = chunk_of(shots(0, 1, 0, 2, 1, length=3))
    first, rest = split(tokens, 11)
    stream = MergeStream(window=4, **asked)
    stream.push(first, nameable(tokens, 10) if names else None)
    state, other, taken = stream.state_dict(), MergeStream(window=4, **asked), set()
    for said, wrong in mutations(state):
        wrong = resealed(wrong)
        if said.startswith("digest") or refused(other.load_state_dict, wrong):
            continue
        taken.add(said.split(": ")[0])
        # Not an error of torch's, and no number that leads outside of anything.
        try:
            done = [*other.push(rest), *other.flush()]
        except (TypeError, ValueError) as error:
            # A budget may be too low; a stream of another dtype wants another dtype.
            if not re.search(r"budget: of|features: expected .* like those before", str(error)):
                raise AssertionError(said) from error
            continue
        titles = int(wrong["counts"][2]) + sum(len(chunk.frame) for chunk in done)
        assert all(0 <= int(c.source.min()) <= int(c.source.max()) < titles for c in done), said
    assert taken <= {
        "waiting.features", "waiting.source", "waiting.duration_seconds", "waiting.kind",
        "waiting.motion", "waiting.pts_seconds", "waiting.frame", "waiting.cell", "cells.near",
        "cells.rows", "titles.near", "titles.rows", "carried.features", "carried.frame",
        "carried.cell", "carried.label", "carried.title", "scenes.label", "scenes.distribution",
        "scenes.picture", "scenes.returned", "counts", "clock", "cells.names", "titles.names",
    }  # fmt: skip


def put(name: str, at: int | tuple[int, ...], value: float) -> Callable[[State], State]:
    def spoil(state: State) -> State:
        changed = state[name].clone()
        changed[at] = value
        return resealed({**state, name: changed})

    return spoil


def longer(name: str) -> Callable[[State], State]:
    return lambda state: resealed({**state, name: torch.cat([state[name], state[name][-1:]])})


FAULTS: list[tuple[Callable[[State], Any], str]] = [
    (lambda state: list(state), "expected what state_dict returns, got list"),
    (lambda state: {}, "expected what state_dict returns, with a digest"),
    (lambda state: {**state, "clock": 3.0}, "expected tensors by name.* got float as 'clock'"),
    (lambda state: {**state, "clock": state["clock"].to("meta")}, "expected clock to be dense"),
    (lambda state: unseal(state, "waiting.kind"), r"waiting\.kind missing"),
    (lambda state: unseal(state, "counts"), "counts missing"),
    (lambda state: unseal(state, "settings"), "settings missing"),
    (lambda state: resealed({**state, "odd": state["clock"]}), "unknown tensors: odd"),
    (put("settings", 0, 0), "expected settings of budget, .* as JSON, got"),
    (put("settings", 0, 255), "expected settings to be UTF-8"),
    (put("counts", 0, -1), "counts: expected numbers that fit together, got {'frames': -1"),
    (put("counts", 2, 10**6), "counts: expected numbers that fit together"),
    (put("counts", 4, 0), "counts: expected numbers that fit together"),
    (put("counts", 7, 1), r"expected no frames that wait for more after flush\(\)"),
    (put("counts", 0, 4), r"waiting\.(frame|source): expected tokens"),
    (put("waiting.source", (0, 0, 0), 10**6), r"waiting\.source: expected tokens below"),
    (put("waiting.features", (0, 0), math.nan), r"waiting\.features: expected finite features"),
    (put("waiting.pts_seconds", 2, 0.1), r"waiting\.pts_seconds: .* do not fall"),
    (put("clock", 1, 0.1), r"expected clock until 0\.7\d*, the last frame's time, got 0\.1"),
    (longer("titles.rows"), r"expected titles\.rows of at most \d+ tokens"),
    (put("titles.rows", (0, 0), 1), "expected (titles.near to say|no token with a later one)"),
    (put("titles.near", (0, 0), 10**6), "expected titles"),
    (put("titles.names", 0, 10**6), r"expected titles\.names"),
    (put("carried.title", 0, 10**6), r"expected carried\.title to rise, of tokens"),
    (put("carried.frame", 0, 0), r"expected carried\.frame of -5\.\.-1"),
    (put("carried.cell", (0, 1), 5), r"expected carried\.cell of 4 x 5"),
    (put("carried.label", 0, 9), r"expected carried\.label of"),
    (put("carried.features", (0, 0), math.inf), r"carried\.features: expected finite features"),
    (put("scenes.label", 0, 9), r"expected scenes\.label of"),
    (put("scenes.length", 0, 5), r"expected scenes\.distribution of"),
    (put("scenes.length", 0, -5), r"expected scenes\.length of 0 or more"),
    (put("scenes.distribution", 0, 0.5), r"expected scenes\.distribution of shares"),
    (put("scenes.picture", (0, 0, 0), 10**6), "expected (cells of all|scenes.picture of)"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS)
def test_what_cannot_be_is_refused_in_words(spoil, message: str) -> None:
    stream, _ = half({"budget": 30, "per": "second", "delta": 0.01})
    state = stream.state_dict()
    assert {"titles.rows", "carried.title", "waiting.kind"} <= state.keys()
    other = MergeStream(window=5, budget=30, per="second", delta=0.01)
    other.load_state_dict(resealed(state))
    with pytest.raises(ValueError, match=f"^state: .*{message}"):
        other.load_state_dict(spoil(state))
    assert equal(other.state_dict(), state)


def test_a_state_of_other_settings_is_refused() -> None:
    stream, _ = half({"ratio": 0.7})
    state = stream.state_dict()
    for more in ({"ratio": 0.8}, {"reach": 3}, {"window": 6}, {"memory": 3}, {"delta": None}):
        (name, value), asked = *more.items(), {"window": 5, "ratio": 0.7, **more}
        with pytest.raises(ValueError, match=rf"^state: of a stream with {name}=.*, this one has "
                           rf"{name}={value}; make a MergeStream"):  # fmt: skip
            MergeStream(**asked).load_state_dict(state)
    with pytest.raises(ValueError, match=r"of a stream with budget=None, ratio=0\.7, per='video', "
                       "this one has budget=9, ratio=None, per='second'"):  # fmt: skip
        MergeStream(window=5, budget=9, per="second").load_state_dict(state)
    with pytest.raises(ValueError, match="of a stream without a head=, this one is with one"):
        MergeStream(head, window=5, ratio=0.7).load_state_dict(state)
    stream, _ = half({"ratio": 0.7}, head=head)
    with pytest.raises(ValueError, match="of a stream with a head=, this one is without one"):
        MergeStream(window=5, ratio=0.7).load_state_dict(stream.state_dict())


def test_another_call_under_way_is_refused() -> None:
    torch.manual_seed(3)
    first, rest = split(chunk_of(random_tokens(t=15)), 8)
    seen = []

    def nosy(mean: Tensor) -> Tensor:
        with pytest.raises(RuntimeError, match="MergeStream: used by two threads at once"):
            stream.state_dict()
        seen.append(mean)
        return mean

    stream = MergeStream(nosy, window=5, ratio=0.7)
    stream.push(first)
    assert seen
    assert stream.push(rest)
