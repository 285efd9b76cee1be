"""Models and engines that the tests share. Engines run in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jobs
import pytest
import tiny

HERE = Path(__file__).parent
WAIT = 1500  # seconds: an engine whose tower has failed waits for ever
FAMILIES = ("qwen3", "qwen25")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with a tiny model of each family."""
    root = tmp_path_factory.mktemp("models")
    return {family: tiny.write(family, root / family) for family in FAMILIES}


def run(work: list[dict[str, Any]], folder: Path, **environment: str) -> dict[str, Any]:
    """Runs engines in one process, and returns their answers by the names of the jobs."""
    given, found, log = (folder / name for name in ("jobs.json", "answers.json", "log.txt"))
    given.write_text(json.dumps(work))
    call = [sys.executable, str(HERE / "ask.py"), str(given), str(found)]
    own = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", **environment}
    with log.open("w") as out:
        ended = subprocess.run(
            call, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **own}, check=False,
            timeout=WAIT,
        )  # fmt: skip
    assert ended.returncode == 0, log.read_text()[-8000:]
    return {"log": log.read_text(), **json.loads(found.read_text())}


@pytest.fixture(scope="session")
def gated(models, tmp_path_factory) -> dict[str, Any]:
    """What the engines with the plugin answer."""
    return run(jobs.gated(models), tmp_path_factory.mktemp("gated"))


@pytest.fixture(scope="session")
def stock(models, tmp_path_factory) -> dict[str, Any]:
    """What vLLM without the plugin answers."""
    return run(jobs.stock(models), tmp_path_factory.mktemp("stock"), VLLM_PLUGINS="")
