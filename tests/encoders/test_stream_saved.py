"""Streams of every family that are saved and go on elsewhere."""

from pathlib import Path

import pytest
import qwen_cases
import torch
from gated_cases import N, camera, noise, normalised, rows_of
from gated_families import CASES
from gated_families import gated as gated_family
from stream_cases import RULES, every_rule, stream_of
from torch import Tensor

import patchgate


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


FAMILIES = [
    "dinov2, same cells, not square", "dinov2, larger", "registers", "dinov3", "vit",
    "internvl, everything, wider", "smolvlm, larger", "eva, 02", "eva, dinov3", "siglip2",
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
