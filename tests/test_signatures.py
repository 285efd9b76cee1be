"""What ``help()`` and an editor show: settings by name, and a public name for what comes back."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

import patchgate
from patchgate.encoders.gated import GatedKwargs
from patchgate.encoders.run.fidelity import Fidelity, FidelityKwargs
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY, GateRules, Kind
from patchgate.merging.settings import MergeKwargs, MergeSettings

PAIRS = [(MergeKwargs, MergeSettings, ()), (FidelityKwargs, Fidelity, ()),
         (GateRules, GateSettings, GEOMETRY)]  # fmt: skip


@pytest.mark.parametrize(("keywords", "settings", "others"), PAIRS)
def test_keywords_for_type_checkers_are_the_settings(
    keywords: type, settings: type, others: tuple[str, ...]
) -> None:
    kinds = get_type_hints(settings)
    expected = {f.name: kinds[f.name] for f in fields(settings) if f.name not in others}
    assert get_type_hints(keywords) == expected


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (patchgate.merge, MergeKwargs.__annotations__),
        (patchgate.MergeStream, MergeKwargs.__annotations__),
        (patchgate.gated, GatedKwargs.__annotations__),
    ],
)
def test_settings_stand_in_the_signature(function: Callable[..., Any], names: Any) -> None:
    shown = inspect.signature(function).parameters
    assert set(names) <= set(shown)
    for name in names:
        assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert shown[name].default is not inspect.Parameter.empty
    assert not any(each.kind is each.VAR_KEYWORD for each in shown.values())


def test_defaults_in_the_signature_are_the_settings_own() -> None:
    shown = inspect.signature(patchgate.gated).parameters
    assert shown["threshold"].default == GateSettings().threshold
    assert shown["tolerance"].default == Fidelity().tolerance
    assert (
        inspect.signature(patchgate.merge).parameters["reach"].default
        == MergeSettings(budget=1).reach
    )


def test_what_comes_back_and_what_is_raised_has_a_public_name() -> None:
    for name in ("GatedTower", "FixedTower", "TowerStream", "GatedClips", "PixelSpec", "Scenes",
                 "DecodeError", "DecodeWarning", "NvdecUnavailable", "Kind"):  # fmt: skip
        assert name in patchgate.__all__
        assert getattr(patchgate, name).__name__ == name


def test_kinds_have_names() -> None:
    assert [kind.name for kind in Kind] == ["STATIC", "MOVED", "CHANGED", "MERGED"]
    assert [int(kind) for kind in Kind] == [0, 1, 2, 3]


def test_a_setting_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(TypeError, match=r"budget.*'budgt'"):
        patchgate.MergeStream(budgt=3, window=4)
