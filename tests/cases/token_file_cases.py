"""Tokens of many kinds, and files of them that contradict themselves."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from merge_cases import random_tokens
from safetensors.torch import save_file
from test_tokens import tokens_of

import patchgate
from patchgate import VideoTokens, token_file
from patchgate.tokens.check import contradiction

CASES: dict[str, Any] = {
    "pixels": lambda: tokens_of("camera"),
    "tubelets": lambda: tokens_of("tubelets"),
    "quarters": lambda: tokens_of("quarters"),
    "a slice": lambda: tokens_of("reuse").slice(0.2, 0.6),
    "a slice of a slice": lambda: tokens_of("camera").slice(0.1, 0.7).slice(0.3, 0.6),
    "a slice from a cut on": lambda: tokens_of("camera").slice(0.5, 0.8),
    "merged pixels": lambda: patchgate.merge(tokens_of("camera"), ratio=0.6),
    "a tower's": lambda: random_tokens(t=15),
    "merged": lambda: patchgate.merge(random_tokens(t=15), ratio=0.5, window=4),
    "a merged slice": lambda: patchgate.merge(random_tokens(t=15), ratio=0.5).slice(0.3, 0.9),
    "no frames": lambda: none_of(tokens_of("camera")),
}
every_case = pytest.mark.parametrize("name", CASES)


def none_of(tokens: VideoTokens) -> VideoTokens:
    empty = {name: value[:0] for name, value in tokens.tensors().items()}
    return replace(tokens, **{**empty, "cu_seqlens": tokens.cu_seqlens[:1]})


def told(tokens: VideoTokens) -> dict[str, Any] | None:
    return None if tokens.layout is None else asdict(tokens.layout)


def wrong(tokens: VideoTokens) -> str | None:
    return contradiction(tokens.tensors(), told(tokens))


def fields_of(tokens: VideoTokens) -> dict[str, Any]:
    return {name: value.clone() for name, value in tokens.tensors().items()}


def refused(fields: dict[str, Any], layout: Any, message: str, folder: Path) -> None:
    found = contradiction(fields, layout)
    assert found is not None
    assert message in found
    save_file(
        {name: value.contiguous() for name, value in fields.items()},
        folder / "damaged",
        token_file.metadata(layout),
    )
    with pytest.raises(ValueError, match="damaged: ") as error:
        VideoTokens.load(folder / "damaged")
    assert message in str(error.value)
