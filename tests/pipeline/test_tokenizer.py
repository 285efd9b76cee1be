"""Tokenizer: pushes of any cut, what a failed one leaves, times, and bad input."""

import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any

import clips
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from stream_cases import RULES, gated
from token_cases import SIZE, assert_same, path
from tokenizer_cases import (
    FRAMES,
    MAKERS,
    SECONDS,
    assert_alike,
    assert_chunks,
    expected,
    make,
    part,
    whole,
)

import patchgate
from patchgate import FrameBatch, Gate, TokenChunk, Tokenizer, VideoTokens
from patchgate.gate.memory import TokenIdsUsedUp
from patchgate.policies.video import CappedGate

RGB = torch.randint(0, 256, (6, 24, 32, 3), generator=torch.Generator().manual_seed(1)).byte()
every_kind = pytest.mark.parametrize("name", MAKERS)


def small(**options: Any) -> Tokenizer:
    return Tokenizer(gate=Gate(patch=8), size=SIZE, **options)


# ---- any cut


@every_kind
@settings(max_examples=12)
@given(cuts=st.lists(st.integers(0, FRAMES), max_size=5))
def test_pushes_of_any_cut_give_what_one_call_gives(name: str, cuts: list[int]) -> None:
    tokenizer, edges = make(name), [0, *sorted(cuts), FRAMES]
    chunks = [tokenizer.push(part(begin, end)) for begin, end in pairwise(edges)]
    chunks.append(tokenizer.flush())
    assert sum(len(chunk.kind) for chunk in chunks) == tokenizer.frames
    assert_alike(tokenizer.joined(chunks), expected(name))


@every_kind
def test_tokenize_gives_the_same(name: str) -> None:
    tokenizer = make(name)
    given = {"tower": tokenizer._tower, "gate": tokenizer._gate}
    assert_alike(patchgate.tokenize(whole(), **given), expected(name))
    frames = (part(i, i + 1) for i in range(FRAMES))
    assert_alike(patchgate.tokenize(frames, **given), expected(name))


@pytest.mark.parametrize("name", ["camera", "tubelets", "watched"])
def test_a_file_that_is_pushed_is_a_file_that_is_tokenized(name: str) -> None:
    tokenizer = make(name)
    with patchgate.open_video(path(), chunk=3) as video:
        chunks = [tokenizer.push(batch) for batch in video] + [tokenizer.flush()]
    want = patchgate.tokenize(path(), tokenizer._tower, gate=tokenizer._gate)
    assert_alike(tokenizer.joined(chunks), want)


def test_more_frames_than_go_together_are_one_push() -> None:
    many = RGB.repeat(9, 1, 1, 1)  # 54
    tokenizer = small(fps=25)
    chunk = tokenizer.push(many)
    assert chunk.pts_seconds.tolist() == [i / 25 for i in range(54)]
    assert_same(tokenizer.joined([chunk]), patchgate.tokenize(many, None, Gate(patch=8), SIZE, 25))


def test_a_new_size_ends_a_tubelet_as_in_a_file() -> None:
    with pytest.warns(patchgate.DecodeWarning, match="the picture changes"):
        batches = list(patchgate.open_video(clips.clip("size.ts")))
    assert len({(batch.height, batch.width) for batch in batches}) == 2
    gate = Gate(patch=8, temporal_patch=2, size=SIZE)
    tokenizer = Tokenizer(gate=gate)
    first, second = (FrameBatch(tuple(plane[:3] for plane in batch.planes),
                                batch.pts_seconds[:3], batch.duration_seconds[:3], batch.colour)
                     for batch in (batches[0], batches[-1]))  # fmt: skip
    chunks = [tokenizer.push(first), tokenizer.push(second), tokenizer.flush()]
    assert [len(chunk.kind) for chunk in chunks] == [1, 2, 1]
    assert_same(tokenizer.joined(chunks), patchgate.tokenize([first, second], gate=gate))


@every_kind
def test_reset_begins_another_video(name: str) -> None:
    tokenizer = make(name)
    first = tokenizer.push(part(0, 3))
    tokenizer.reset()
    assert tokenizer.frames == 0
    assert_chunks(tokenizer.push(part(0, 3)), first)


# ---- frames as people hold them

FORMS: dict[str, Any] = {
    "an array": RGB.numpy(),
    "channels first": RGB.permute(0, 3, 1, 2),
    "a list of arrays": list(RGB.numpy()),
    "a generator": lambda: (each for each in RGB),
    "arrays of several": [RGB[:2], RGB[2:]],
    "PIL": [Image.fromarray(each.numpy()) for each in RGB],
    "a batch": FrameBatch.from_rgb(RGB),
    "batches": [FrameBatch.from_rgb(RGB[:5]), FrameBatch.from_rgb(RGB[5:])],
    "OpenCV's": FrameBatch.from_bgr(RGB.flip(3).numpy()),
    "all kinds": [RGB[0], RGB[1].numpy(), FrameBatch.from_rgb(RGB[2]), RGB[3:5],
                  Image.fromarray(RGB[5].numpy())],
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_frames_is_one(form: str) -> None:
    frames = FORMS[form]
    given = frames() if callable(frames) else frames
    tokenizer = small(fps=10)
    got = tokenizer.joined([tokenizer.push(given)])
    want = small(fps=10)
    assert_same(got, want.joined([want.push(each) for each in RGB]))
    given = frames() if callable(frames) else frames
    assert_same(patchgate.tokenize(given, gate=Gate(patch=8), size=SIZE, fps=10), got)


def test_frames_of_pyav_have_their_times() -> None:
    import av

    gate = Gate(patch=8, size=SIZE)
    with av.open(str(path())) as container:
        got = patchgate.tokenize(container.decode(video=0), gate=gate)
    want = patchgate.tokenize(path(), gate=gate)
    # The last duration of each 16 frames is the frame's own, and not that to the next one.
    torch.testing.assert_close(got.duration_seconds, want.duration_seconds, atol=1e-3, rtol=0)
    assert_same(replace(got, duration_seconds=want.duration_seconds), want)


def test_pictures_come_back_from_their_tokens() -> None:
    tokens = patchgate.tokenize(RGB, gate=Gate(patch=8, threshold=0), size=SIZE, fps=1)
    back = tokens.reconstruct(rgb=True).permute(0, 2, 3, 1).int()
    assert (back - RGB.int()).abs().max() <= 2


# ---- times


def test_frames_without_times_come_at_the_rate() -> None:
    tokenizer = small(fps=30)
    chunks = [tokenizer.push(RGB[:2]), tokenizer.push(RGB[2]), tokenizer.push(RGB[3:])]
    tokens = tokenizer.joined(chunks)
    assert tokens.pts_seconds.tolist() == [i / 30 for i in range(6)]
    assert tokens.duration_seconds.tolist() == [1 / 30] * 6


def test_a_duration_that_is_not_known_is_like_the_last_one() -> None:
    tokenizer = small()
    seconds = [0.0, 0.5, 0.6]
    frames = [FrameBatch.from_rgb(RGB[i], at) for i, at in enumerate(seconds)]
    chunks = [tokenizer.push(frame) for frame in frames]
    got = torch.cat([chunk.duration_seconds for chunk in chunks])
    torch.testing.assert_close(got, torch.tensor([0.0, 0.5, 0.1]).double())
    assert tokenizer.joined(chunks).pts_seconds.tolist() == seconds


@pytest.mark.parametrize(
    ("frames", "fps", "message"),
    [
        (RGB, None, "frames: expected times, got none: give the rate of the frames, as fps=30"),
        (part(0, 2), 25, "fps: these frames have times of their own, got fps=25 beside them"),
        (part(0, 2), None, r"frames: expected times that go on from 0\.5 s, got 0\.\.0\.04 s"),
        (FrameBatch((RGB[:2, ..., 0].contiguous(),) * 3, torch.tensor([1, torch.nan]).double(),
                    torch.ones(2).double(), whole().colour), None, "expected finite times"),
        (FrameBatch((RGB[:2, ..., 0].contiguous(),) * 3, torch.tensor([9.0, 8]).double(),
                    torch.ones(2).double(), whole().colour), None, "go on from 9 s, got 9..8 s"),
        (FrameBatch((RGB[:1, ..., 0].contiguous(),) * 3, torch.tensor([9.0]).double(),
                    -torch.ones(1).double(), whole().colour), None, "durations of 0 or more"),
    ],
    ids=str,
)  # fmt: skip
def test_times_that_do_not_fit_are_refused(frames: Any, fps: float, message: str) -> None:
    tokenizer = small(fps=fps)
    tokenizer.push(part(3, 6) if fps is None else RGB)
    with pytest.raises(ValueError, match=message):
        tokenizer.push(frames)


# ---- calls that fail


@every_kind
def test_a_push_that_fails_changes_nothing(name: str) -> None:
    tokenizer, other = make(name), make(name)
    first = tokenizer.push(part(0, 5))
    assert_chunks(other.push(part(0, 5)), first)
    before = tokenizer.state_dict()

    def breaks() -> Any:
        yield part(5, 8)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tokenizer.push(breaks())
    with pytest.raises(TypeError, match="got str"):
        tokenizer.push([part(5, 8), "frame"])
    with pytest.raises(ValueError, match="go on from"):
        tokenizer.push([part(5, 8), part(6, 7)])
    after = tokenizer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert_chunks(tokenizer.push(part(5, FRAMES)), other.push(part(5, FRAMES)))
    assert_chunks(tokenizer.flush(), other.flush())


def test_a_first_push_that_fails_leaves_it_new() -> None:
    tokenizer = make("watched")
    with pytest.raises(TypeError):
        tokenizer.push([part(0, 3), 7])
    assert tokenizer.frames == 0
    with pytest.raises(ValueError, match="flush: nothing was pushed"):
        tokenizer.flush()
    tokenizer.push(part(0, 3))
    tokenizer.reset()
    with pytest.raises(ValueError, match="flush: nothing was pushed"):
        tokenizer.flush()


def test_a_tower_that_fails_midway_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, other = make("watched"), make("watched")
    for each in (tokenizer, other):
        each.push(part(0, 4))
    features = tokenizer._now.chunker.features  # type: ignore[union-attr]
    with monkeypatch.context() as patched:
        patched.setattr(type(features), "encoding", _out_of_memory)
        with pytest.raises(MemoryError):
            tokenizer.push(part(4, 8))
    assert_chunks(tokenizer.push(part(4, 8)), other.push(part(4, 8)))


def _out_of_memory(*_: Any) -> None:
    raise MemoryError


def test_another_size_is_refused_by_a_tower_that_keeps_the_videos_own() -> None:
    tokenizer, other = make("qwen3"), make("qwen3")
    for each in (tokenizer, other):
        each.push(part(0, 4))
    larger = FrameBatch.from_rgb(torch.zeros(2, 48, 64, 3).byte(), [7, 8])
    with pytest.raises(ValueError, match=r"this gate has seen .*24, 32.*, got .*48, 64"):
        tokenizer.push(larger)
    assert_chunks(tokenizer.push(part(4, 8)), other.push(part(4, 8)))


def test_two_threads_at_once_are_refused() -> None:
    tokenizer, inside, leave = small(fps=1), threading.Event(), threading.Event()

    def slow() -> Any:
        inside.set()
        leave.wait(10)
        yield RGB

    thread = threading.Thread(target=lambda: tokenizer.push(slow()))
    thread.start()
    inside.wait(10)
    try:
        for call in (lambda: tokenizer.push(RGB), tokenizer.flush, tokenizer.state_dict):
            with pytest.raises(RuntimeError, match="Tokenizer: used by two threads at once"):
                call()
    finally:
        leave.set()
        thread.join()
    assert tokenizer.frames == len(RGB)


def test_a_video_without_ids_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("patchgate.gate.memory.MOST_TOKENS", 30)
    tokenizer = small(fps=1)
    first = tokenizer.push(RGB[:2])  # noise: 12 cells each
    with pytest.raises(TokenIdsUsedUp, match="reset"):
        tokenizer.push(RGB[2:])
    tokenizer.reset()
    assert_chunks(tokenizer.push(RGB[:2]), first)


def test_a_tower_that_changed_is_told() -> None:
    tower = gated("siglip", **RULES["kept"])
    tokenizer = Tokenizer(tower)
    tokenizer.push(part(0, 2))
    tower.tower.float()
    try:
        with pytest.raises(ValueError, match="its state was made with"):
            tokenizer.push(part(2, 4))
    finally:
        tower.tower.double()
    tokenizer.push(part(2, 4))


# ---- what does not fit


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        ("talk.mp4", TypeError, "frames: expected pictures .*, got str; a call takes one video"),
        (b"talk", TypeError, "got bytes; a call takes one video"),
        (None, TypeError, r"frames: expected pictures \(uint8 RGB; OpenCV's by .*, got NoneType$"),
        (7, TypeError, "got int"),
        (RGB.float(), TypeError, r"expected uint8 in 0\.\.255, got torch.float32; pictures in 0"),
        (RGB[..., 0], ValueError, "grey pictures need their channel three times"),
        (RGB[None], ValueError, r"expected pictures \[T, H, W, 3\] .*, got \[1, 6, 24, 32, 3\]"),
        (["a.mp4", "b.mp4"], TypeError, "got str; a call takes one video"),
        ([[1, 2], [3]], TypeError, "got int"),
        ({"frame": RGB}, TypeError, "got str"),
    ],
    ids=lambda value: str(type(value)),
)
def test_what_is_no_frame_is_refused(frames: Any, error: type, message: str) -> None:
    tokenizer = small(fps=25)
    with pytest.raises(error, match=message):
        tokenizer.push(frames)
    assert tokenizer.frames == 0


def test_no_frames_are_a_chunk_of_none() -> None:
    tokenizer = small(fps=25)
    for nothing in (RGB[:0], [], iter(())):
        chunk = tokenizer.push(nothing)
        assert isinstance(chunk, TokenChunk)
        assert chunk.kind.shape == (0, 3, 4)
    assert tokenizer.joined([]).shape == (0, 3, 4)
    with pytest.raises(ValueError, match="push: expected frames, got none"):
        make("watched").push([])
    with pytest.raises(ValueError, match=r"frames: expected pictures .*, got none"):
        patchgate.tokenize([], fps=25)
    assert len(patchgate.tokenize(RGB[:0], fps=25)) == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"fps": 0}, ValueError, "fps: expected .* frames a second, got 0"),
        ({"fps": "30"}, TypeError, "fps: expected a number, got '30'"),
        ({"tower": 3}, TypeError, r"tower: expected one made by patchgate.gated\(...\), got int"),
        ({"gate": 4}, TypeError, "gate: expected a patchgate.Gate, got int"),
        ({"gate": Gate(), "threshold": 8}, ValueError, "Tokenizer: expected a gate or rules"),
        ({"chunk": 8}, TypeError, "Tokenizer: expected options of .*threshold.*got 'chunk'"),
        ({"patch": 8}, TypeError, r"patch goes into gate=Gate\(patch=\.\.\.\)"),
        ({"gate": CappedGate([0.5])}, TypeError, "expected a patchgate.Gate itself, got CappedGat"),
        ({"size": (100, 100)}, ValueError, "100 x 100 pixels do not divide"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(options: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Tokenizer(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 1.0}, "tokenize: start: these are options of a video file, got frames that are"),
        ({"end": 1.0, "chunk": 4}, "tokenize: end, chunk: these are options of a video file"),
        ({"device": "cuda"}, "device='cuda' is where a file is decoded; frames in memory stay"),
    ],
)
def test_options_of_files_are_refused_beside_frames(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        patchgate.tokenize(RGB, fps=25, **options)


def test_rules_are_a_gate_of_these_rules() -> None:
    rules = {"threshold": 30, "max_age": 2}
    got, want = Tokenizer(size=SIZE[1] // 16 * 28, fps=1, **rules), Gate(**rules)
    other = Tokenizer(gate=want, size=SIZE[1] // 16 * 28, fps=1)
    assert_chunks(got.push(RGB), other.push(RGB))
    assert "fps=1" in repr(got)
    assert "6 frames so far" in repr(got)


# ---- chunks that were kept


def test_chunks_that_do_not_belong_together_are_refused() -> None:
    tokenizer = make("camera")
    chunks = [tokenizer.push(part(i, i + 2)) for i in range(0, 8, 2)]
    assert isinstance(tokenizer.joined(chunks[:2]), VideoTokens)  # a beginning is a video
    for wrong in (chunks[1:], chunks[::-1], [chunks[0], chunks[2]], [chunks[0]] * 2):
        with pytest.raises(ValueError, match="chunks: expected those of all pushes since"):
            tokenizer.joined(wrong)
    with pytest.raises(TypeError, match="chunks: expected TokenChunks, got ndarray"):
        tokenizer.joined([np.zeros(3)])  # type: ignore[list-item]
    other = Tokenizer(size=28, fps=1)
    with pytest.raises(ValueError, match="chunks: expected those of all pushes"):
        tokenizer.joined([chunks[0], other.push(RGB)])


def test_memory_does_not_grow_with_the_video() -> None:
    tokenizer = make("watched")
    sizes = []
    for turn in range(12):
        for batch in (part(0, 6), part(6, FRAMES)):
            later = batch.pts_seconds + 2.0 * turn
            tokenizer.push(FrameBatch(batch.planes, later, batch.duration_seconds, batch.colour))
        sizes.append(sum(tensor.nbytes for tensor in tokenizer.state_dict().values()))
    assert max(sizes[2:]) <= 1.2 * sizes[1]
    assert SECONDS[-1] < 2.0
