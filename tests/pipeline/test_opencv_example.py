"""examples/opencv_frames.py: frames from OpenCV, one by one, through a Tokenizer."""

import subprocess
import sys
from pathlib import Path

import pytest

import patchgate

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed: pip install opencv-python")

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIP = EXAMPLES / "clips" / "asl_book.mkv"


def test_it_runs_and_is_short() -> None:
    script = EXAMPLES / "opencv_frames.py"
    assert len(script.read_text().splitlines()) <= 12
    done = subprocess.run([sys.executable, script, CLIP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 109
    assert lines[0] == "0.00 s: 256 of 256 cells"
    kept = sum(int(line.split()[2]) for line in lines)
    # OpenCV converts the video's samples to BGR, and these are converted back: not the same bits.
    want = len(patchgate.tokenize(CLIP, size=224))
    assert 0.9 * want < kept < 1.1 * want
