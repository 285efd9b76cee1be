"""``--grid``: shares and costs are those of the model."""

import json
import re

import clips
import pytest
import torch
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.cli.commands.models import MODELS, model_of
from patchgate.cli.commands.options import GateOptions
from patchgate.cli.grids import grid_of, sized
from patchgate.policies import Plan, frame_statistics

CLIP = "h264.mp4"  # 64 x 48 pixels, 40 frames of 1.6 s
READING = {"start": None, "end": None, "fps": None}


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def facts_of(*words):
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def said(done):
    return " ".join(re.sub(r"[│╭╰─╮╯]", " ", done.output).split())


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """Five seconds of 320 x 180 pixels, at 25 frames a second."""
    path = tmp_path_factory.mktemp("grids") / "wide.mp4"
    return clips.write(path, frames=125, size=(320, 180))


def gate_for(name, path, **options):
    gate = GateOptions(grid=name).gate()
    with patchgate.open_video(path) as video:
        return sized(gate, name, video, {**READING, **options})


@pytest.mark.parametrize("options", [{}, {"fps": 4.0}, {"start": 1.0, "end": 4.0}])
def test_qwen3s_frames_have_the_size_that_its_processor_gives_them(wide, options):
    module = pytest.importorskip("transformers.models.qwen3_vl.video_processing_qwen3_vl")
    seconds = min(options.get("end", 5.0), 5.0) - options.get("start", 0.0)
    frames = max(4, int(seconds * options.get("fps", 2)))
    size = module.smart_resize(frames, 180, 320, 2, 32, 128 * 32 * 32, 24_576 * 32 * 32)
    gate = gate_for("qwen3-vl", wide, **options)
    assert gate.size == tuple(size)
    assert (gate.settings.patch, gate.settings.merge, gate.settings.temporal_patch) == (16, 2, 2)


def test_qwen25s_frames_have_the_size_that_its_processor_gives_them(wide):
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    size = module.smart_resize(180, 320, 28, 128 * 28 * 28, 768 * 28 * 28)
    gate = gate_for("qwen2.5-vl", wide)
    assert gate.size == tuple(size)
    assert (gate.settings.patch, gate.settings.merge, gate.settings.temporal_patch) == (14, 2, 2)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.size])
def test_the_other_models_have_one_size(name):
    gate, model = GateOptions(grid=name).gate(), MODELS[name]
    assert gate.size == (model.size, model.size)
    assert (gate.settings.patch, gate.settings.merge, gate.settings.fit) == (
        model.patch, 1, model.fit,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "patch", "cells"),
    [("siglip", 14, 27), ("siglip-base", 16, 14), ("clip", 14, 16), ("clip-336", 14, 24),
     ("dinov3", 16, 14), ("llava-onevision", 14, 27)],
)  # fmt: skip
def test_known_grids(name, patch, cells):
    gate = GateOptions(grid=name).gate()
    assert gate.size[0] // patch == cells


@pytest.mark.parametrize("command", ["tokenize", "inspect", "plan", "bench", "advise"])
def test_every_command_has_the_models_grid(tmp_path, wide, command):
    words = {
        "tokenize": ["-o", tmp_path / "t.safetensors"],
        "inspect": ["-o", tmp_path / "p.png"],
        "plan": ["--frames", 4],
        "bench": ["--rounds", 1, "--frames", 8],
        "advise": ["--seconds", 3],
    }[command]
    facts = facts_of(command, wide, *words, "--grid", "qwen3-vl", "--threads", 1)
    h, w = (side // 32 for side in gate_for("qwen3-vl", wide).size)
    found = {
        "tokenize": lambda: facts["cells"],
        "inspect": lambda: [side // 32 for side in facts["gate"]["size"]],
        "plan": lambda: facts["full_frame"],
        "bench": lambda: [side // 32 for side in facts["grid"]],
        "advise": lambda: facts["cells"],
    }[command]()
    assert found == [h, w]


def test_tokens_are_those_of_the_gate_on_that_grid(tmp_path, wide):
    facts = facts_of("tokenize", wide, "-o", tmp_path / "t.safetensors", "--grid", "qwen3-vl",
                     "--threshold", 6)  # fmt: skip
    gate = patchgate.Gate(
        size=gate_for("qwen3-vl", wide).size, patch=16, merge=2, temporal_patch=2, threshold=6
    )
    tokens = patchgate.tokenize(wide, gate=gate)
    assert facts["tokens"] == len(tokens)
    rows = {(row["fps"], row["way"]): row for row in facts["costs"]["rows"]}
    assert rows[None, "gate"]["tokens"] == len(tokens)
    assert rows[None, "dense"]["tokens"] == facts["dense_tokens"]
    assert facts["costs"]["context_tokens"] == 262_144
    assert rows[2.0, "gate"]["context_share"] == rows[2.0, "gate"]["tokens"] / 262_144
    two = patchgate.tokenize(wide, gate=gate, fps=2)
    assert rows[2.0, "gate"]["tokens"] == len(two)


def test_plan_says_what_its_frames_cost_after_the_gate(wide):
    """The gate sees the plan's frames only, at the size that so many frames have."""
    facts = facts_of("plan", wide, "--frames", 6, "--grid", "qwen2.5-vl")
    with patchgate.open_video(wide) as video:
        gate = sized(GateOptions(grid="qwen2.5-vl").gate(), "qwen2.5-vl", video, READING)
        grid = grid_of("qwen2.5-vl", model_of("qwen2.5-vl"), gate, video, "transformers")
    chosen = [one["frame"] for one in facts["chosen"]]
    frames = patchgate.policies.container_frames(wide)
    at = torch.isin(frames.number, torch.tensor(chosen)).nonzero().flatten()
    plan = Plan.of(frames, at)
    looked = patchgate.policies.Looker(wide, gate=gate).look(plan)
    assert facts["tokens"] == plan.tokens(grid)
    assert facts["costs"]["plan"]["tokens"] == len(looked) <= facts["tokens"]
    assert facts["costs"]["plan"]["context_share"] == len(looked) / 128_000


def test_a_policy_of_the_gates_statistics_sees_the_models_grid(wide):
    facts = facts_of("plan", wide, "--frames", 5, "--policy", "mgsampler", "--grid", "siglip-base")
    stats = frame_statistics(wide, gate=GateOptions(grid="siglip-base").gate())
    want = patchgate.policies.mgsampler(stats, patchgate.policies.Budget(frames=5))
    assert [one["frame"] for one in facts["chosen"]] == want.index.tolist()


def test_a_plans_page_and_the_plan_alone_cost_the_same(tmp_path, wide):
    words = ("plan", wide, "--frames", 4, "--grid", "siglip-base")
    alone, drawn = facts_of(*words), facts_of(*words, "-o", tmp_path / "p.html")
    assert alone["costs"] == drawn["costs"]


def test_plans_without_costs_and_of_a_pipe_say_so(wide):
    done = run("plan", wide, "--frames", 2, "--no-costs")
    assert "not counted: --no-costs was given" in said(done)
    assert facts_of("plan", wide, "--frames", 2, "--no-costs")["costs"] is None


def test_an_unknown_name_lists_all_the_nearest_first(tmp_path):
    done = run("inspect", clips.clip(CLIP), "-o", tmp_path / "p.png", "--grid", "qwen3vl")
    assert done.exit_code == 2
    listed = re.search(r"expected one of (.*); got 'qwen3vl'", said(done))[1].split(", ")
    assert listed[0] == "qwen3-vl"
    assert set(listed) == {*MODELS, "own"}


@pytest.mark.parametrize("option", [["--size", "378"], ["--patch", "14"], ["--fit", "stretch"]])
def test_what_the_grid_sets_is_refused_even_with_its_own_value(tmp_path, option):
    done = run("tokenize", clips.clip(CLIP), "-o", tmp_path / "t.safetensors", "--grid", "siglip",
               *option)  # fmt: skip
    assert done.exit_code == 2
    assert f"{option[0]}: --grid siglip sets it; leave it out" in said(done)


def test_a_tower_sets_the_grid(tmp_path):
    for words in (["tokenize", "-o", tmp_path / "t.safetensors", "--tower", "none"],
                  ["embed", "-o", tmp_path / "t.safetensors", "--tower", "none"],
                  ["bench", "--tower", "siglip-base"]):  # fmt: skip
        done = run(words[0], clips.clip(CLIP), *words[1:], "--grid", "siglip")
        assert done.exit_code == 2
        assert "--grid: --tower sets it; leave it out" in said(done)


def test_a_rounding_is_for_qwen():
    done = run("plan", clips.clip(CLIP), "--frames", 2, "--grid", "siglip", "--rounding",
               "qwen_vl_utils")  # fmt: skip
    assert done.exit_code == 2
    assert "--rounding: it is for qwen3-vl and qwen2.5-vl, got --grid siglip" in said(done)


def test_a_size_that_depends_on_an_unknown_length_is_refused(wide):
    with patchgate.open_video(wide) as video:
        video.duration_seconds = None
        gate = GateOptions(grid="qwen3-vl").gate()
        with pytest.raises(ValueError, match="this container does not tell"):
            sized(gate, "qwen3-vl", video, READING)
        assert sized(gate, "qwen3-vl", video, {**READING, "end": 5.0}).size
        other = GateOptions(grid="qwen2.5-vl").gate()
        assert sized(other, "qwen2.5-vl", video, READING).size


@pytest.mark.parametrize(
    ("words", "counted"),
    [
        ([], False),
        (["--costs"], True),
        (["--grid", "siglip"], True),
        (["--grid", "siglip", "--no-costs"], False),
    ],
)
def test_tokenize_counts_costs_for_a_model_or_when_it_is_asked(tmp_path, words, counted):
    facts = facts_of("tokenize", clips.clip(CLIP), "-o", tmp_path / "t.safetensors", *words)
    assert (facts["costs"] is not None) == counted
