"""What other people's packages must be: those that are too old are refused in words."""

import re
import tomllib
from pathlib import Path

import clips
import pytest
import torch
from typer.testing import CliRunner

import patchgate
from patchgate import _check
from patchgate.cli import app, bench
from patchgate.language import llava_onevision_inputs, qwen3_vl_inputs, qwen25_vl_inputs

transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "image_size": 32,
         "patch_size": 8, "intermediate_size": 40}  # fmt: skip


def siglip() -> torch.nn.Module:
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SIZES)).eval()


def videomae() -> torch.nn.Module:
    sizes = {**SIZES, "num_frames": 4}
    return transformers.VideoMAEModel(transformers.VideoMAEConfig(**sizes)).eval()


@pytest.fixture
def too_old(monkeypatch):
    """As if versions of the far future were needed."""
    monkeypatch.setattr(_check, "TRANSFORMERS", "99.5")
    here = re.escape(transformers.__version__)
    return pytest.raises(ImportError, match=rf"transformers 99\.5 or later, got one of {here}; pip "
                         r"install --upgrade 'transformers>=99\.5'")  # fmt: skip


@pytest.mark.parametrize("make", [siglip, videomae])
def test_a_tower_of_a_transformers_that_is_too_old_is_refused(too_old, make):
    model = make()
    with too_old as refusal:
        patchgate.gated(model, mean=0.5, std=0.5, context="kept")
    assert str(refusal.value).startswith(f"tower: expected a {type(model).__name__} of")


@pytest.mark.parametrize("inputs", [llava_onevision_inputs, qwen3_vl_inputs, qwen25_vl_inputs])
def test_so_is_a_language_model(too_old, inputs):
    letters = [None] if inputs is qwen3_vl_inputs else []
    with too_old:
        inputs(siglip(), torch.zeros(1, dtype=torch.int64), [], *letters)


def test_so_is_the_tower_of_bench(too_old, monkeypatch):
    monkeypatch.setitem(bench._TOWERS, "siglip-base", SIZES)
    words = ["bench", str(clips.clip("h264.mp4")), "--tower", "siglip-base", "--frames", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert "--tower: expected a SiglipVisionModel of transformers 99.5 or later" in said


@pytest.mark.parametrize("needed", ["5.9", "5.17", "4.99", transformers.__version__])
def test_those_that_are_new_enough_are_taken(monkeypatch, needed):
    monkeypatch.setattr(_check, "TRANSFORMERS", needed)
    patchgate.gated(siglip(), mean=0.5, std=0.5)


def test_a_tower_of_another_library_needs_no_transformers(monkeypatch):
    monkeypatch.setattr(_check, "TRANSFORMERS", "99.5")
    with pytest.raises(TypeError, match="Linear is not supported"):
        patchgate.gated(torch.nn.Linear(1, 1), mean=0.5, std=0.5)


def test_the_package_asks_for_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert f"transformers>={_check.TRANSFORMERS}" in extras["tower"]
    assert f"transformers>={_check.TRANSFORMERS}" in extras["test"]
