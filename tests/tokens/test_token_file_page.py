"""docs/token-file.md: its code runs, and its tables name what is in the files."""

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clips
import numpy as np
import pytest
from safetensors import safe_open
from saved_models import saved
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.gate.settings import Kind

PAGE = (Path(__file__).parents[2] / "docs" / "token-file.md").read_text()
EVERY_BLOCK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
BLOCKS = [block for block in EVERY_BLOCK if "pandas" not in block]
[PANDAS] = [block for block in EVERY_BLOCK if "pandas" in block]
DTYPES = {"F64": "float64", "F32": "float32", "I64": "int64", "I32": "int32", "I8": "int8",
          "U8": "uint8"}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the page's code reads."""
    folder = tmp_path_factory.mktemp("page")
    for command, name in (("tokenize", "tokens"), ("embed", "vectors")):
        words = [command, clips.clip("h264.mp4"), "--tower", saved("dinov2"), "-o",
                 folder / f"{name}.safetensors"]  # fmt: skip
        assert CliRunner().invoke(app, list(map(str, words))).exit_code == 0
    return folder


def section(name: str) -> str:
    """The section of that name, to the next."""
    return re.split(rf"^## {name}\b", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]


def rows(name: str) -> dict[str, list[str]]:
    """The rows of a section's table, by the names in their first column."""
    found = {}
    for line in section(name).splitlines():
        if line.startswith("| `"):
            first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found |= dict.fromkeys(re.findall(r"`(\w+)`", first), cells)
    return found


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_its_code_runs(block: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(block.splitlines()) <= 3
    monkeypatch.chdir(files)
    known: dict[str, Any] = {}
    exec(compile(block, "token-file.md", "exec"), known)
    if "nearest" in known:
        tokens = patchgate.VideoTokens.load("tokens.safetensors")
        assert known["nearest"].equal(tokens.dense(blend=False))
    if "about" in known:
        assert (known["about"]["video"], known["about"]["complete"]) == ("h264.mp4", "true")
    if "vectors" in known:
        assert known["vectors"]["features"].shape == (40, 24)


class _Frame:
    """Takes of ``pandas.DataFrame``'s arguments those that the page gives, as pandas takes them."""

    def __init__(self, data: Any) -> None:
        assert isinstance(data, np.ndarray), type(data)
        assert data.ndim == 2, "pandas: Must pass 2-d input"
        self.shape, self._data = data.shape, data

    def to_numpy(self) -> np.ndarray:
        return self._data


@pytest.mark.parametrize("whose", ["pandas", "stand-in"])
def test_its_pandas_lines_make_a_row_for_each_frame(
    whose: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pandas itself where it is installed; in any case with a class that checks the call."""
    if whose == "stand-in":
        monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=_Frame))
    else:
        pytest.importorskip("pandas")
    assert len(PANDAS.splitlines()) <= 3
    monkeypatch.chdir(files)
    known: dict[str, Any] = {}
    exec(compile(PANDAS, "token-file.md", "exec"), known)
    frames = known["frames"]
    with safe_open(files / "vectors.safetensors", "np") as opened:
        features = opened.get_tensor("features")
    assert frames.shape == features.shape == (40, 24)
    assert (frames.to_numpy() == features).all()


@pytest.mark.parametrize(("name", "file"), [("Tokens", "tokens"), ("Vectors", "vectors")])
def test_its_tables_are_the_files(name: str, file: str, files: Path) -> None:
    table = rows(name)
    with safe_open(files / f"{file}.safetensors", "pt") as opened:
        shapes = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118
        assert opened.metadata()["format"] in section(name)
        assert table.keys() - {"start_picture", "start_ids", "weights", "lit"} == shapes.keys()
        for key, found in shapes.items():
            shape, dtype, _ = table[key]
            assert len(shape.split(",")) == len(found.get_shape()), key
            assert key == "features" or DTYPES[found.get_dtype()] == dtype, key
        assert opened.metadata().keys() <= rows("Metadata").keys()
        every = {*opened.metadata(), "layout", "grid"}
    assert rows("Metadata").keys() == every


def test_its_codes_are_the_gates(files: Path) -> None:
    said = rows("Tokens")["kind"][2]
    for kind in Kind:
        assert f"{int(kind)} {kind.name.lower()}" in said


def test_its_settings_are_those_in_the_files(files: Path) -> None:
    with safe_open(files / "vectors.safetensors", "pt") as opened:
        settings = json.loads(opened.metadata()["settings"])
    said = rows("Metadata")["settings"][0]
    assert all(f"`{name}`" in said or name in ("gate", "tower") for name in settings), settings
