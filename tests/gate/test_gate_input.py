"""What the gate says to bad input: the type of error, what was expected, what came. And that a
failed push costs nothing.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gate_videos import busy_video
from safetensors.torch import load_file, save_file
from torch import Tensor

from patchgate import Gate, GateResult
from patchgate.decode import Colour, FrameBatch

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"threshold": NAN}, "threshold: expected 0..255 grey levels, got nan"),
        ({"threshold": INF}, "threshold: expected 0..255 grey levels, got inf"),
        ({"threshold": -0.1}, "threshold: expected 0..255 grey levels, got -0.1"),
        ({"threshold": 1e9}, "threshold: expected 0..255 grey levels, got 1000000000.0"),
        ({"search_radius": -1}, r"search_radius: expected 0..127, got -1"),
        ({"search_radius": 128}, r"search_radius: expected 0..127, got 128"),
        ({"scene_cut": 1.5}, "scene_cut: expected 0..1 of the cells, got 1.5"),
        ({"scene_cut": NAN}, "scene_cut: expected 0..1 of the cells, got nan"),
        ({"scene_cut": -1}, "scene_cut: expected 0..1"),
        ({"max_age": 0}, r"max_age: expected 1..\d+, got 0"),
        ({"max_age": -3}, r"max_age: expected 1..\d+, got -3"),
        ({"max_age": 10**9}, r"max_age: expected 1..\d+, got 1000000000"),
        ({"hysteresis": 1.01}, "hysteresis: expected 0..1 of the limit, got 1.01"),
        ({"hysteresis": NAN}, "hysteresis: expected 0..1 of the limit, got nan"),
        (
            {"on_motion": "skip"},
            "on_motion: expected one of 'encode', 'camera', 'reuse', got 'skip'",
        ),
        ({"on_motion": None}, "on_motion: expected one of .*, got None"),
        ({"noise": "auto"}, "noise: expected one of None, 'adaptive', got 'auto'"),
        ({"patch": 0}, "patch: expected at least 1, got 0"),
        ({"merge": -2}, "merge: expected at least 1, got -2"),
        ({"patch": 200, "merge": 2}, r"patch \* merge: .*at most 256 pixels, got 200 \* 2"),
        ({"temporal_patch": 3}, "temporal_patch: expected 1..2, got 3"),
        ({"temporal_patch": 0}, "temporal_patch: expected 1..2, got 0"),
        ({"sub_blocks": 0}, "sub_blocks: expected at least 1, got 0"),
        ({"sub_blocks": 3}, r"sub_blocks: 3 does not divide patch=14; use one of \[1, 2, 7, 14\]"),
        ({"fit": "zoom"}, "fit: expected one of .*, got 'zoom'"),
        ({"size": (100, 140)}, "size: 100 x 140 pixels do not divide into cells of 14 .* 98 x 140"),
        ({"size": (14, 0)}, "size: expected at least 1, got 0"),
        ({"size": (14, 14, 3)}, r"size: expected \(H, W\), got \(14, 14, 3\)"),
        ({"size": 100}, "size: 100 x 100 pixels do not divide"),
    ],
)
def test_a_setting_out_of_range_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gate(**setting)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"threshold": "4"}, "threshold: expected a number, got '4'"),
        ({"threshold": None}, "threshold: expected a number, got None"),
        ({"threshold": True}, "threshold: expected a number, got True"),
        ({"search_radius": True}, "search_radius: expected a whole number, got True"),
        ({"search_radius": False}, "search_radius: expected a whole number, got False"),
        ({"search_radius": 0.0}, "search_radius: expected a whole number, got 0.0"),
        ({"search_radius": 8.0}, "search_radius: expected a whole number, got 8.0"),
        ({"scene_cut": True}, "scene_cut: expected a number, got True"),
        ({"scene_cut": "0.8"}, "scene_cut: expected a number, got '0.8'"),
        ({"max_age": True}, "max_age: expected a whole number, got True"),
        ({"max_age": 2.5}, "max_age: expected a whole number, got 2.5"),
        ({"hysteresis": True}, "hysteresis: expected a number, got True"),
        ({"patch": 14.0}, "patch: expected a whole number, got 14.0"),
        ({"merge": True}, "merge: expected a whole number, got True"),
        ({"sub_blocks": True}, "sub_blocks: expected a whole number, got True"),
        ({"temporal_patch": True}, "temporal_patch: expected a whole number, got True"),
        ({"chroma": 1}, "chroma: expected True or False, got 1"),
        ({"chroma": None}, "chroma: expected True or False, got None"),
        ({"size": True}, "size: expected a whole number, got True"),
        ({"size": (14.0, 14)}, "size: expected a whole number, got 14.0"),
        ({"size": 37.5}, "size: expected .*, got 37.5"),
    ],
)
def test_a_setting_of_the_wrong_type_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Gate(**setting)


def test_numpy_numbers_are_numbers() -> None:
    gate = Gate(np.float32(4), np.int64(8), max_age=np.int32(9), patch=np.int64(8))
    assert gate.push(busy_video(0)).kind.shape == (20, 3, 4)


def test_none_switches_the_rules_off() -> None:
    gate = Gate(patch=8, search_radius=None, scene_cut=None, max_age=None, hysteresis=None)
    assert not bool((gate.push(busy_video(0)).kind == 1).any())


def zeros(*shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


BAD_PLANES: list[tuple[Any, type[Exception], str]] = [
    (zeros(1, 3, 24, 32, dtype=torch.float32), TypeError, "expected uint8 in 0..255, got torch.fl"),
    (zeros(1, 3, 24, 32, dtype=torch.bool), TypeError, "expected uint8 in 0..255, got torch.bool"),
    (zeros(1, 3, 24, 32, dtype=torch.int8), TypeError, "expected uint8 in 0..255, got torch.int8"),
    (np.zeros((1, 3, 24, 32), np.uint8), TypeError, "expected a Tensor or a FrameBatch, got .*nda"),
    (None, TypeError, "expected a Tensor or a FrameBatch, got .*NoneType"),
    (zeros(24, 32), ValueError, r"expected \[T, C, H, W\] or \[S, T, C, H, W\], got \[24, 32\]"),
    (zeros(3, 24, 32), ValueError, r"expected \[T, C, H, W\] or .*, got \[3, 24, 32\]"),
    (zeros(1, 1, 1, 3, 24, 32), ValueError, r"expected \[T, C, H, W\] or .*, got \[1, 1, 1, 3,"),
    (zeros(1, 2, 24, 32), ValueError, r"expected C = 1 \(luma\) or 3 .*, got C = 2"),
    (zeros(1, 24, 32, 3), ValueError, r"expected C = 1 .*, got C = 24"),
    (zeros(1, 3, 24, 30), ValueError, "24 x 30 pixels do not divide into cells of 8"),
    (zeros(1, 3, 0, 32), ValueError, "0 x 32 pixels do not divide into cells of 8"),
    (zeros(0, 1, 3, 24, 32), ValueError, "expected at least one stream"),
    (zeros(1, 3, 24, 32).to("meta"), ValueError, "state is on cpu, got planes on meta"),
    (zeros(1, 3, 32, 24), ValueError, r"has seen \(S, C, H, W\) = \(1, 3, 24, 32\), got \(1, 3, 3"),
    (zeros(1, 1, 24, 32), ValueError, r"has seen .* got \(1, 1, 24, 32\); reset\(\) it first"),
    (zeros(2, 1, 3, 24, 32), ValueError, r"has seen .* got \(2, 3, 24, 32\)"),
    (FrameBatch((zeros(1, 24, 32),) * 3, *torch.ones(2, 1).double(), Colour()), ValueError,
     r"must be resized to a grid.*size=\(H, W\)"),
]  # fmt: skip

BAD_MAPS: list[tuple[Any, type[Exception], str]] = [
    (torch.ones(4, 3), ValueError, r"threshold_map: expected \[h, w\] = \[3, 4\], got \[4, 3\]"),
    (torch.ones(1, 3, 4), ValueError, r"threshold_map: expected .*, got \[1, 3, 4\]"),
    (torch.tensor(1.0), ValueError, r"threshold_map: expected .*, got \[\]"),
    (torch.full((3, 4), NAN), ValueError, "threshold_map: expected factors >= 0 .*NaN"),
    (torch.full((3, 4), -1.0), ValueError, "threshold_map: expected factors >= 0"),
    (torch.full((3, 4), -INF), ValueError, "threshold_map: expected factors >= 0"),
]


def assert_unharmed(gate: Gate, fresh: Gate) -> None:
    """``gate`` saw frames 0 .. 6, and something bad; it goes on as if nothing had been."""
    video = busy_video(0)
    fresh.push(video[:7])
    expected, got = fresh.push(video[7:]), gate.push(video[7:])
    assert isinstance(got, GateResult)
    for a, b in zip(got, expected, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("f", [1, 2])
@pytest.mark.parametrize(("planes", "error", "message"), BAD_PLANES)
def test_bad_planes_are_refused_and_cost_nothing(
    planes: Any, error: type[Exception], message: str, f: int
) -> None:
    gate = Gate(patch=8, temporal_patch=f)
    gate.push(busy_video(0)[:7])  # f = 2: one frame waits
    with pytest.raises(error, match=message):
        gate.push(planes)
    assert_unharmed(gate, gate.fresh())


@pytest.mark.parametrize(("factors", "error", "message"), BAD_MAPS)
def test_a_bad_threshold_map_is_refused_and_costs_nothing(
    factors: Any, error: type[Exception], message: str
) -> None:
    gate = Gate(patch=8)
    gate.push(busy_video(0)[:7])
    with pytest.raises(error, match=message):
        gate.push(busy_video(0)[7:9], factors)
    assert_unharmed(gate, gate.fresh())


@pytest.mark.parametrize(("planes", "error", "message"), BAD_PLANES[:13])
def test_a_refused_first_push_leaves_the_gate_open_for_any_size(
    planes: Any, error: type[Exception], message: str
) -> None:
    gate = Gate(patch=8)
    with pytest.raises(error, match=message):
        gate.push(planes)
    assert gate.push(busy_video(0)[..., :16, :16]).kind.shape == (20, 2, 2)


def test_bad_resets_and_flushes_are_refused_and_cost_nothing() -> None:
    gate = Gate(patch=8, temporal_patch=2)
    with pytest.raises(ValueError, match="flush: nothing was pushed"):
        gate.flush()
    with pytest.raises(ValueError, match="nothing was pushed yet, so there are no streams"):
        gate.reset([0])
    gate.push(busy_video(0)[:7])
    with pytest.raises(ValueError, match="a frame waits for its partner; flush"):
        gate.reset([0])
    assert_unharmed(gate, gate.fresh())


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([1], r"reset: expected stream numbers 0..0, got \[1\]"),
        ([-1], r"reset: expected stream numbers 0..0, got \[-1\]"),
        (torch.tensor([True, False]), "reset: expected a mask of 1 streams"),
    ],
)
def test_a_reset_of_no_such_stream_is_refused(streams: Any, message: str) -> None:
    gate = Gate(patch=8)
    gate.push(busy_video(0)[:7])
    with pytest.raises(ValueError, match=message):
        gate.reset(streams)
    assert_unharmed(gate, gate.fresh())


def test_a_reset_of_no_stream_is_no_reset() -> None:
    gate = Gate(patch=8)
    gate.push(busy_video(0)[:7])
    gate.reset([])
    assert_unharmed(gate, gate.fresh())


def test_the_callers_planes_and_map_are_left_alone() -> None:
    video, factors = busy_video(0), torch.rand(3, 4)
    before, factors_before = video.clone(), factors.clone()
    Gate(patch=8, temporal_patch=2, noise="adaptive").push(video, factors)
    assert torch.equal(video, before)
    assert torch.equal(factors, factors_before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_age": 3}, "state: it is of a gate with max_age=None, this one has 3"),
        ({"temporal_patch": 2}, "state: it is of a gate with temporal_patch=1, this one has 2"),
        ({"patch": 4}, "state: expected cells of 4 px, got 3 x 4 cells on 24 x 32 px"),
    ],
)
def test_a_state_of_other_settings_is_refused(settings: dict[str, Any], message: str) -> None:
    gate = Gate(patch=8)
    gate.push(busy_video(0)[:2])
    other = gate.fresh(**settings)
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(gate.state_dict())
    assert other.state_dict() == {}


def test_a_state_goes_through_files(tmp_path: Path) -> None:
    gate, video = Gate(patch=8, max_age=3), busy_video(0)
    gate.push(video[:3])
    save_file(gate.state_dict(), tmp_path / "state")
    states = [load_file(tmp_path / "state"), pickle.loads(pickle.dumps(gate.state_dict()))]
    expected = gate.push(video[3:])
    for state in states:
        other = gate.fresh()
        other.load_state_dict(state)
        for got, want in zip(other.push(video[3:]), expected, strict=True):
            assert torch.equal(got, want)


PICTURES = np.zeros((2, 28, 42, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (PICTURES, TypeError, "got ndarray. A gate compares Y, Cb and Cr: .*from_rgb.*from_bgr"),
        (list(PICTURES), TypeError, "got list. .*FrameBatch.from_rgb"),
        (torch.from_numpy(PICTURES), ValueError, r"got C = 28 in \[2, 28, 42, 3\]. .*from_bgr"),
        (torch.from_numpy(PICTURES[0]), ValueError, r"got \[28, 42, 3\]. .*from_bgr"),
        (torch.zeros(2, 3, 42, 4, dtype=torch.uint8), ValueError, "42 x 4 pixels .*from_rgb"),
        (torch.zeros(2, 3, 28, 42), TypeError,
         r"got torch.float32. Pixel values that a processor .*gated\(model\).*from_rgb"),
        (torch.zeros(2, 3, 28, 42).long(), TypeError, r"got torch\.int64$"),
        (torch.zeros(2, 5, 28, 42).byte(), ValueError, r"got C = 5 in \[2, 5, 28, 42\]$"),
    ],
)  # fmt: skip
def test_pictures_are_told_the_way_in(frames: Any, error: type, message: str) -> None:
    gate = Gate()
    with pytest.raises(error, match=message):
        gate.push(frames)
    assert gate.picture_ids is None


def test_the_way_in_leads_in() -> None:
    gate = Gate(size=(28, 42))
    assert gate.push(FrameBatch.from_bgr(PICTURES)).kind.shape == (2, 2, 3)
