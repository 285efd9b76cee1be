"""What a build asks of the machine, and what it needs: setup.py and pyproject.toml."""

import ast
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def setup() -> dict[str, Any]:
    """The functions of setup.py, without the call that builds."""
    tree = ast.parse((ROOT / "setup.py").read_text("utf-8"))
    kept = [node for node in tree.body if isinstance(node, ast.Import | ast.FunctionDef)]
    names: dict[str, Any] = {"ROOT": ROOT, "Path": Path}
    exec(compile(ast.Module(kept, []), "setup.py", "exec"), names)
    return names


@pytest.mark.parametrize(
    ("told", "built"),
    [
        ("9.0\n9.0\n", "90-real"),
        ("8.0\n10.0\n", "100-real;80-real"),
        ("7.5\n", ""),  # older than what is supported: all that is supported are built
        ("", ""),
        ("NVIDIA-SMI has failed\n", ""),
    ],
)
def test_kernels_are_built_for_the_devices_that_are_seen(
    setup: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: str,
    built: str,
) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\nprintf '{told}'\n".replace("\n'", "\\n'"))
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert setup["architectures"]() == built


def test_without_nvidia_smi_no_device_is_seen(
    setup: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert setup["architectures"]() == ""


def test_a_build_without_torch_says_what_to_install(
    setup: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup["importlib"].util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"Install torch first, .*docs/install\.md"):
        setup["torch_root"]()


def test_pip_is_told_all_that_a_build_needs() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    assert {each.split(">")[0] for each in asked} == {"setuptools", "torch", "cmake", "ninja"}
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    for name in ("torch>=2.11", "setuptools>=77", "cmake>=3.25", "ninja"):
        assert name in page
