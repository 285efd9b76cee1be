"""Streams of towers under every rule, for the tests of calls that fail and of files."""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from gated_cases import FAMILIES, MEAN, STD, tower
from torch import Tensor

import patchgate

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-10}
MODELS = {family: tower(family) for family in FAMILIES}

RULES: dict[str, dict[str, Any]] = {
    "kept": {"context": "kept"},
    "residual": {"context": "full", "tolerance": float("inf"), "moved": "lend"},
    "watched": {"context": "full", "tolerance": 0.05},
    "passing": {"context": "full", "tolerance": 0.05, "pass_over": (0.4, 2)},
    "sources": {"context": "full", "tolerance": 0.05, "moved": "source"},
    "refreshed": {"context": "full", "tolerance": 0.05, "refresh": 3, "tolerance_layers": 1},
}
every_rule = pytest.mark.parametrize("rule", RULES)


def gated(family: str, **settings: Any) -> Any:
    """A small tower, gated."""
    return patchgate.gated(MODELS[family], mean=MEAN, std=STD, **{"context": "kept", **settings})


def stream_of(rule: str, family: str = "siglip") -> Any:
    return gated(family, **RULES[rule]).stream()


def assert_goes_on(stream: Any, other: Any, x: Tensor) -> None:
    a, b = stream(x), other(x)
    assert torch.equal(a.last_hidden_state, b.last_hidden_state)
    assert torch.equal(a.pooler_output, b.pooler_output)
    assert vars(stream.last_work) == vars(other.last_work)


def assert_pushes_equal_the_whole_clip(whole: Any, x: Tensor, cuts: Iterable[int]) -> None:
    """A stream that gets the frames ``x`` in parts returns, and keeps, what one call does.

    Args:
        whole: a gated tower.
        cuts: the frames before which a push ends; those beyond the clip are passed over.
    """
    expected = whole(x, output_hidden_states=[1])
    stream, kept, out = whole.stream(), 0, []
    for push in x.tensor_split(sorted(cut for cut in cuts if cut < len(x))):
        out.append(stream(push, output_hidden_states=[1]))
        kept += stream.last_work.kept
    assert kept == whole.last_work.kept
    for name in ("last_hidden_state", "pooler_output"):
        torch.testing.assert_close(torch.cat([o[name] for o in out]), expected[name], **EXACT)
    states = torch.cat([o.hidden_states[1] for o in out])
    torch.testing.assert_close(states, expected.hidden_states[1], **EXACT)
