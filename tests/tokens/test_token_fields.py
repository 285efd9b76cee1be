"""Fields of video tokens whose dtype, shape or layout cannot be."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from merge_cases import random_tokens
from safetensors.torch import save_file
from test_token_check import CASES, fields_of, refused, told
from token_cases import assert_same, tokens_of

from patchgate import VideoTokens
from patchgate.tokens import check as token_check
from patchgate.tokens import file as token_file
from patchgate.tokens.check import contradiction


def test_a_slice_of_pixels_needs_the_picture_before_it(tmp_path: Path) -> None:
    tokens = CASES["a slice"]()
    fields = fields_of(tokens)
    del fields["start_picture"]
    refused(fields, told(tokens), "or a start_picture", tmp_path)
    fields = fields_of(random_tokens(t=5))
    fields["start_picture"] = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    refused(fields, None, "start_picture has no meaning without a layout", tmp_path)


@pytest.mark.parametrize("name", [name for name in token_check.FIELDS if name != "features"])
@pytest.mark.parametrize(
    "dtype",
    [torch.bool, torch.uint8, torch.int8, torch.int32, torch.int64, torch.uint16, torch.uint64,
     torch.float32, torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.complex64],
)  # fmt: skip
def test_a_field_of_another_dtype_is_refused(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    fields = fields_of(tokens)
    if fields[name].dtype == dtype:
        return
    fields[name] = fields[name].to(dtype)
    refused(fields, told(tokens), f"expected {name} of", tmp_path)


@pytest.mark.parametrize("name", token_check.FIELDS)
def test_a_field_of_another_shape_is_refused(name: str, tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    for make in (lambda x: x[:3], lambda x: x[None], lambda x: x[..., :0], lambda x: x.sum()):
        fields = fields_of(tokens)
        fields[name] = make(fields[name]).to(fields[name].dtype)
        assert contradiction(fields, told(tokens)) is not None


def test_features_that_are_no_numbers_are_refused() -> None:
    tokens = random_tokens(t=5)
    for dtype in (torch.bool, torch.complex64):
        fields = {**fields_of(tokens), "features": tokens.features.to(dtype)}
        assert "features that are numbers" in str(contradiction(fields, None))
    for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.float8_e5m2):
        assert (
            contradiction({**fields_of(tokens), "features": tokens.features.to(dtype)}, None)
            is None
        )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("cell", [0, -14, 257, 10**7, 2**63, 14.0, True, "14", None, [14], 4, 16]),
        ("planes", [0, -3, 2, 10**9, 3.0, None, 1]),
        ("temporal_patch", [0, 3, 10**8, 2, True, 1.0]),
        ("motion_precision", [0, 3, 8, True, 4.0, None]),
        ("matrix", ["<script>", "", None, ["bt601"], 601]),
    ],
)
def test_a_layout_that_cannot_be_is_refused(name: str, values: list[Any], tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    assert tokens.layout is not None
    for value in values:
        layout = asdict(tokens.layout) | {name: value}
        refused(fields_of(tokens), layout, "expected", tmp_path)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("[" * 100_000, "its layout is no JSON"),
        ('{"cell": ' + "9" * 5000 + "}", "its layout is no JSON"),
        ("{", "its layout is no JSON"),
        ("", "its layout is no JSON"),
        ("[]", "expected fields or null as its layout"),
        ("false", "expected fields or null as its layout"),
        ("0", "expected fields or null as its layout"),
        ('"x"', "expected fields or null as its layout"),
        ("{}", "without cell, planes"),
        ('{"cell": NaN}', "without planes"),
        ('{"cell": 8, "planes": 3, "evil": 1}', "layout with evil"),
    ],
)
def test_a_layout_that_cannot_be_read_is_refused(layout: str, message: str, tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    said = {**token_file.metadata(None), "layout": layout}
    save_file(tokens.tensors(), tmp_path / "t", said)
    with pytest.raises(ValueError, match=message):
        VideoTokens.load(tmp_path / "t")


def test_fields_too_few_or_too_many_are_of_another_version(tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    said = token_file.metadata(told(tokens))
    save_file({**tokens.tensors(), "evil": torch.zeros(1)}, tmp_path / "more", said)
    with pytest.raises(ValueError, match=r"of another version \(tensors with evil\)"):
        VideoTokens.load(tmp_path / "more")
    fewer = tokens.tensors()
    del fewer["kind"]
    save_file(fewer, tmp_path / "fewer", said)
    with pytest.raises(ValueError, match=r"incomplete .*\(tensors without kind\)"):
        VideoTokens.load(tmp_path / "fewer")


def test_a_grid_without_bounds_asks_for_no_memory(tmp_path: Path) -> None:
    """No frames: no byte of the file bounds it."""
    fields = fields_of(CASES["no frames"]())
    for name in ("source", "kind", "motion"):
        tail = fields[name].shape[3:]
        fields[name] = torch.empty((0, 2**20, 2**20, *tail), dtype=fields[name].dtype)
    refused(fields, told(tokens_of("camera")), "expected 1 to 2^31 cells", tmp_path)
    assert CASES["no frames"]().reconstruct().shape == (0, 3, 24, 32)


def test_what_would_not_load_is_not_saved(tmp_path: Path) -> None:
    tokens = tokens_of("camera")
    tokens.save(tmp_path / "t")
    cell = tokens.cell.clone()
    cell[5] = 99
    with pytest.raises(ValueError, match="could not be read again: cell"):
        replace(tokens, cell=cell).save(tmp_path / "t")
    assert_same(VideoTokens.load(tmp_path / "t"), tokens)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
