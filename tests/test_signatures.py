"""What ``help()`` and an editor show: settings by name, and a public name for what comes back."""

import inspect
import pydoc
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, get_type_hints

import pytest

import patchgate
from patchgate import policies
from patchgate._signature import AS_IT_IS
from patchgate.decode.opening import OpenKwargs, ReadKwargs
from patchgate.decode.source.access import Access, AccessKwargs
from patchgate.encoders.gated import GatedKwargs
from patchgate.encoders.run.fidelity import Fidelity, FidelityKwargs
from patchgate.gate import GateSettings
from patchgate.gate.settings import GEOMETRY, GateKwargs, GateRules, Kind
from patchgate.merging.settings import MergeKwargs, MergeSettings, RelaxKwargs
from patchgate.pipeline.options import TokenizeKwargs
from patchgate.policies.video.looker import LookKwargs

PAIRS = [(MergeKwargs, MergeSettings, ()), (FidelityKwargs, Fidelity, ()),
         (GateRules, GateSettings, GEOMETRY), (GateKwargs, GateSettings, ()),
         (AccessKwargs, Access, ("options",))]  # fmt: skip
# What else may be left unnamed: what is a tower's or a tokenizer's, and calls that are refused.
UNNAMED = {
    "GatedTower.forward", "GatedTower.tokens", "FixedTower.forward", "FixedTower.encode",
    "FixedTower.tokens", "TowerStream.forward", "TowerStream.tokens", "TowerStreams.push",
    "GatedClips.forward", "DualEncoder", "DualEncoder.__init__",
}  # fmt: skip


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
        (patchgate.tokenize, TokenizeKwargs.__annotations__),
        (patchgate.advise, TokenizeKwargs.__annotations__),
        (patchgate.Tokenizer, GateRules.__annotations__),
        (patchgate.embed, TokenizeKwargs.__annotations__),
        (patchgate.Gate.fresh, GateKwargs.__annotations__),
        (patchgate.MergeStream.relax, RelaxKwargs.__annotations__),
        (policies.tokenize_with_statistics, TokenizeKwargs.__annotations__),
        (policies.frame_statistics, TokenizeKwargs.__annotations__),
        (policies.Looker, LookKwargs.__annotations__),
        (policies.DualEncoder.with_features, ReadKwargs.__annotations__),
        (policies.container_frames, AccessKwargs.__annotations__),
        (policies.CappedGate, GateKwargs.__annotations__),
        (policies.CappedGate.fresh, GateKwargs.__annotations__),
    ],
)
def test_settings_stand_in_the_signature(function: Callable[..., Any], names: Any) -> None:
    shown = inspect.signature(function).parameters
    assert set(names) <= set(shown)
    for name in names:
        assert shown[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert shown[name].default is not inspect.Parameter.empty
    assert not any(each.kind is each.VAR_KEYWORD for each in shown.values())


def test_keywords_of_open_video_are_its_own() -> None:
    own = inspect.signature(patchgate.open_video, eval_str=True).parameters
    kinds = get_type_hints(OpenKwargs)
    left = {"source", "device", "start", "end", "fps"}
    assert kinds == {name: each.annotation for name, each in own.items() if name not in left}


def _public() -> Iterator[tuple[str, Any]]:
    """Functions, classes and methods."""
    for module in (patchgate, policies, patchgate.language, patchgate.reference):
        for name in module.__all__:
            each = getattr(module, name)
            if inspect.isclass(each):
                for own in dir(each):
                    method = inspect.getattr_static(each, own)
                    method = getattr(method, "__func__", method)  # of a class method
                    ours = str(getattr(method, "__module__", "")).startswith("patchgate")
                    if ours and callable(method) and (own[0] != "_" or own == "__init__"):
                        yield f"{name}.{own}", method
            elif inspect.isfunction(each):
                yield name, each


def test_no_public_function_takes_keywords_that_it_does_not_name() -> None:
    unnamed = {
        name
        for name, function in _public()
        for each in inspect.signature(function).parameters.values()
        if each.kind is each.VAR_KEYWORD and each.annotation in (Any, "Any")
    }
    assert unnamed <= UNNAMED


def test_what_a_call_leaves_as_it_is_has_no_default() -> None:
    shown = inspect.signature(patchgate.Gate.fresh).parameters
    assert shown["threshold"].default is AS_IT_IS
    assert "threshold: float = ..., " in str(inspect.signature(patchgate.Gate.fresh))


def test_help_tells_the_rules_and_the_options() -> None:
    told = pydoc.plain(pydoc.render_doc(patchgate.tokenize))
    for line in ("threshold: float = 4", "max_age: int | None = None", "chunk: int = 16",
                 "allow_playlists: bool = False"):  # fmt: skip
        assert line in told


def test_defaults_in_the_signature_are_the_settings_own() -> None:
    shown = inspect.signature(patchgate.tokenize).parameters
    assert shown["threshold"].default == GateSettings().threshold
    assert shown["chunk"].default == 16
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
    assert [kind.name for kind in Kind] == ["STATIC", "MOVED", "CHANGED", "MERGED", "RETURNED"]
    assert [int(kind) for kind in Kind] == [0, 1, 2, 3, 4]


def test_a_setting_that_does_not_exist_is_named_with_those_that_do() -> None:
    with pytest.raises(TypeError, match=r"budget.*'budgt'"):
        patchgate.MergeStream(budgt=3, window=4)
