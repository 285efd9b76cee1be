"""What may stand in the file of a stream."""

import json
from pathlib import Path
from typing import Any

import gated_families as families
import pytest
import torch
from gated_cases import MEAN, STD, camera, flicker, normalised, tower
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file
from stream_cases import RULES, assert_goes_on, stream_of
from torch import Tensor

import patchgate
from patchgate.encoders.gated import stream_file


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


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
    "ids and gate: of one token": lambda s: s.tensors["gate.ids"].fill_(int(s.tensors["ids"][0])),
    "row: some rows of a table in no slot": lambda s: s.tensors["layer.1.row"].zero_(),
    "row: of features, all alike": lambda s: s.tensors["output.features.row"].zero_(),
    "table: of 8 bits": remake("layer.1.table.key", lambda x: x.to(torch.float8_e4m3fn)),
    "table: narrower than the tower": remake("layer.1.table.value", Tensor.float),
    "table: attention of another dtype": remake("layer.1.table.made", Tensor.half),
    "features: narrower than the tower": remake("output.features.table.rows", Tensor.bfloat16),
    "born: twice at one place": lambda s: s.tensors["output.features.table.born"].zero_(),
    "patches: of 8 bits": remake("patches", lambda x: x.to(torch.float8_e5m2)),
    "pooled: without a gate": lambda s: [
        s.tensors.pop(n) for n in list(s.tensors) if n.startswith("gate.")
    ],
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
    rule = "sources" if what.startswith("patches") else "watched"
    saved = Saved(tmp_path, rule)
    other = stream_of(rule)
    other(saved.x[:2])
    twin = stream_of(rule)
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


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_stream_that_ran_under_autocast_can_be_saved(
    rule: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    gated = patchgate.gated(tower("siglip", dtype), mean=MEAN, std=STD, **RULES[rule])
    stream, other = gated.stream(), gated.stream()
    x = normalised(flicker(8), dtype)
    with torch.autocast("cpu", torch.bfloat16):
        stream(x[:4])
    stream.save(tmp_path / "t")
    other.restore(tmp_path / "t")
    assert_goes_on(stream, other, x[4:])


def test_what_a_count_asks_for_is_in_the_file(tmp_path: Path) -> None:
    """A tower of pictures of any size makes tables as large as it is told that they are."""
    case = families.Case(families.siglip2())
    stream = families.gated(case.model, context="kept").stream()
    stream(**case.inputs(camera(2)))
    stream.save(tmp_path / "t")
    with safe_open(tmp_path / "t", "pt") as file:
        told = file.metadata()
        tensors = {n: file.get_tensor(n) for n in file.keys() if "gate." not in n}  # noqa: SIM118
    told.pop("digest")
    tensors.pop("pooled")
    told["counts"] = json.dumps({**json.loads(told["counts"]), "cells": 2**40})
    save_file(tensors, tmp_path / "t", told)
    with pytest.raises(ValueError, match=r"damaged: expected source \[1099511627776\]"):
        stream.restore(tmp_path / "t")


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
