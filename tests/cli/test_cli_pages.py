"""Each command that README.md or a page of docs/ prints runs on a clip, as it is printed."""

import re
import shlex
import shutil
from pathlib import Path

import clips
import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from patchgate.cli import app
from patchgate.cli.commands.models import MODELS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
VIDEOS = ("VIDEO", "talk.mp4", "*.mp4")
COMMANDS = get_command(app).commands


def printed(text: str) -> list[str]:
    """The commands of a page: in code blocks, and between backticks."""
    blocks = re.findall(r"```(?:sh|console)?\n(.*?)```", text, re.DOTALL)
    found = [
        line.removeprefix("$ ")
        for block in blocks
        for line in block.splitlines()
        if line.removeprefix("$ ").startswith("patchgate ")
    ]
    outside = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return found + [each for each in re.findall(r"`([^`\n]+)`", outside) if is_command(each)]


def is_command(text: str) -> bool:
    words = text.split()
    return words[0] == "patchgate" and words[1:2] != [] and words[1] in COMMANDS


LINES = [(path.name, line) for path in PAGES for line in printed(path.read_text())]
WHOLE = [(page, line) for page, line in LINES if len(line.split()) > 2]


def test_there_are_such_lines() -> None:
    assert len(WHOLE) > 12
    assert {"README.md", "command-line.md", "policies.md"} <= {page for page, _ in WHOLE}
    assert {line.split()[1] for _, line in WHOLE} == set(COMMANDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of."""
    from saved_models import saved

    folder = tmp_path_factory.mktemp("pages")
    shutil.copy(clips.clip("h264.mp4"), folder / "talk.mp4")
    (folder / "videos").mkdir()
    for name in ("videos/a.mp4", "extra.mp4", "listed.mp4"):
        shutil.copy(clips.clip("h264.mp4"), folder / name)
    (folder / "list.csv").write_text("path\nlisted.mp4\n")
    for name in ("FOLDER", "MODEL"):
        (folder / name).symlink_to(saved("dinov2"))
    np.save(folder / "s.npy", np.random.default_rng(0).random(40))
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.parametrize(("page", "line"), WHOLE, ids=lambda text: text.split("#")[0].strip())
def test_it_runs(page: str, line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words = shlex.split(line, comments=True)[1:]
    if not any(word in VIDEOS or "/" in word or word == "--policies" for word in words):
        known = {flag for each in COMMANDS[words[0]].params for flag in each.opts}
        assert {word for word in words if word.startswith("-")} <= known  # it names an option
        return
    if any("://" in word for word in words):  # there is no such camera
        assert COMMANDS[words[0]].make_context(words[0], words[1:]).params  # it is understood
        return
    if words[0] == "corpus":
        pytest.importorskip("pyarrow")
    words = ["talk.mp4" if word in VIDEOS else word for word in words]
    for name in ("tokens", "vectors", "OUT"):
        shutil.rmtree(name, ignore_errors=True)
        Path(f"{name}.safetensors").unlink(missing_ok=True)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    for block in re.findall(
        r"```console\n(.*?)```",
        next(path for path in PAGES if path.name == page).read_text(),
        re.DOTALL,
    ):
        command, *expected = block.splitlines()
        if command.removeprefix("$ ") == line:
            assert [each for each in expected if each not in done.stdout.splitlines()] == []


def test_the_page_lists_the_models_of_grid() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text()
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in text.splitlines()
        if row.startswith("| `") and not row.startswith("| `--grid")
    ]
    assert [row[0].strip("`") for row in rows] == list(MODELS)
    for row, model in zip(rows, MODELS.values(), strict=True):
        assert row[3] == ("" if model.context is None else f"{model.context:,}")
        if model.size is None:
            assert f"{model.patch * model.merge} pixels square of {model.temporal_patch}" in row[2]
        else:
            side = model.size // model.patch
            assert f"{side} x {side} patches of {model.patch} pixels" in row[1]
            assert row[1].startswith("stretched" if model.fit == "stretch" else "their middle")
