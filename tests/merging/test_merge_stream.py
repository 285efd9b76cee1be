"""MergeStream: what comes out does not depend on how the frames came in."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_cases import SETTINGS, N, check, chunk_of, random_tokens, shots, streamed

from patchgate import MergeStream, TokenChunk, merge
from patchgate.merging.merger import Merger
from patchgate.tokens.chunk import joined, split

every_setting = pytest.mark.parametrize("asked", SETTINGS, ids=str)


@every_setting
@settings(max_examples=20)
@given(st.integers(1, 7), st.lists(st.integers(0, 6), max_size=6))
def test_chunks_are_merged_like_the_whole(asked, window: int, cuts: list[int]) -> None:
    tokens = random_tokens(t=15)
    whole = merge(tokens, window=window, **asked)
    got = streamed(tokens, cuts, window=window, **asked)
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(got, name), getattr(whole, name)), name


@every_setting
def test_what_comes_out_does_not_depend_on_what_comes_later(asked) -> None:
    tokens = random_tokens(t=15)
    stream, (first, rest) = MergeStream(window=5, **asked), split(chunk_of(tokens), 10)
    early = joined(stream.push(first))
    other = rest._replace(features=rest.features * 9)
    assert stream.push(other)
    got, _ = split(chunk_of(merge(tokens, window=5, **asked)), len(early.kind))
    assert len(early.kind) >= 5
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(early, name), getattr(got, name)), name


def test_one_window_for_all_is_the_whole_at_once() -> None:
    tokens = random_tokens(t=15)
    a, b = (merge(tokens, ratio=0.6, window=window) for window in (15, None))
    for name, value in b.tensors().items():
        assert torch.equal(getattr(a, name), value)
    check(tokens, b)


def test_causal_tokens_join_what_was_handed_out_without_changing_it() -> None:
    tokens = shots(0, 0, noise=0.01, length=4)
    merged = merge(tokens, threshold=0.1, window=4)
    assert bool((merged.frame < 4).all())  # the second window adds nothing
    alone = merge(tokens.slice(0, 0.35), threshold=0.1)
    assert torch.equal(merged.features, alone.features)
    assert torch.equal(merged.source[4], merged.source[3])


def test_memory_is_bounded_by_what_pictures_need() -> None:
    tokens = random_tokens(t=60)
    stream, rest = MergeStream(window=3, ratio=0.9, memory=2), chunk_of(tokens)
    for i in range(20):
        first, rest = split(rest, 3, 3 * i)
        stream.push(first)
        carried = stream._now.merger.carried
        assert carried is not None
        assert len(carried.title) <= 4 * 20  # the last frame, two scenes, and the current one's


def test_chunks_that_do_not_follow_are_refused() -> None:
    tokens = random_tokens()
    first, rest = split(chunk_of(tokens), 3)
    stream = MergeStream(window=4, ratio=0.5)
    with pytest.raises(ValueError, match=r"expected tokens of frames 0..8, .* got one of frame 9"):
        stream.push(rest)
    stream.push(first)
    with pytest.raises(ValueError, match=r"expected tokens of frames 3..5, .* got one of frame 0"):
        stream.push(first)
    with pytest.raises(TypeError, match="chunk: expected a TokenChunk, got VideoTokens"):
        stream.push(tokens)


@every_setting
@pytest.mark.parametrize("waiting", [0, 2, 4])
def test_a_push_that_fails_leaves_the_stream_as_it_was(asked, waiting: int) -> None:
    tokens = random_tokens(t=15)
    whole = merge(tokens, window=4, **asked)
    stream = MergeStream(window=4, **asked)
    first, rest = split(chunk_of(tokens), waiting)
    out = stream.push(first)
    broken = rest._replace(features=rest.features.clone())
    broken.features[rest.frame == 9] = torch.nan  # in the last of several windows
    for _ in range(2):
        with pytest.raises(ValueError, match="expected finite features"):
            stream.push(broken)
    got = joined([*out, *stream.push(rest), *stream.flush()])
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(got, name), getattr(whole, name)), name


def test_what_waited_before_a_push_that_failed_comes_with_the_flush() -> None:
    tokens = shots(0, 1, length=3)
    first, rest = split(chunk_of(tokens), 2)
    stream = MergeStream(window=6, budget=N, per="frame", spatial=False)
    assert stream.push(first) == []
    with pytest.raises(ValueError, match="expected finite features"):
        stream.push(rest._replace(features=rest.features * torch.nan))
    (done,) = stream.flush()
    assert len(done.kind) == 2
    assert stream.flush() == []


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from(["frame", "second"]))
def test_some_settings_meet_every_budget(seed: int, window: int, per: str) -> None:
    torch.manual_seed(seed)
    asked = {"budget": 1, "per": per, "similar": True, "delta": None}
    for tokens in (random_tokens(t=15), shots(0, 1, 0, 2)):
        assert len(merge(tokens, window=window, **asked)) <= (15 if per == "frame" else 2)


def test_nothing_comes_after_the_end() -> None:
    first, rest = split(chunk_of(random_tokens()), 3)
    stream = MergeStream(window=4, ratio=0.9)
    stream.push(first)
    assert len(stream.flush()) == 1
    with pytest.raises(ValueError, match=r"push: flush\(\) has ended this video"):
        stream.push(rest)
    assert stream.flush() == []


def test_frames_that_cannot_be_merged_at_the_end_still_wait() -> None:
    stream = MergeStream(window=4, budget=2, per="frame", spatial=False)
    assert stream.push(split(chunk_of(shots(0)), 1)[0]) == []
    for _ in range(2):
        with pytest.raises(ValueError, match=r"budget: of 12 tokens at most 0 can join another"):
            stream.flush()


def test_a_budget_that_is_too_low_can_be_relaxed() -> None:
    first, rest = split(chunk_of(shots(0, 1, length=4)), 5)
    stream = MergeStream(window=4, budget=2, per="frame", keep_grid=True, spatial=False)
    for _ in range(2):
        with pytest.raises(ValueError, match="budget: of 15 tokens at most 0 can join another"):
            stream.push(first)
    for wrong in ({"budget": 1}, {"ratio": 0.5}, {"reach": 9}, {"bogus": 1}, {"spatial": False}):
        with pytest.raises(ValueError, match=r"^(relax: expected some of a higher|budget: )"):
            stream.relax(**wrong)
    stream.relax(keep_grid=False, spatial=True)
    (done,) = stream.push(first)
    assert done.frame.tolist() == [0, 0, 1, 2, 3]
    stream.relax(budget=N)
    (done,) = [*stream.push(rest), *stream.flush()]
    assert done.frame.bincount(minlength=8)[4:].tolist() == [N, 1, 1, 1]


@pytest.mark.parametrize("cuts", [[], [1] * 23, [10, 1, 3]])
def test_a_second_that_fits_into_a_window_is_not_cut(cuts: list[int]) -> None:
    """The budget of the second second is wanted by what its cut at frame 16 brings, too."""
    tokens = shots(0, 1, 2, length=8)  # of 10 frames a second
    asked = {"budget": 2, "per": "second", "window": 12}
    got, whole = streamed(tokens, cuts, **asked), merge(tokens, **asked)
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(got, name), getattr(whole, name)), name
    assert got.frame.div(10, rounding_mode="floor").bincount().tolist() == [2, 2, 2]
    assert torch.equal(whole.source[:10], merge(tokens, **{**asked, "window": 10}).source[:10])


def test_a_second_longer_than_a_window_may_be_used_up_before_a_cut() -> None:
    tokens = shots(0, 1, length=8)
    asked = {"budget": 2, "per": "second", "window": 4}
    with pytest.raises(ValueError, match=r"budget: .* delta=None joins tokens of different scenes"):
        merge(tokens, **asked)
    assert len(merge(tokens, delta=None, **asked)) == 4


def test_an_end_without_frames_is_nothing() -> None:
    stream = MergeStream(window=4, ratio=0.5)
    assert stream.push(split(chunk_of(random_tokens()), 0)[0]) == []
    assert stream.flush() == []
    assert stream.flush() == []
    with pytest.raises(ValueError, match="window: expected a number of frames"):
        MergeStream(ratio=0.5)


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("windows", [0, 1])
def test_a_push_and_a_flush_that_fail_in_the_middle_change_nothing(
    error: BaseException, windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many windows of the chunk, and at the very end of another."""
    tokens = random_tokens(t=15)
    first, rest = split(chunk_of(tokens), 4)
    expected = streamed(tokens, [4], window=3, ratio=0.7)
    stream = MergeStream(window=3, ratio=0.7)
    done, real, calls = stream.push(first), Merger.merge, []

    def fails(self: Merger, chunk: TokenChunk) -> TokenChunk:
        merged = real(self, chunk)
        calls.append(1)
        if len(calls) > windows:
            raise error
        return merged

    for call in (lambda: stream.push(rest), stream.flush):
        calls.clear()
        calls += [1] * (windows if call == stream.flush else 0)
        with monkeypatch.context() as patched:
            patched.setattr(Merger, "merge", fails)
            with pytest.raises(type(error)):
                call()
    got = joined([*done, *stream.push(rest), *stream.flush()])
    for name in TokenChunk._fields[:-2]:  # no light
        assert torch.equal(getattr(got, name), getattr(expected, name)), name


def test_two_threads_in_a_merge_stream_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, chunk = MergeStream(window=3, ratio=0.7), chunk_of(random_tokens(t=9))
    inside, go_on, real = threading.Event(), threading.Event(), Merger.merge

    def slow(self: Merger, chunk: TokenChunk) -> TokenChunk:
        inside.set()
        assert go_on.wait(60)
        return real(self, chunk)

    monkeypatch.setattr(Merger, "merge", slow)
    first = threading.Thread(target=lambda: stream.push(chunk))
    first.start()
    assert inside.wait(60)
    for call in (lambda: stream.push(chunk), stream.flush, lambda: stream.relax(ratio=0.8)):
        with pytest.raises(RuntimeError, match="MergeStream: used by two threads at once"):
            call()
    go_on.set()
    first.join()
    assert stream.flush() == []


def test_a_relax_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = random_tokens(t=9)
    stream = MergeStream(window=3, ratio=0.5)
    first, rest = split(chunk_of(tokens), 3)
    done = stream.push(first)
    with monkeypatch.context() as patched:
        real = Merger.relax
        patched.setattr(Merger, "relax", lambda self, s: (real(self, s), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            stream.relax(ratio=0.9)
    got = joined([*done, *stream.push(rest), *stream.flush()])
    expected = streamed(tokens, [3], window=3, ratio=0.5)
    assert torch.equal(got.features, expected.features)
