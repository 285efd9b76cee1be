"""What other people's packages must be: those that are too old are refused in words."""

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import clips
import pytest
import torch
from typer.testing import CliRunner

import patchgate
from patchgate import _check
from patchgate.cli import app
from patchgate.cli.commands.models import TOWERS
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
def version(monkeypatch):
    """Makes it seem that transformers is of another version."""

    def set_to(text):
        modules = {"transformers": SimpleNamespace(__version__=text)}
        monkeypatch.setattr(_check, "sys", SimpleNamespace(modules=modules))

    return set_to


def refusal(oldest, found):
    words = f"transformers {oldest} or later, got one of {found}; pip install --upgrade 'trans"
    return pytest.raises(ImportError, match=re.escape(f"{words}formers>={oldest}'"))


@pytest.mark.parametrize("make", [siglip, videomae])
@pytest.mark.parametrize("found", ["5.16.1", "5.9.1.dev0", "4.57.6"])
def test_a_tower_of_a_transformers_that_is_too_old_is_refused(version, make, found):
    model = make()
    version(found)
    with refusal("5.17", found) as told:
        patchgate.gated(model, mean=0.5, std=0.5, context="kept")
    assert str(told.value).startswith(f"tower: expected a {type(model).__name__} of")


@pytest.mark.parametrize("inputs", [llava_onevision_inputs, qwen3_vl_inputs, qwen25_vl_inputs])
def test_so_is_a_language_model(version, inputs):
    """Whose towers may be new enough: it would pass over the tokens."""
    letters = [None] if inputs is qwen3_vl_inputs else []
    version("5.17.0")
    with refusal("5.18", "5.17.0"):
        inputs(siglip(), torch.zeros(1, dtype=torch.int64), [], *letters)


def test_so_is_the_tower_of_bench(version, monkeypatch):
    monkeypatch.setitem(TOWERS, "siglip-base", SIZES)
    version("4.57.6")
    words = ["bench", str(clips.clip("h264.mp4")), "--tower", "siglip-base", "--frames", "2"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    said = " ".join(done.output.replace("│", " ").split())
    assert "--tower: expected a SiglipVisionModel of transformers 5.17 or later" in said


@pytest.mark.parametrize("found", ["5.17.0", "5.17.0.dev0", "5.30", "6.0.0rc1", "10.1"])
def test_those_that_are_new_enough_are_taken(version, found):
    version(found)
    patchgate.gated(siglip(), mean=0.5, std=0.5)


def test_a_tower_of_another_library_needs_no_transformers(version):
    version("4.0")
    with pytest.raises(TypeError, match="Linear is not supported"):
        patchgate.gated(torch.nn.Linear(1, 1), mean=0.5, std=0.5)


def test_the_package_asks_for_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert f"transformers>={_check.TRANSFORMERS}" in extras["tower"]
    assert f"transformers>={_check.TRANSFORMERS}" in extras["test"]
