"""What a call of a stream that fails leaves: all as it was. And that calls come one at a time."""

import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from gated_cases import MEAN, STD, N, camera, flicker, noise, normalised, rows_of
from stream_cases import assert_goes_on, every_rule, gated, stream_of
from torch import Tensor

import patchgate
from patchgate import _ops


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


PARTS = {
    "the gate": (_ops, "gate"),
    "the tower": (patchgate.encoders.run.session, "encode_steps"),
    "the output": (patchgate.encoders.families.siglip.Siglip, "output"),
}


@every_rule
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()], ids=repr)
@pytest.mark.parametrize("part", PARTS)
def test_a_call_that_fails_leaves_the_stream_as_it_was(
    rule: str, part: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was done by then: the part does its work, and then the error comes."""
    x = normalised(camera(9))
    stream, other = stream_of(rule), stream_of(rule)
    assert_goes_on(stream, other, x[:3])
    work = stream.last_work
    owner, name = PARTS[part]
    real = getattr(owner, name)

    def fails(*args: Any, **more: Any) -> None:
        real(*args, **more)
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fails)
        with pytest.raises(type(error)):
            stream(x[3:6])
    assert stream.last_work is work
    assert_goes_on(stream, other, x[3:6])
    assert_goes_on(stream, other, x[6:])


def test_a_first_call_that_fails_leaves_a_new_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, x = stream_of("watched"), normalised(camera(4))
    with monkeypatch.context() as patched:
        patched.setattr(patchgate.encoders.run.session, "encode_steps", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream(x)
    assert stream.last_work is None
    assert_goes_on(stream, stream_of("watched"), x)


def test_tokens_and_rows_that_fail_leave_the_stream_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, times = normalised(camera(6)), torch.arange(6) / 10
    stream, other = stream_of("watched"), stream_of("watched")
    for each in (stream, other):
        each.tokens(x[:3], pts_seconds=times[:3])
    with monkeypatch.context() as patched:
        patched.setattr("patchgate.encoders.gated.base.emitted_tokens", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.tokens(x[3:], pts_seconds=times[3:])
    a, b = (each.tokens(x[3:], pts_seconds=times[3:]) for each in (stream, other))
    assert torch.equal(a.dense(), b.dense())
    assert torch.equal(a.frame, b.frame)

    rows = rows_of(normalised(noise(2)))
    stream = stream_of("residual")

    def given(t: int) -> tuple[Tensor, ...]:
        source = torch.arange(t * N, (t + 1) * N).view(1, 4, 4)
        return rows[t], torch.arange(N), torch.tensor([0, N]), source

    first = stream.encode(*given(0))
    with monkeypatch.context() as patched:
        patched.setattr("patchgate.encoders.run.session.Session.encode", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.encode(*given(1))
    assert len(stream.encode(*given(1))) == len(first)


def test_two_threads_in_a_stream_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream, x = stream_of("kept"), normalised(flicker(6))
    stream(x[:2])
    inside, go_on = threading.Event(), threading.Event()
    real = patchgate.encoders.run.session.encode_steps

    def slow(*args: Any, **more: Any) -> Any:
        inside.set()
        assert go_on.wait(60)
        return real(*args, **more)

    monkeypatch.setattr(patchgate.encoders.run.session, "encode_steps", slow)

    def work() -> None:
        with torch.no_grad():
            stream(x[2:4])

    first = threading.Thread(target=work)
    first.start()
    assert inside.wait(60)
    for call in (
        lambda: stream(x[2:4]),
        lambda: stream.tokens(x[2:4], pts_seconds=torch.arange(2.0)),
        lambda: stream.save(tmp_path / "t"),
        stream.reset,
    ):
        with pytest.raises(RuntimeError, match="stream: used by two threads at once"):
            call()
    go_on.set()
    first.join()
    assert not list(tmp_path.iterdir())
    expected = gated("siglip")(x).last_hidden_state[4:]
    torch.testing.assert_close(stream(x[4:]).last_hidden_state, expected, rtol=0, atol=1e-10)


def test_a_stream_that_makes_tokens_is_one_call_at_a_time() -> None:
    x = normalised(camera(4))
    stream = patchgate.gated(gated("siglip").tower, mean=MEAN, std=STD, output="tokens").stream()
    whole = patchgate.gated(gated("siglip").tower, mean=MEAN, std=STD)(x)
    parts = [stream(part, pts_seconds=torch.arange(2.0)).dense() for part in x.split(2)]
    expected = whole.last_hidden_state.view(4, 4, 4, -1)
    torch.testing.assert_close(torch.cat(parts), expected, rtol=0, atol=1e-10)


def test_calls_of_one_frame_each_are_warned_of_once() -> None:
    """They are clips of their own, and save nothing: a stream is what their caller wants."""
    tower, x = gated("siglip"), normalised(camera(9))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for frame in x.repeat(2, 1, 1, 1).split(1):
            tower(frame)
    [one] = [each for each in told if "one frame each" in str(each.message)]
    assert "stream = tower.stream(), and stream(frame) for each" in str(one.message)


def test_streams_clips_and_a_few_pictures_are_not_warned_of() -> None:
    tower, x = gated("siglip"), normalised(camera(9))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stream = tower.stream()
        for frame in x.split(1):
            stream(frame)
        for frame in x[:4].split(1):  # pictures, perhaps
            tower(frame)
        for _ in range(3):
            tower(x[:2])
            tower(x[:1])
        tower(x, clip_lengths=[1] * 9)
