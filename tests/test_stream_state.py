"""The state of a tower's stream: what a call that fails leaves, and what may stand in a file."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import qwen_cases
import torch
from gated_cases import MEAN, STD, N, camera, flicker, noise, normalised, rows_of
from gated_families import CASES
from gated_families import gated as gated_family
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from test_gated_stream import gated
from torch import Tensor

import patchgate
from patchgate import _ops
from patchgate.encoders import stream_file

RULES: dict[str, dict[str, Any]] = {
    "kept": {"context": "kept"},
    "residual": {"context": "full", "tolerance": float("inf"), "reposition": False},
    "watched": {"context": "full", "tolerance": 0.05},
    "refreshed": {"context": "full", "tolerance": 0.05, "refresh": 3, "tolerance_layers": 1},
}
every_rule = pytest.mark.parametrize("rule", RULES)


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def stream_of(rule: str, family: str = "siglip") -> Any:
    return gated(family, **RULES[rule]).stream()


def assert_goes_on(stream: Any, other: Any, x: Tensor) -> None:
    a, b = stream(x), other(x)
    assert torch.equal(a.last_hidden_state, b.last_hidden_state)
    assert torch.equal(a.pooler_output, b.pooler_output)
    assert vars(stream.last_work) == vars(other.last_work)


# ---- calls that fail


PARTS = {
    "the gate": (_ops, "gate"),
    "the tower": (patchgate.encoders.stream, "encode_frames"),
    "the output": (patchgate.encoders.siglip.Siglip, "output"),
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
        patched.setattr(patchgate.encoders.stream, "encode_frames", lambda *_: 1 / 0)
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
        patched.setattr("patchgate.encoders.gated_tower.emitted_tokens", lambda *_: 1 / 0)
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
        patched.setattr("patchgate.encoders.stream.TowerStream._go_on", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream.encode(*given(1))
    assert len(stream.encode(*given(1))) == len(first)


def test_two_threads_in_a_stream_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stream, x = stream_of("kept"), normalised(flicker(6))
    stream(x[:2])
    inside, go_on = threading.Event(), threading.Event()
    real = patchgate.encoders.stream.encode_frames

    def slow(*args: Any, **more: Any) -> Any:
        inside.set()
        assert go_on.wait(60)
        return real(*args, **more)

    monkeypatch.setattr(patchgate.encoders.stream, "encode_frames", slow)

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


# ---- files


FAMILIES = [
    "dinov2, same cells, not square", "dinov2, larger", "registers", "dinov3", "siglip2",
    "siglip2, padded", "siglip2, no head", "timm", "timm, cut off", "timm, average",
    "timm, maximum", "timm, map", "timm, prr", "timm, no pooling", "timm, any size",
]  # fmt: skip


@every_rule
@pytest.mark.parametrize("name", FAMILIES)
def test_a_stream_of_every_family_is_saved_and_goes_on(
    name: str, rule: str, tmp_path: Path
) -> None:
    case = CASES[name]()
    frames = case.camera(5)
    stream, other = (gated_family(case.model, **RULES[rule]).stream() for _ in range(2))
    stream(**case.inputs(frames[:2]))
    stream.save(tmp_path / "t")
    other.restore(tmp_path / "t")
    for part in (frames[2:4], frames[3:4], frames[4:]):  # one that stands still
        a, b = (each(**case.inputs(part)) for each in (stream, other))
        a, b = (out if isinstance(out, Tensor) else out.last_hidden_state for out in (a, b))
        assert torch.equal(a, b)
    stream.save(tmp_path / "t")
    other.restore(tmp_path / "t")


@every_rule
@pytest.mark.parametrize("family", qwen_cases.FAMILIES)
def test_a_stream_of_qwen_is_saved_and_goes_on(family: str, rule: str, tmp_path: Path) -> None:
    model = qwen_cases.tower(family)
    pixels = torch.rand(4 * 15 * 4, qwen_cases.WIDTH, dtype=torch.float64)
    pixels = (pixels - 0.5) / 0.3
    pixels[-2 * 15 * 4 :] = pixels[: 2 * 15 * 4]
    settings_ = {"mean": (0.5,) * 3, "std": (0.3,) * 3, **RULES[rule]}
    stream, other = (patchgate.gated(model, **settings_).stream() for _ in range(2))
    half, thw = pixels.split(2 * 15 * 4), qwen_cases.grid_thw(2)
    stream(half[0], grid_thw=thw)
    stream.save(tmp_path / "t")
    other.restore(tmp_path / "t")
    a, b = (each(half[1], grid_thw=thw) for each in (stream, other))
    for name in a:
        if isinstance(a[name], Tensor):
            assert torch.equal(a[name], b[name]), name


def test_a_stream_of_rows_is_saved_and_goes_on(tmp_path: Path) -> None:
    rows, cell, ends = rows_of(normalised(noise(3))), torch.arange(N), torch.tensor([0, N])
    stream, other = stream_of("watched"), stream_of("watched")
    for t in range(2):
        stream.encode(rows[t], cell, ends, torch.arange(t * N, (t + 1) * N).view(1, 4, 4))
    stream.save(tmp_path / "t")
    other.restore(tmp_path / "t")
    last = rows[2], cell, ends, torch.arange(2 * N, 3 * N).view(1, 4, 4)
    assert torch.equal(stream.encode(*last), other.encode(*last))


def test_hidden_states_that_were_asked_for_are_saved(tmp_path: Path) -> None:
    x = normalised(camera(4))
    stream, other = stream_of("residual"), stream_of("residual")
    stream(x[:2], output_hidden_states=True)
    stream.save(tmp_path / "t")
    other.restore(tmp_path / "t")
    a, b = (each(x[2:], output_hidden_states=True) for each in (stream, other))
    assert all(map(torch.equal, a.hidden_states, b.hidden_states))


class Saved:
    """A file of a stream, opened to be altered."""

    def __init__(self, folder: Path, rule: str = "watched") -> None:
        self.path = folder / "t"
        self.x = normalised(camera(8))
        self.stream = stream_of(rule)
        self.stream(self.x[:4])
        self.stream.save(self.path)
        with safe_open(self.path, "pt") as file:
            self.told = file.metadata()
            self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def write(self) -> None:
        self.told.pop("digest", None)  # as somebody would who wants it read
        save_file({n: t.contiguous() for n, t in self.tensors.items()}, self.path, self.told)


def alter(name: str, index: Any, value: Any) -> Any:
    def change(saved: Saved) -> None:
        saved.tensors[name][index] = value

    return change


def remake(name: str, make: Any) -> Any:
    def change(saved: Saved) -> None:
        saved.tensors[name] = make(saved.tensors[name])

    return change


def count(name: str, value: Any) -> Any:
    def change(saved: Saved) -> None:
        saved.told["counts"] = json.dumps({**json.loads(saved.told["counts"]), name: value})

    return change


DAMAGED: dict[str, Any] = {
    "gate: a negative clock": alter("gate.clock", (0, 0), -999_999),
    "gate: another clock": alter("gate.clock", (0, 0), 7),
    "gate: a token that is not remembered": lambda s: s.tensors["gate.ids"].view(-1)[:1].fill_(
        next(i for i in range(10**6) if i not in s.tensors["ids"].tolist())
    ),
    "gate: missing": lambda s: s.tensors.pop("gate.ids"),
    "gate: another source": lambda s: s.tensors["gate.source"].copy_(
        s.tensors["gate.source"].flip(1)
    ),
    "ids: negative": alter("ids", 0, -1),
    "ids: out of order": remake("ids", lambda x: x.flip(0)),
    "ids: of the future": alter("ids", -1, 10**6),
    "ids: fewer": remake("ids", lambda x: x[1:]),
    "ids: none": remake("ids", lambda x: x[:0]),
    "ids: of floats": remake("ids", Tensor.double),
    "source: unknown": alter("source", 0, 10**6),
    "source: negative": alter("source", 0, -3),
    "source: fewer": remake("source", lambda x: x[:-1]),
    "source: missing": lambda s: s.tensors.pop("source"),
    "row: negative": alter("layer.1.row", 0, -1),
    "row: beyond": alter("layer.1.row", 0, 10**6),
    "row: fewer": remake("layer.1.row", lambda x: x[:-1]),
    "row: of floats": remake("layer.0.row", Tensor.double),
    "row: missing": lambda s: s.tensors.pop("layer.2.row"),
    "table: missing": lambda s: s.tensors.pop("layer.1.table.key"),
    "table: of another layer": lambda s: s.tensors.update(
        {"layer.0.table.made": s.tensors["layer.1.table.made"].clone()}
    ),
    "table: fewer rows": remake("layer.1.table.key", lambda x: x[:-1]),
    "table: fewer numbers": remake("layer.1.table.value", lambda x: x[..., :-1]),
    "table: other heads": remake("layer.1.table.query", lambda x: x.flatten(1)),
    "table: of integers": remake("layer.1.table.key", lambda x: x.long()),
    "born: negative": alter("output.features.table.born", 0, -1),
    "born: of the future": alter("output.features.table.born", 0, 10**6),
    "born: of floats": remake("output.features.table.born", Tensor.double),
    "features: wider": remake("output.features.table.rows", lambda x: x.repeat(1, 2)),
    "features: missing": lambda s: s.tensors.pop("output.features.table.rows"),
    "pooled: two": remake("pooled", lambda x: x.repeat(2, 1)),
    "pooled: missing": lambda s: s.tensors.pop("pooled"),
    "patches: fewer": remake("patches", lambda x: x[:-1]),
    "patches: missing": lambda s: s.tensors.pop("patches"),
    "sums: missing": lambda s: s.tensors.pop("layer.0.sums.total"),
    "sums: of no layer": lambda s: [s.tensors.pop(n) for n in list(s.tensors) if "0.sums" in n],
    "sums: another dtype": remake("layer.0.sums.weighted", Tensor.float),
    "sums: fewer": remake("layer.0.sums.shift", lambda x: x[:-1]),
    "sums: old": alter("layer.0.sums.age", 0, 10**6),
    "an output too many": lambda s: s.tensors.update({"output.tap_0.row": torch.zeros(1).long()}),
    "a tensor too many": lambda s: s.tensors.update(evil=torch.zeros(1)),
    "counts: missing": lambda s: s.told.pop("counts"),
    "counts: no JSON": lambda s: s.told.update(counts="{"),
    "counts: a list": lambda s: s.told.update(counts="[" * 100_000),
    "counts: fewer": lambda s: s.told.update(counts='{"emitted": 3}'),
    "counts: emitted": count("emitted", 10**5),
    "counts: negative": count("frames", -1),
    "counts: huge": count("frames", 2**70),
    "counts: a float": count("frames", 4.0),
    "counts: layers": count("layers", 2),
    "counts: more layers": count("layers", 10**6),
    "counts: cells": count("cells", 17),
    "counts: prefix": count("prefix", 1),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_state_is_refused_and_changes_nothing(what: str, tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    other = stream_of("watched")
    other(saved.x[:2])
    twin = stream_of("watched")
    twin(saved.x[:2])
    DAMAGED[what](saved)
    saved.write()
    with pytest.raises(ValueError, match="damaged: "):
        other.restore(saved.path)
    assert_goes_on(other, twin, saved.x[2:])


def test_numbers_that_a_disk_gave_back_otherwise_are_noticed(tmp_path: Path) -> None:
    saved = Saved(tmp_path)
    data = bytearray(saved.path.read_bytes())
    data[-100] ^= 4  # of some feature: nothing contradicts it
    saved.path.write_bytes(data)
    with pytest.raises(ValueError, match="its numbers are not those that were written"):
        saved.stream.restore(saved.path)
    saved.write()  # without a digest, as older files are
    saved.stream.restore(saved.path)


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_stands_in_a_file_restores_or_is_refused(
    data: st.DataObject, tmp_path: Path
) -> None:
    """And what restores can be gone on from."""
    saved = Saved(tmp_path, data.draw(st.sampled_from(list(RULES))))
    for _ in range(data.draw(st.integers(1, 2))):
        name = data.draw(st.sampled_from(sorted(saved.tensors)))
        tensor = saved.tensors[name]
        how = data.draw(st.sampled_from(["value", "value", "cut", "dtype", "drop", "swap"]))
        if how == "value" and tensor.numel() and not tensor.is_floating_point():
            flat = tensor.view(-1)
            at = data.draw(st.integers(0, len(flat) - 1))
            flat[at] = data.draw(st.sampled_from([0, 1, 2, 15, 16, 17, 63, 100]))
        elif how == "cut":
            saved.tensors[name] = tensor[:-1] if tensor.dim() else tensor
        elif how == "dtype":
            saved.tensors[name] = tensor.to(
                data.draw(st.sampled_from([torch.float32, torch.int32]))
            )
        elif how == "drop":
            del saved.tensors[name]
            if not saved.tensors:
                return
        elif how == "swap":
            other = data.draw(st.sampled_from(sorted(saved.tensors)))
            saved.tensors[name], saved.tensors[other] = saved.tensors[other], tensor
    saved.write()
    try:
        saved.stream.restore(saved.path)
    except ValueError:
        saved.stream(saved.x[4:])
        return
    saved.stream(saved.x[4:])


def test_the_digest_does_not_depend_on_the_order() -> None:
    tensors = {"b": torch.arange(3), "a": torch.zeros((), dtype=torch.bool)}
    first = stream_file._digest(tensors)
    assert first == stream_file._digest(dict(reversed(tensors.items())))
    assert first != stream_file._digest({**tensors, "b": torch.arange(1, 4)})
    assert first != stream_file._digest({**tensors, "b": torch.arange(3).int()})
