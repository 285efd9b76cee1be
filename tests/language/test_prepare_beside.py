"""prepare() beside the models' own processors, and examples/chat_with_video.py.

Both need processors that work, and these need torchvision: where it cannot be imported, other
processes are given a stand-in for it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import clips
import pytest
from since import language_models

pytestmark = language_models
ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"
KNOWN = {
    "qwen3": ["one video", "turns", "batch", "image", "two videos", "file", "resized"],
    "qwen25": ["one video", "turns", "batch", "image", "two videos"],
    "llava": ["one video", "turns", "batch", "image"],
}


def run(*words, cwd):
    """Python in a process whose transformers can make processors of videos."""
    here = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True)
    stand_in = [] if here.returncode == 0 else [str(CASES / "torchvision_stand_in")]
    known = os.environ.get("PYTHONPATH", "")
    paths = [*stand_in, str(CASES), str(ROOT / "benchmarks"), *filter(None, [known])]
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True, text=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    lines = run(CASES / "beside_processor.py", folder, cwd=folder).splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    return {(row["name"], row["case"]): row for row in rows}


@pytest.mark.parametrize(("name", "case"), [(k, case) for k in KNOWN for case in KNOWN[k]])
def test_everything_kept_is_the_models_own_prompt_and_answer(found, name, case):
    """The processor normalises in float32. Resized frames differ by one level of 255 at most."""
    row = found[name, case]
    assert row["ids"]
    assert row["mask"]
    assert row["error"] < (0.05 if case == "resized" else 1e-4)
    assert row["answers"]


def test_the_example_runs_and_is_short(tmp_path):
    example = ROOT / "examples" / "chat_with_video.py"
    code = [line for line in example.read_text().splitlines() if line.strip() and line[0] != "#"]
    assert len(code) <= 12
    run("-c", f"import chat_cases; chat_cases.save('qwen3', {str(tmp_path)!r})", cwd=tmp_path)
    said = run(example, tmp_path, clips.clip("h264.mp4"), "What is it?", cwd=tmp_path)
    assert said.strip()
    assert "What is it?" not in said
