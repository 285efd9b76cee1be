"""Numbers of every kind: numpy's, fractions, Python's own. They are one from the first check on."""

import ast
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import clips
import gated_cases as cases
import numpy as np
import pytest
import torch
from merge_cases import random_tokens

import patchgate
from patchgate import Gate, MergeStream, VideoTokens
from patchgate._check import (
    checked_choice,
    checked_count,
    checked_number,
    checked_size,
    checked_switch,
)
from patchgate._tensors import as_given
from patchgate.decode.source.access import Access
from patchgate.encoders.run.fidelity import Fidelity
from patchgate.gate import GateSettings
from patchgate.gather import PixelSpec
from patchgate.merging.settings import MergeSettings
from patchgate.policies import POLICIES, Budget, Cells, Frames, llava_onevision, pick, pool, siglip
from patchgate.policies.grids import Qwen
from patchgate.tokens import TokenGrid, TokenLayout

PYTHON = Path(__file__).parent.parent / "python"
# What the command line is given, typer has made Python's own already.
SOURCES = sorted(path for path in PYTHON.rglob("*.py") if "cli" not in path.parts)


# ---- read in the sources


def dropped(text: str) -> list[str]:
    """Checks whose result is not used, as ``line: call``."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            name = ast.unparse(node.value.func).rsplit(".", 1)[-1]
            if name.startswith("checked_"):
                found.append(f"{node.lineno}: {ast.unparse(node.value)}")
    return found


def test_no_check_is_made_in_vain() -> None:
    assert len(SOURCES) > 100
    found = {path.name: dropped(path.read_text()) for path in SOURCES}
    assert not {name: calls for name, calls in found.items() if calls}
    assert dropped("checked_count('n', n, 0)")
    assert not dropped("n = checked_count('n', n, 0)")


# ---- the checks


@pytest.mark.parametrize("four", [
    4, 4.0, np.int64(4), np.uint8(4), np.float16(4), np.float32(4), np.float64(4), Fraction(8, 2),
])  # fmt: skip
def test_a_number_is_a_float(four: Any) -> None:
    got = checked_number("n", four, 0, 9, "")
    assert type(got) is float
    assert got == 4


@pytest.mark.parametrize("four", [4, np.int64(4), np.uint8(4), np.int16(4)])
def test_a_count_is_an_int(four: Any) -> None:
    assert type(checked_count("n", four, 0, 9)) is int
    assert checked_size("size", four, 2) == (4, 4)
    assert [type(side) for side in checked_size("size", np.array([four, 6]), 2)] == [int, int]


@pytest.mark.parametrize("check", [
    lambda v: checked_number("n", v, 0, 9, ""), lambda v: checked_count("n", v, 0, 9),
])  # fmt: skip
@pytest.mark.parametrize("wrong", [
    True, np.True_, "4", b"4", None, [4], np.array([4]), torch.tensor(4), Decimal(4), 4j,
])  # fmt: skip
def test_what_is_no_number_is_refused(check: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"n: expected a (whole )?number, got"):
        check(wrong)


@pytest.mark.parametrize("beyond", [10**400, -(10**400), Fraction(10**400), np.inf, np.float32(10)])
def test_numbers_beyond_all_floats_are_out_of_range(beyond: Any) -> None:
    with pytest.raises(ValueError, match=r"n: expected 0\.\.9 m, got"):
        checked_number("n", beyond, 0, 9, "m")


def test_words_and_switches() -> None:
    word = checked_choice("w", np.str_("crop"), ("stretch", "crop", None))
    assert type(word) is str
    assert checked_choice("w", None, ("stretch", None)) is None
    for wrong in (np.array(["crop", "pad"]), "Crop", 1.0, ["crop"], None):
        with pytest.raises(ValueError, match=r"w: expected one of 'crop', 1, got"):
            checked_choice("w", wrong, ("crop", 1))
    assert checked_switch("s", np.False_) is False
    for wrong in (1, 0.0, None, "yes", np.int64(1), torch.tensor(True)):
        with pytest.raises(TypeError, match="s: expected True or False, got"):
            checked_switch("s", wrong)


@pytest.mark.parametrize(("value", "dtype"), [
    (0.1, torch.float64), ([0.1, 2], torch.float64), (np.float32(0.5), torch.float32),
    (np.arange(4)[::-1], torch.int64), (np.array([1, 2], ">i4"), torch.int32),
    (np.array([0.5], np.longdouble), torch.float64), ([torch.tensor(1.0)] * 2, torch.float32),
    (np.arange(3, dtype=">f8"), torch.float64), ((True, False), torch.bool), ([], torch.float64),
])  # fmt: skip
def test_what_a_tensor_can_hold_becomes_one(value: Any, dtype: torch.dtype) -> None:
    got = as_given(value)
    assert (got.dtype, got.device.type) == (dtype, "cpu")
    assert got.tolist() == np.asarray(value, np.float64).tolist()


def test_seconds_of_a_list_are_not_rounded() -> None:
    assert Frames(pts=[0.1, 0.2]).pts.tolist() == [0.1, 0.2]


# ---- settings


def others(value: Any) -> Iterator[Any]:
    """The same number, told otherwise."""
    if isinstance(value, bool):
        yield np.bool_(value)
    elif isinstance(value, int):
        yield from (np.int64(value), np.int16(value))
    elif isinstance(value, float):
        yield from (np.float64(value), Fraction(value))
    elif isinstance(value, str):
        yield np.str_(value)
    elif isinstance(value, tuple):
        yield from (np.array(value), [next(others(part)) for part in value])


SETTINGS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "gate": (GateSettings, {
        "threshold": 4.0, "search_radius": 3, "on_motion": "reuse", "scene_cut": 0.5,
        "max_age": 9, "patch": 8, "merge": 2, "temporal_patch": 2, "sub_blocks": 4,
        "chroma": False, "hysteresis": 0.25, "noise": "adaptive", "size": (32, 48),
        "fit": "crop", "motion_precision": 2}),
    "merge": (MergeSettings, {
        "ratio": 0.5, "spatial": False, "keep_grid": True, "delta": 0.125, "memory": 3,
        "reach": 1, "agreement": 0.5, "every_frame": True, "window": 4}),
    "merge to a budget": (MergeSettings, {"budget": 9, "per": "second", "similar": True}),
    "fidelity": (Fidelity, {
        "context": "full", "tolerance": 0.25, "tolerance_layers": 2, "refresh": 5,
        "moved": "lend"}),
    "pixels": (PixelSpec, {
        "size": (28, 42), "mean": (0.5, 0.25, 0.125), "std": (0.5, 0.25, 1.0), "patch": 14,
        "merge": 1, "temporal_patch": 2, "crop": (28, 28), "filter": "bilinear",
        "rescale": 0.25, "channels_last": True, "first_pass": "pillow13"}),
    "layout": (TokenLayout, {
        "cell": 14, "planes": 3, "temporal_patch": 2, "matrix": "bt709", "motion_precision": 2}),
    "grid": (TokenGrid, {
        "cell": 14, "motion_precision": 2, "frames_before": 9, "blends": False}),
    "budget": (Budget, {"frames": 5, "tokens": 60, "grid": Cells(4, 4)}),
    "cells": (Cells, {"h": 4, "w": 5, "group": 2, "extra": 1, "most_frames": 7}),
    "qwen": (Qwen, {
        "height": 480, "width": 640, "side": 28, "rounding": "transformers", "per_video": True,
        "least": 5, "most": 90, "group": 2, "extra": 1, "most_frames": 9}),
    "siglip": (siglip, {"size": 384, "patch": 16}),
    "llava": (llava_onevision, {"size": 384, "patch": 16}),
}  # fmt: skip


def plain(settings: Any) -> dict[str, Any]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_told_otherwise_are_the_same(kind: str) -> None:
    make, given = SETTINGS[kind]
    want = make(**given)
    for name, value in given.items():
        for other in others(value):
            got = make(**{**given, name: other})
            assert got == want, (name, other)
            assert repr(got) == repr(want), (name, other)
            assert type(getattr(got, name, None)) is type(getattr(want, name, None))


@pytest.mark.parametrize("kind", ["gate", "merge", "fidelity", "layout", "grid", "cells"])
def test_settings_can_be_written(kind: str) -> None:
    make, given = SETTINGS[kind]
    told = make(**{name: next(others(value), value) for name, value in given.items()})
    assert json.dumps(asdict(told)) == json.dumps(asdict(make(**given)))


# ---- what is made of them


def same(a: Any, b: Any) -> bool:
    return all(torch.equal(getattr(a, name), value) for name, value in b.tensors().items())


def test_tokens_of_numpys_numbers_are_saved(tmp_path: Path) -> None:
    video = clips.clip("h264.mp4")
    gate = Gate(patch=np.int64(14), threshold=np.float32(4), motion_precision=np.int64(2))
    got = patchgate.tokenize(video, gate=gate, size=np.array([56, 56]), fps=np.float32(10),
                             start=Fraction(1, 5), end=np.float64(1), chunk=np.int8(5),
                             threads=np.int64(1))  # fmt: skip
    want = patchgate.tokenize(video, gate=Gate(patch=14, threshold=4, motion_precision=2),
                              size=(56, 56), fps=10, start=0.2, end=1.0, chunk=5)  # fmt: skip
    assert same(got, want)
    got.save(tmp_path / "t")
    assert VideoTokens.load(tmp_path / "t").layout == want.layout
    assert same(got.slice(np.float32(0.25), Fraction(1, 2)), want.slice(0.25, 0.5))


def test_a_size_beside_a_gates_own_may_be_an_array() -> None:
    video, gate = clips.clip("h264.mp4"), Gate(size=(56, 56))
    for size in (np.array([56, 56]), np.int64(56), [56, 56], 56):
        assert patchgate.tokenize(video, gate=gate, size=size, end=0.1).shape.h == 4
    with pytest.raises(ValueError, match=r"size: the gate has size=\(56, 56\)"):
        patchgate.tokenize(video, gate=gate, size=np.array([28, 28]), end=0.1)


@pytest.mark.parametrize(("wrong", "error"), [
    ({"chunk": True}, TypeError), ({"chunk": np.float64(4)}, TypeError),
    ({"chunk": np.int64(0)}, ValueError), ({"fps": np.nan}, ValueError), ({"fps": "10"}, TypeError),
    ({"start": 10**400}, ValueError), ({"end": np.float32(np.inf)}, ValueError),
    ({"threads": Fraction(2)}, TypeError),
])  # fmt: skip
def test_options_of_open_video_are_named(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=f"{next(iter(wrong))}: expected"):
        patchgate.open_video(clips.clip("h264.mp4"), **wrong)


def test_a_state_is_of_the_same_gate_however_it_was_told(tmp_path: Path) -> None:
    model = cases.tower("siglip", torch.float32)
    pixels = cases.normalised(cases.flicker(3), torch.float32)

    def stream(**settings: Any) -> Any:
        return patchgate.gated(model, mean=cases.MEAN, std=cases.STD, **settings).stream()

    for number, settings in enumerate((
        {"threshold": 4}, {"threshold": np.float32(4), "tolerance": np.float64(0.15)},
        {"threshold": Fraction(4), "tolerance": Fraction(0.15), "max_age": None},
    )):  # fmt: skip
        first = stream(**settings)
        first(pixels)
        first.save(tmp_path / f"{number}")
        second = stream(threshold=4.0)
        second.restore(tmp_path / f"{number}")
        assert torch.equal(second(pixels).last_hidden_state, first(pixels).last_hidden_state)


def test_a_state_that_says_4_is_one_of_4_0(tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    model = cases.tower("siglip", torch.float32)
    made = patchgate.gated(model, mean=cases.MEAN, std=cases.STD, threshold=4)
    stream = made.stream()
    stream(cases.normalised(cases.flicker(3), torch.float32))
    stream.save(tmp_path / "now")
    with safe_open(tmp_path / "now", framework="pt") as file:
        told = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    old = told["gate"].replace('"threshold": 4.0', '"threshold": 4')
    assert old != told["gate"]
    save_file(tensors, tmp_path / "old", {**told, "gate": old})
    made.stream().restore(tmp_path / "old")
    save_file(tensors, tmp_path / "other", {**told, "gate": old.replace(": 4,", ": 5,")})
    with pytest.raises(ValueError, match="gate"):
        made.stream().restore(tmp_path / "other")


def test_merging() -> None:
    tokens = random_tokens(t=9)
    want = patchgate.merge(tokens, ratio=0.5, window=4, reach=1)
    got = patchgate.merge(tokens, ratio=Fraction(1, 2), window=np.int64(4), reach=np.uint8(1))
    assert same(got, want)
    stream = MergeStream(budget=3, per="frame", window=4, similar=True)
    stream.relax(budget=np.int64(4), similar=np.True_)
    assert stream._now.settings == MergeSettings(budget=4, per="frame", window=4, similar=True)
    assert patchgate.scenes(tokens, delta=np.float64(0.05), memory=np.int64(4)) is not None


# ---- policies


def _frames(n: int = 50) -> Frames:
    random = torch.Generator().manual_seed(4)
    columns = {name: torch.rand(n, generator=random) for name in ("rel", "delta", "keep", "motion")}
    return Frames(pts=torch.arange(n) / 2, feat=torch.randn(n, 6, generator=random),
                  key=torch.arange(n) % 9 == 0, sharp=columns["keep"], **columns)  # fmt: skip


def _numbers(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters with numbers for defaults."""
    found = inspect.signature(function).parameters.items()
    return {name: each.default for name, each in found if type(each.default) in (int, float)}


@pytest.mark.parametrize("name", POLICIES)
def test_policies(name: str) -> None:
    frames, policy = _frames(), POLICIES[name]
    for budget in (Budget(frames=7), Budget(tokens=60, grid=Cells(4, 4))):
        want = policy.run(frames, budget)
        for parameter, default in _numbers(policy.run).items():
            for other in others(default):
                got = policy.run(frames, budget, **{parameter: other})
                for column, value in vars(want).items():
                    assert torch.equal(getattr(got, column), value), (parameter, other)


def test_parts_of_policies() -> None:
    frames = _frames()
    rel, pts = frames.need("rel"), frames.pts
    seven, half = np.int64(7), Fraction(1, 2)
    assert pool.uniform(np.int64(50), seven).equal(pool.uniform(50, 7))
    assert pool.at_rate(frames, half, np.int8(9)).equal(pool.at_rate(frames, 0.5, 9))
    assert pool.window(frames, half, np.float32(9)).equal(pool.window(frames, 0.5, 9.0))
    assert pool.clips(np.int64(50), np.int64(4), np.int64(3)).equal(pool.clips(50, 4, 3))
    assert pick.inverse_cdf(rel, seven, power=half, floor=half).equal(
        pick.inverse_cdf(rel, 7, power=0.5, floor=0.5)
    )
    assert pick.gap(rel, pts, seven, seconds=Fraction(9), decay=half, over=np.int64(3)).equal(
        pick.gap(rel, pts, 7, seconds=9.0, decay=0.5, over=3)
    )
    for function in (pick.top_k, pick.bins, pick.peaks, pick.basins):
        assert function(rel, seven).equal(function(rel, 7))


@pytest.mark.parametrize("whole", [np.int64, np.uint8])
@pytest.mark.parametrize("real", [np.float32, np.float64, Fraction])
def test_where_a_video_comes_from_is_told_in_any_numbers(whole: Any, real: Any) -> None:
    access = Access(open_timeout=real(5), read_timeout=real(5), stream=whole(0))
    assert [type(access.open_timeout), type(access.stream)] == [float, int]
    assert access == Access(open_timeout=5.0, read_timeout=5.0, stream=0)
    options = {"stream": whole(0), "open_timeout": real(5), "read_timeout": real(5)}
    with patchgate.open_video(clips.clip("h264.mp4"), chunk=whole(2), **options) as video:
        assert len(next(iter(video))) == 2
