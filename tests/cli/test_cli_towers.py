"""tokenize --tower and embed: what they write is what the library returns, for many videos."""

import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import clips
import pytest
import saved_models
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from saved_models import gated, saved
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app, job
from patchgate.corpus.names import names, shown_name
from patchgate.tokens.parts import Parts

COMMANDS = ["tokenize", "embed"]


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def done(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stderr == ""
    return json.loads(result.stdout)


def refused(code: int, *words: object) -> str:
    """What is said, without the frame around it."""
    result = run(*words)
    assert result.exit_code == code, (result.output, result.exception)
    said = result.stderr.replace("\u2502", " ")
    return " ".join(said.split())


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


# --- what is written --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dinov2", "siglip", "clip"])
def test_tokens_are_those_of_the_library(tmp_path: Path, name: str) -> None:
    clip, path = clips.clip("h264.mp4"), tmp_path / "t.safetensors"
    facts = done("tokenize", clip, "--tower", saved(name), "-o", path, "--threshold", 6)
    tokens = patchgate.VideoTokens.load(path)
    want = patchgate.tokenize(clip, gated(name, threshold=6))
    for field, tensor in want.tensors().items():
        torch.testing.assert_close(tokens.tensors()[field], tensor)
    assert tokens.layout is None
    assert tokens.grid == want.grid == patchgate.TokenGrid(8)
    assert facts["features"] == [24, "float32"]
    assert facts["tokens"] == len(tokens)
    assert facts["output"] == str(path)


@pytest.mark.parametrize(
    ("name", "pool", "own"),
    [("dinov2", "auto", "pooled"), ("siglip", "auto", "pooled"), ("clip", "mean", "mean")],
)
def test_vectors_are_those_of_the_library(tmp_path: Path, name: str, pool: str, own: str) -> None:
    clip, path = clips.clip("h264.mp4"), tmp_path / "v.safetensors"
    facts = done("embed", clip, "--tower", saved(name), "-o", path, "--pool", pool,
                 "--tolerance", 0, "--chunk", 5)  # fmt: skip
    found = load_file(path)
    want = patchgate.embed(clip, gated(name, tolerance=0), pool=own)
    torch.testing.assert_close(found["features"], want.features, atol=1e-5, rtol=1e-4)
    assert torch.equal(found["pts_seconds"], want.pts_seconds)
    assert set(found) == {"features", "pts_seconds"}
    assert facts["pool"] == own
    assert metadata(path)["format"] == "patchgate.Embedding/1"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("words", "dtype"),
    [
        (["--dtype", "bfloat16"], torch.bfloat16),
        (["--dtype", "bfloat16", "--save-dtype", "float32"], torch.float32),
        (["--save-dtype", "float16"], torch.float16),
    ],
)
def test_numbers_of_other_dtypes(
    tmp_path: Path, command: str, words: list[str], dtype: torch.dtype
) -> None:
    clip, path = clips.clip("h264.mp4"), tmp_path / "t.safetensors"
    facts = done(command, clip, "--tower", saved("dinov2"), "-o", path, *words)
    found = load_file(path)["features"]
    tower = gated("dinov2", torch.bfloat16 if "--dtype" in words else torch.float32)
    want = patchgate.embed(clip, tower).features
    if command == "tokenize":
        want = patchgate.tokenize(clip, tower).features
    assert found.dtype == dtype
    torch.testing.assert_close(found, want.to(dtype), atol=2e-2, rtol=2e-2)
    assert facts["features"][1] == str(dtype).removeprefix("torch.")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_says_where_it_comes_from(tmp_path: Path, command: str) -> None:
    clip, path = clips.clip("h264.mp4"), tmp_path / "t.safetensors"
    done(command, clip, "--tower", saved("dinov2"), "-o", path, "--fps", 5, "--start", 0.2)
    told = metadata(path)
    assert told["video"] == "h264.mp4"
    assert told["video_sha256"] == hashlib.sha256(clip.read_bytes()).hexdigest()
    assert told["video_bytes"] == str(clip.stat().st_size)
    assert told["fps"] == "5"
    assert told["complete"] == "true"
    assert told["patchgate"] == patchgate.__version__
    settings = json.loads(told["settings"])
    assert settings["gate"]["threshold"] == 4
    assert settings["tower"] == str(saved("dinov2"))
    assert (settings["start"], settings["end"]) == (0.2, None)
    assert settings["fidelity"]["tolerance"] == (0.1 if command == "embed" else 0.15)


@pytest.mark.parametrize("tolerance", [0, 0.15])
def test_vectors_are_made_with_the_tolerance_that_is_given(
    tmp_path: Path, tolerance: float
) -> None:
    clip, path = clips.clip("h264.mp4"), tmp_path / "v.safetensors"
    done("embed", clip, "--tower", saved("dinov2"), "-o", path, "--tolerance", tolerance)
    assert json.loads(metadata(path)["settings"])["fidelity"]["tolerance"] == tolerance
    want = patchgate.embed(clip, gated("dinov2"), tolerance=tolerance).features
    torch.testing.assert_close(load_file(path)["features"], want, atol=1e-5, rtol=1e-4)


def test_without_a_tower_it_says_that_tokens_are_pixels(tmp_path: Path) -> None:
    clip = clips.clip("late.mkv")
    result = run("tokenize", clip, "-o", tmp_path / "t.safetensors", "--size", "42,56")
    assert "features  the cells' own pixels (--tower gives a model's features)" in result.stdout
    told = metadata(tmp_path / "t.safetensors")
    assert told["fps"] == "25"
    assert "tower" not in json.loads(told["settings"])


# --- several videos ---------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two videos of one name."""
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(clips.clip("h264.mp4"), tmp_path / name / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_video_gets_a_file_of_its_name_by_one_model(
    folders: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def once(*given: Any) -> Any:
        calls.append(given)
        return real(*given)

    real = job.loaded
    monkeypatch.setattr(job, "loaded", once)
    tower = saved("dinov2")
    facts = done(command, "a/clip.mp4", "b/clip.mp4", "--tower", tower, "-o", "out")
    assert len(calls) == 1
    written = ["out/clip.safetensors", "out/b_clip.safetensors"]
    assert [each["output"] for each in facts["videos"]] == written
    assert facts["failed"] == []
    one, two = (load_file(path) for path in written)
    assert torch.equal(one["features"], two["features"])
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(
        Path(path).name for path in written
    )


def test_names() -> None:
    given = ["a/x.mp4", "b/x.mp4", "b/x.mkv", "../b/x.mkv", "/a/X.mp4", "http://u:p@h/c/y.mp4?k=1"]
    assert names(given) == [
        f"{name}.safetensors" for name in ("x", "b_x", "b_x_mkv", "b_x_mkv_2", "a_X", "y")
    ]
    assert shown_name("http://user:secret@host/c/y.mp4?key=1") == "y.mp4"
    assert shown_name("http://user:secret@host/c/y.mp4?key=1", whole=True) == "host/c/y.mp4"


def test_a_video_that_cannot_be_read_does_not_keep_the_others(folders: Path) -> None:
    Path("bad.mp4").write_text("no video")
    result = run("embed", "a/clip.mp4", "bad.mp4", "gone.mp4", "b/clip.mp4", "-o", "out/",
                 "--tower", saved("dinov2"), "--json")  # fmt: skip
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert [each["video"] for each in facts["failed"]] == ["bad.mp4", "gone.mp4"]
    assert "not a video" in facts["failed"][0]["error"]
    assert len(facts["videos"]) == 2
    assert [line[:18] for line in result.stderr.splitlines()] == ["patchgate: error: "] * 2
    assert len(list(Path("out").iterdir())) == 2


def test_a_disk_that_is_full_ends_all(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Parts, "put", full)
    result = run("embed", "a/clip.mp4", "b/clip.mp4", "-o", "out", "--tower", saved("dinov2"))
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "the disk is full" in line
    assert not Path("out").exists(), "nothing is left, not even the folder"


def test_ctrl_c_ends_the_video_that_is_read_and_begins_no_other(tmp_path: Path) -> None:
    long = clips.write(tmp_path / "long.mp4", frames=1500)
    out = tmp_path / "out"
    words = [sys.executable, "-m", "patchgate.cli", "tokenize", clips.clip("h264.mp4"), long,
             clips.clip("late.mkv"), "-o", out, "--json", "--size", "980",
             "--chunk", "4"]  # fmt: skip
    process = subprocess.Popen(
        list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in out.glob(".long.*/features")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    facts = json.loads(stdout)
    assert [each["complete"] for each in facts["videos"]] == [True, False]
    assert "1 of 3 videos were left out" in stderr
    names = ["h264.safetensors", "long.safetensors.incomplete"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert metadata(out / names[1])["complete"] == "false"


# --- where it is written ----------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_replaced_without_force(folders: Path, command: str) -> None:
    tower = ["--tower", saved("dinov2")]
    Path("out").mkdir()
    older = Path("out/b_clip.safetensors")
    older.write_text("older")
    said = refused(1, command, "a/clip.mp4", "b/clip.mp4", "-o", "out", *tower)
    assert "out/b_clip.safetensors: there is such a file; give another name, or --force" in said
    assert older.read_text() == "older"
    assert list(Path("out").iterdir()) == [older]
    done(command, "a/clip.mp4", "b/clip.mp4", "-o", "out", "--force", *tower)
    assert "features" in load_file(older)


def test_a_file_that_appears_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.safetensors"

    def late(*given: Any, real: Any = job.about) -> Any:
        path.write_text("another's")
        return real(*given)

    monkeypatch.setattr(job, "about", late)
    said = refused(1, "tokenize", clips.clip("h264.mp4"), "-o", path, "--size", "42,56")
    assert "has appeared meanwhile" in said
    assert path.read_text() == "another's"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_place_for_it_is_refused(folders: Path, command: str) -> None:
    one, tower = [command, "a/clip.mp4"], ["--tower", saved("dinov2")]
    said = refused(2, *one, "-o", "t.pt", *tower)
    assert "--output: expected a name that ends in .safetensors, or a folder" in said
    said = refused(2, *one, "b/clip.mp4", "-o", "t.safetensors", *tower)
    assert "--output: 2 videos go into a folder, one file each" in said
    Path("taken").write_text("a file")
    assert "taken: it is not a folder" in refused(1, *one, "-o", "taken", *tower)
    assert "no such folder" in refused(1, *one, "-o", "no/where/", *tower)
    assert sorted(path.name for path in folders.iterdir()) == ["a", "b", "taken"]


def test_a_folder_that_would_stay_empty_is_not_made(folders: Path) -> None:
    assert "no such file" in refused(1, "tokenize", "gone.mp4", "-o", "out")
    assert not Path("out").exists()


# --- towers that are none ---------------------------------------------------------------------


def test_folders_that_hold_no_tower(tmp_path: Path) -> None:
    def said(folder: Path | str) -> str:
        return refused(1, "embed", clips.clip("h264.mp4"), "--tower", folder, "-o",
                       tmp_path / "v.safetensors")  # fmt: skip

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "this folder has no config.json; save the model there" in said(empty)
    assert "there is no such folder" in said(f"./{tmp_path.name}-gone")
    alone = tmp_path / "alone"
    saved_models.model("dinov2").save_pretrained(alone)
    assert "its image processor could not be loaded" in said(alone)
    (empty / "config.json").write_text("{")
    assert "config.json is no JSON" in said(empty)
    (empty / "config.json").write_text(json.dumps({"model_type": "dinov2"}))
    assert "this folder's model could not be loaded" in said(empty)
    text = tmp_path / "text"
    config = saved_models.transformers.BertConfig(hidden_size=24, num_hidden_layers=1,
                                                  num_attention_heads=3, vocab_size=50,
                                                  intermediate_size=20)  # fmt: skip
    saved_models.transformers.BertModel(config).save_pretrained(text)
    saved_models.processor("dinov2").save_pretrained(text)
    assert "BertModel is not supported; supported are" in said(text)
    assert not (tmp_path / "v.safetensors").exists()


def test_a_model_that_lacks_weights_is_refused(tmp_path: Path) -> None:
    """transformers would fill them with random numbers."""
    folder = tmp_path / "half"
    shutil.copytree(saved("dinov2"), folder)
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.norm1.weight"], weights["encoder.layer.1.norm1.bias"]
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    said = refused(1, "embed", clips.clip("h264.mp4"), "--tower", folder, "-o",
                   tmp_path / "v.safetensors")  # fmt: skip
    assert "it lacks weights of Dinov2Model: encoder.layer.1.norm1.bias" in said


def test_a_hub_that_is_not_reached_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect\nto the hub")

    monkeypatch.setattr(saved_models.transformers.AutoConfig, "from_pretrained", unreachable)
    said = refused(1, "tokenize", clips.clip("h264.mp4"), "--tower", "some/model", "-o",
                   tmp_path / "t.safetensors")  # fmt: skip
    assert "--tower some/model: there is no such folder" in said
    assert "hub gave none: We couldn't connect to the hub" in said


def test_a_model_of_timm_is_loaded_without_its_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in: the real one would be fetched."""
    timm, asked = ModuleType("timm"), []

    def create(name: str, **options: Any) -> Any:
        asked.append((name, options))
        return saved_models.model("dinov2")

    numbers = {"mean": (0.5, 0.4, 0.45), "std": (0.5, 0.3, 0.35)}
    data = SimpleNamespace(resolve_model_data_config=lambda model: numbers)
    vars(timm).update(is_model=lambda name: name == "vit_tiny", create_model=create, data=data)
    monkeypatch.setitem(sys.modules, "timm", timm)
    monkeypatch.setattr("patchgate.encoders.named.find_spec", lambda name: True)
    path = tmp_path / "v.safetensors"
    done("embed", clips.clip("h264.mp4"), "--tower", "vit_tiny", "-o", path)
    assert asked == [("vit_tiny", {"pretrained": True, "num_classes": 0})]
    tower = patchgate.gated(saved_models.model("dinov2"), **numbers)
    want = patchgate.embed(clips.clip("h264.mp4"), tower).features
    torch.testing.assert_close(load_file(path)["features"], want)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tokenize", "--dtype", "float16"], "they belong to --tower"),
        (["tokenize", "--tower", "x", "--size", "378"], "--size: --tower sets it; leave it out"),
        (["embed", "--tower", "x", "--patch", "14"], "--patch: --tower sets it; leave it out"),
        (["embed", "--tower", "x", "--dtype", "int8"], "--dtype: expected float32, float16, bf"),
        (["embed", "--tower", "x", "--save-dtype", "f"], "--save-dtype: expected float32, float"),
        (["embed", "--tower", "x", "--pool", "max"], "--pool: expected one of 'auto', 'cls'"),
        (["embed"], "Missing option '--tower'"),
    ],
)
def test_wrong_usage_is_named(tmp_path: Path, words: list[str], message: str) -> None:
    said = refused(2, *words, clips.clip("h264.mp4"), "-o", tmp_path / "t.safetensors")
    assert message in said
    assert not list(tmp_path.iterdir())


def test_a_pool_that_the_tower_does_not_have_is_named(tmp_path: Path) -> None:
    said = refused(1, "embed", clips.clip("h264.mp4"), "--tower", saved("siglip"), "--pool", "cls",
                   "-o", tmp_path / "v.safetensors")  # fmt: skip
    assert "has no CLS token" in said
