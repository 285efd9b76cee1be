"""tokenize: a video in, tokens out, whatever the chunks; its settings and its errors."""

from pathlib import Path
from typing import Any

import clips
import pytest
import torch
from token_cases import FRAMES, SECOND, SIZE, assert_same, every_kind, path, planes_for, tokens_of
from token_cases import KINDS as GATES

import patchgate
from patchgate import Gate, VideoTokens
from patchgate.decode import DecodeWarning


def tokenize(video: Any = None, **options: Any) -> VideoTokens:
    return patchgate.tokenize(video or path(), **{"gate": Gate(patch=8), "size": SIZE, **options})


@every_kind
@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_any_chunk_size_gives_the_same_tokens(name: str, chunk: int) -> None:
    got = tokenize(gate=Gate(patch=8, **GATES[name]), chunk=chunk)
    assert_same(got, tokens_of(name))


def test_a_path_a_string_a_file_bytes_and_an_open_video_are_one() -> None:
    expected = tokens_of("camera")
    assert_same(tokenize(str(path())), expected)
    assert_same(tokenize(path().read_bytes()), expected)
    with path().open("rb") as file:
        assert_same(tokenize(file), expected)
    with patchgate.open_video(path()) as video:
        assert_same(tokenize(video), expected)
        assert_same(tokenize(video), expected)  # left open
        with pytest.raises(ValueError, match="an open Video has its fps, start, end"):
            tokenize(video, fps=5)


def test_the_default_is_a_gate_of_14_pixels_on_378_by_378() -> None:
    tokens = patchgate.tokenize(path())
    assert tokens.shape == (FRAMES, 27, 27)
    assert tokens.features.shape[1] == 3 * 14 * 14
    expected = Gate().push(grid_planes((378, 378)))
    assert torch.equal(tokens.kind, expected.kind)


def grid_planes(size: tuple[int, int]) -> torch.Tensor:
    with patchgate.open_video(path()) as video:
        return torch.cat([patchgate.grid.to_grid(batch, size) for batch in video])


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [(None, 0.2, range(5)), (0.2, None, range(5, FRAMES)), (0.2, 0.4, range(5, 10))],
)
def test_start_and_end_tokenize_that_part_alone(
    start: float | None, end: float | None, frames: range
) -> None:
    tokens = tokenize(start=start, end=end)
    assert len(tokens.pts_seconds) == len(frames)
    times = torch.tensor([i * SECOND for i in frames]).double()
    torch.testing.assert_close(tokens.pts_seconds, times, rtol=0, atol=1e-3)
    planes = planes_for("camera")[frames.start : frames.stop]
    assert torch.equal(tokens.kind, Gate(patch=8).push(planes).kind)
    assert tokens.is_key[0]  # it leans on nothing before it


def test_fps_takes_fewer_frames() -> None:
    tokens = tokenize(fps=5)
    assert tokens.shape.T == 5
    torch.testing.assert_close(
        tokens.pts_seconds.diff(), torch.full((4,), 0.2).double(), rtol=0.01, atol=0
    )
    assert torch.equal(tokens.kind, Gate(patch=8).push(planes_for("camera")[::5]).kind)


@pytest.mark.parametrize("part", [{"start": 50.0}, {"end": -1.0}])
def test_a_range_without_frames_gives_no_tokens_and_says_so(
    part: dict[str, float], tmp_path: Path
) -> None:
    with pytest.warns(DecodeWarning, match="no frame lies between"):
        tokens = tokenize(**part)
    assert (len(tokens), tokens.shape) == (0, (0, 3, 4))
    assert tokens.dense().shape == (0, 3, 4, 192)
    assert tokens.reconstruct().shape == tokens.reconstruct(rgb=True).shape == (0, 3, *SIZE)
    assert tokens.cu_seqlens.tolist() == [0]
    assert "K=0" in repr(tokens)
    with pytest.raises(ValueError, match=r"no frame between .*; it has no frames"):
        tokens.slice(0, 1)
    tokens.save(tmp_path / "none")
    assert_same(VideoTokens.load(tmp_path / "none"), tokens)


def test_the_gate_lends_its_settings_and_keeps_its_state() -> None:
    gate = Gate(patch=8, on_motion="reuse", max_age=6)
    video = planes_for("camera")
    gate.push(video[:9])
    assert_same(tokenize(gate=gate), tokens_of("reuse"))
    fresh = gate.fresh()
    fresh.push(video[:9])
    assert torch.equal(gate.push(video[9:]).source, fresh.push(video[9:]).source)


@pytest.mark.parametrize("rules", [{"threshold": 40}, {"threshold": 40, "max_age": 2}], ids=str)
def test_rules_given_here_are_a_gate_of_these_rules(rules: dict[str, Any]) -> None:
    want = patchgate.tokenize(path(), gate=Gate(**rules), size=(28, 42))
    assert_same(patchgate.tokenize(path(), size=(28, 42), chunk=5, **rules), want)
    assert want.kind.ne(patchgate.tokenize(path(), size=(28, 42)).kind).any()


def test_a_gate_and_rules_for_one_are_too_much() -> None:
    message = r"tokenize: expected a gate or rules .* gate=Gate\(threshold=8, max_age=None\)"
    with pytest.raises(ValueError, match=message):
        patchgate.tokenize("never opened", gate=Gate(), threshold=8, max_age=None)
    with pytest.raises(TypeError, match=r"got 'patch'; patch goes into gate=Gate\(patch=\.\.\.\)"):
        patchgate.tokenize("never opened", patch=8)
    with pytest.raises(ValueError, match=r"threshold: expected 0\.\.255 grey levels, got -1"):
        patchgate.tokenize("never opened", threshold=-1)


def test_the_size_comes_from_the_gate_or_the_argument() -> None:
    assert tokenize(gate=Gate(patch=8, size=(16, 24)), size=(16, 24)).shape == (FRAMES, 2, 3)
    with pytest.raises(ValueError, match=r"the gate has size=\(16, 24\), got size=\(378, 378\)"):
        tokenize(gate=Gate(patch=8, size=(16, 24)), size=(378, 378))
    assert tokenize(gate=Gate(patch=8, size=SIZE)).shape == (FRAMES, 3, 4)
    assert tokenize(gate=None, size=28).shape == (FRAMES, 2, 2)
    with pytest.raises(ValueError, match=r"size: the gate has size=\(16, 24\), got size=\(24, 32"):
        tokenize(gate=Gate(patch=8, size=(16, 24)))
    with pytest.raises(ValueError, match="size: 30 x 32 pixels do not divide into cells of 8"):
        tokenize(size=(30, 32))


def test_chunks_are_given_as_they_are_made() -> None:
    chunks: list[Any] = []
    tokens = tokenize(chunk=4, on_chunk=chunks.append)
    assert [len(chunk.pts_seconds) for chunk in chunks] == [4, 4, 4, 4, 4, 1]
    assert torch.equal(torch.cat([chunk.features for chunk in chunks]), tokens.features)
    assert torch.equal(torch.cat([chunk.frame for chunk in chunks]), tokens.frame)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"tower": torch.nn.Linear(2, 2)},
            TypeError,
            r"tower: expected one made by patchgate.*, got Linear",
        ),
        ({"gate": "camera"}, TypeError, r"gate: expected a patchgate.Gate, got str"),
        ({"gate": Gate}, TypeError, r"gate: expected a patchgate.Gate, got type"),
        ({"fps": 0}, ValueError, "fps"),
        ({"fps": float("nan")}, ValueError, "fps"),
        ({"start": 0.5, "end": 0.2}, ValueError, r"start|end"),
        ({"start": 0.3, "end": 0.3}, ValueError, r"start|end"),
        ({"start": float("nan")}, ValueError, "start"),
        ({"chunk": 0}, ValueError, "chunk"),
        ({"device": "mps"}, ValueError, "device"),
        (
            {"colour": "red"},
            TypeError,
            r"tokenize: expected options of (?=.*\bthreshold\b)(?=.*\bchunk\b).* got 'colour'",
        ),
    ],
)
def test_bad_arguments_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tokenize(**options)


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tokenize(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("no video here")
    with pytest.raises(ValueError, match=r"text.mp4"):
        tokenize(tmp_path / "text.mp4")
    for name in ("audio.m4a", "empty.mkv"):
        with pytest.raises(ValueError, match=name):
            tokenize(clips.clip(name))


def test_a_size_that_is_given_is_never_taken_for_the_default() -> None:
    with pytest.raises(ValueError, match=r"size: the gate has size=\(28, 28\)"):
        patchgate.tokenize("never opened", gate=patchgate.Gate(size=28), size=(378, 378))
