"""The settings of ``config.patchgate``: the names of ``Gate`` and ``gated``, and clear errors."""

import inspect
import math

import pytest

import patchgate
from patchgate.serving.settings import Geometry, ServingSettings, names

QWEN3 = Geometry(16, 2, 2)


def test_nothing_given_is_what_gate_and_gated_do():
    settings = ServingSettings.read({}, QWEN3)
    assert settings.gate == patchgate.Gate(patch=16, merge=2, temporal_patch=2).settings
    shown = inspect.signature(patchgate.gated).parameters
    assert settings.fidelity.context == shown["context"].default
    assert settings.fidelity.tolerance == shown["tolerance"].default
    assert settings.budget.max_tokens is None


def test_names_are_those_of_gate_and_gated():
    gate = set(inspect.signature(patchgate.Gate).parameters)
    gated = set(inspect.signature(patchgate.gated).parameters)
    own = {"max_tokens", "max_tokens_per_second", "max_streams", "stream_seconds"}
    assert set(names()) - own <= gate | gated
    assert {"threshold", "context", "tolerance", "moved", "noise", "scene_cut"} <= set(names())


def test_values_arrive_and_are_shown():
    given = {"threshold": 2, "context": "kept", "max_tokens": 500, "noise": "adaptive"}
    settings = ServingSettings.read(given, QWEN3)
    assert (settings.gate.threshold, settings.gate.noise) == (2, "adaptive")
    assert (settings.fidelity.context, settings.budget.max_tokens) == ("kept", 500)
    shown = "threshold=2.0, noise='adaptive', context='kept', max_tokens=500"
    assert str(settings) == shown


@pytest.mark.parametrize("text", ["inf", "Infinity", math.inf])
def test_json_has_no_infinity_so_text_is_taken(text):
    assert ServingSettings.read({"tolerance": text}, QWEN3).fidelity.tolerance == math.inf


def test_what_calibrate_left_is_used_where_nothing_is_given():
    left = {"tolerance": "0.07", "threshold": 6.0, "sub_blocks": 1, "target": 0.99}
    settings = ServingSettings.read({"threshold": 3}, QWEN3, left)
    assert (settings.gate.threshold, settings.gate.sub_blocks) == (3, 1)
    assert settings.fidelity.tolerance == 0.07
    kept = ServingSettings.read({"context": "kept"}, QWEN3, left)
    assert kept.gate.threshold == 4  # a calibration is one of context="full"
    assert ServingSettings.read(left, QWEN3).gate.threshold == 6  # given as it was left


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"thresold": 4}, ValueError, "got 'thresold'; did you mean threshold"),
        ({"threshold": 300}, ValueError, "threshold: expected 0..255 grey levels, got 300"),
        ({"threshold": "4"}, TypeError, "threshold: expected a number, got '4'"),
        ({"tolerance": "much"}, ValueError, "tolerance: expected a number, got 'much'"),
        ({"context": "all"}, ValueError, "context: expected one of 'full', 'kept', got 'all'"),
        ({"context": "kept", "tolerance": 0.1}, ValueError, 'context="kept" has no use for it'),
        ({"patch": 14}, ValueError, "patch is the model's own (16), got 14; leave it out"),
        ({"size": 224}, ValueError, "the model's processor resizes videos; leave it out"),
        ({"max_tokens": 0}, ValueError, "max_tokens: expected at least 1, got 0"),
        ({"max_tokens_per_second": -1}, ValueError, "max_tokens_per_second: expected 0.."),
        ({"max_streams": 1.5}, TypeError, "max_streams: expected a whole number"),
        ({"stream_seconds": -1}, ValueError, "stream_seconds: expected 0.."),
        ([4], TypeError, "expected settings by name, such as"),
        (True, TypeError, "expected settings by name, such as"),
    ],
)
def test_a_wrong_setting_says_what_was_expected(given, kind, words):
    with pytest.raises(kind) as error:
        ServingSettings.read(given, QWEN3)
    assert str(error.value).startswith("config.patchgate")
    assert words in str(error.value)
