"""examples/report_moments.py: a report with its moments."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import report_clips

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "report_moments.py"


def test_it_runs_and_names_the_cut(tmp_path: Path) -> None:
    scenes = np.random.default_rng(0).integers(60, 160, (2, 112, 112, 3)).astype(np.uint8)
    frames = (scenes[t // 20] for t in range(40))
    clip = report_clips.lossless(tmp_path / "story.mkv", frames)
    page = tmp_path / "story.html"
    done = subprocess.run([sys.executable, EXAMPLE, clip, page], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "key frames: 2" in done.stdout
    assert "  0.00 s first frame" in done.stdout.splitlines()
    assert any(line.startswith("  2.00 s") for line in done.stdout.splitlines())
    assert page.stat().st_size > 10_000


def test_scripts_for_users_are_short() -> None:
    for name in ("chat_with_video", "embed_folder", "opencv_frames", "report_moments"):
        lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
        assert len([line for line in lines if not line.startswith("#")]) <= 12, name
