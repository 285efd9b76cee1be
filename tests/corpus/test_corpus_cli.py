"""``patchgate corpus``: what it says, and its exit codes."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import clips
import pytest
from typer.testing import CliRunner

from patchgate import corpus
from patchgate.cli import app
from patchgate.cli.commands import corpus_options as typed
from patchgate.corpus.inputs import MANIFESTS
from patchgate.corpus.journal import Journal
from patchgate.corpus.running import EngineName
from patchgate.corpus.settings import TokenFormat
from patchgate.decode.source.formats import EXTENSIONS

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(2):
        clips.write(folder / f"c{n}.mp4", frames=4 + n)
    monkeypatch.chdir(tmp_path)
    return folder


def run(*words: object) -> Any:
    given = ["corpus", *(str(word) for word in words)]
    if not {"--help", "--tower"}.intersection(given):
        given += ["--workers", "0", "--size", "28,42"]
    return CliRunner().invoke(app, given)


def said(result: Any) -> str:
    return " ".join(result.stderr.replace("\u2502", " ").split())


def test_exit_codes_and_what_is_told(own: Path) -> None:
    first = run("in", "-o", "out")
    assert first.exit_code == 0, (first.output, first.exception)
    assert "2 new" in first.stdout
    assert re.search(r"^  index +out/index.parquet$", first.stdout, re.MULTILINE)
    (own / "bad.mp4").write_text("no video")
    second = run("in", "-o", "out", "--json")
    assert second.exit_code == 1
    facts = json.loads(second.stdout)
    assert (facts["videos"], facts["done"], facts["done_before"]) == (3, 0, 2)
    assert (facts["failed"], facts["failed_in_all"], facts["left"]) == (1, 1, 0)
    assert said(second) == f"patchgate: failed: {own / 'bad.mp4'} is a text file, not a video"
    third = run("in", "-o", "out")
    assert third.exit_code == 1, "it failed before"
    assert "1 before (--retry-failed does them again)" in third.stdout
    assert third.stderr == ""


def test_what_is_left_out_is_named_once(own: Path) -> None:
    (own / "notes.txt").write_text("")
    result = run("in", "-o", "out")
    assert result.exit_code == 0
    assert re.fullmatch(r"patchgate: warning: 1 files? .*: 1 \.txt; .*", said(result))


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(own: Path) -> None:
    facts = json.loads(run("in", "-o", "out", "--dry-run", "--json").stdout)
    assert not Path("out").exists()
    assert (facts["videos"], facts["chosen"], facts["looked_at"]) == (2, 2, 2)
    assert facts["seconds"] == pytest.approx(9 / 25)
    done = json.loads(run("in", "-o", "out", "--json").stdout)
    assert facts["tokens"] == pytest.approx(done["tokens"], rel=0.3)
    assert facts["bytes"] == pytest.approx(done["output_bytes"], rel=0.5)
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    again = run("in", "-o", "out", "--dry-run")
    assert "2: 2 done before" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in Path("out").iterdir()} == before
    other = run("in", "-o", "out", "--dry-run", "--threshold", 8)
    assert "2 done with other settings" in other.stdout


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["nowhere", "-o", "out"], "nowhere: there is no such file or folder"),
        (["in", "-o", "in"], "has other contents"),
        (["in", "-o", "no/where"], "no/where: there is no such folder; make it first"),
        (["in", "-o", "out", "--fps", "-1"], "fps: expected"),
        (["in", "-o", "out", "--dtype", "float16"], "they belong to --tower"),
        (["in", "-o", "out", "--threshold", "999"], "threshold: expected"),
        (["in"], "Missing option '-o'"),
        (["in", "-o", "out", "--tower", "./gone", "--workers", "0"], "./gone: there is no such"),
    ],
)
def test_a_wrong_call_is_told_with_code_2(own: Path, words: list[str], why: str) -> None:
    result = run(*words)
    assert result.exit_code == 2, (result.output, result.exception)
    assert why in said(result)
    assert not Path("out").exists() or not list(Path("out").rglob("*.safetensors"))


def test_a_second_job_and_other_settings_are_told_with_code_2(own: Path) -> None:
    assert run("in", "-o", "out").exit_code == 0
    with Journal("out"):
        result = run("in", "-o", "out")
    assert result.exit_code == 2
    assert "another job writes there (process" in said(result)
    result = run("in", "-o", "out", "--threshold", 9)
    assert result.exit_code == 2
    assert "gate.threshold 4.0 -> 9.0. Nothing was done. --redo does them again" in said(result)
    assert run("in", "-o", "out", "--threshold", 9, "--redo").exit_code == 0


def test_help_names_the_extensions() -> None:
    shown = re.sub(r"[^\w,.]", "", run("--help").stdout.replace("\u2502", ""))
    assert ",".join(EXTENSIONS) in shown


def test_what_is_typed_is_what_the_library_knows() -> None:
    """The command writes these down, because asking the library would import torch."""
    assert get_args(EngineName) == typed.ENGINES
    assert get_args(TokenFormat) == typed.FORMS
    assert MANIFESTS == typed.MANIFESTS
    assert EXTENSIONS == typed.EXTENSIONS


def test_a_grid_of_one_size_is_taken_and_one_of_the_videos_refused(own: Path) -> None:
    words = ["corpus", "in", "-o", "out", "--workers", "0", "--json"]
    refused = CliRunner().invoke(app, [*words, "--grid", "qwen3-vl"])
    assert refused.exit_code == 2
    assert "depends on each video" in said(refused)
    assert not Path("out").exists()
    assert CliRunner().invoke(app, [*words, "--grid", "siglip-base"]).exit_code == 0
    (row, *_) = corpus.open("out").rows()
    assert (row["cells_high"], row["cells_wide"]) == (14, 14)
    both = CliRunner().invoke(app, [*words, "--grid", "siglip-base", "--size", "28"])
    assert both.exit_code == 2
    assert "--size: --grid siglip-base sets it" in said(both)
