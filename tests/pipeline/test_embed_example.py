"""examples/embed_folder.py: a folder of videos, one vector a frame."""

import shutil
import subprocess
import sys
from pathlib import Path

import clips
from saved_models import saved

EXAMPLE = Path(__file__).parents[2] / "examples" / "embed_folder.py"


def test_it_runs_and_is_short(tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 12
    for name in ("h264.mp4", "late.mkv"):
        shutil.copy(clips.clip(name), tmp_path / name)
    done = subprocess.run(
        [sys.executable, EXAMPLE, tmp_path, saved("dinov2")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "h264.mp4 40 24\nlate.mkv 40 24\n"
