"""examples/search: a thing that two videos show is found in both, whenever they show it."""

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from patchgate import corpus

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")

EXAMPLE = Path(__file__).parents[2] / "examples" / "search" / "find.py"
RATE, SIDE, CELL = 10, 112, 14


def written(path: Path, shown: range, at: tuple[int, int], frames: int = 30) -> None:
    """A grey clip, lossless, that shows a chequered cell in some frames, at a cell."""
    y, x = np.mgrid[:CELL, :CELL]
    thing = (((y // 3 + x // 3) % 2) * 180 + 30).astype(np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"qp": "0", "preset": "ultrafast"})
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv444p"
        for n in range(frames):
            planes = np.full((3, SIDE, SIDE), 128, np.uint8)
            planes[0] = 60 + np.arange(SIDE)[None] // 2
            if n in shown:
                top, left = (side * CELL for side in at)
                planes[0, top : top + CELL, left : left + CELL] = thing
            out.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv444p")))
        out.mux(stream.encode(None))


def test_a_thing_is_found_wherever_it_is_shown(tmp_path: Path) -> None:
    pytest.importorskip("lance", reason="pip install 'patchgate[lance]'")
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    written(folder / "one.mkv", range(10, 20), (2, 3))
    written(folder / "two.mkv", range(5, 8), (6, 1))
    written(folder / "none.mkv", range(0), (0, 0))
    done = corpus.run(folder, out, size=SIDE, workers=0, save_as="lance", search_radius=0)
    assert done.done == 3
    words = [str(out), "one", "1.25", "2", "3", "--tokens", "2"]
    said = subprocess.run([sys.executable, str(EXAMPLE), *words], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    found = [line.split() for line in said.stdout.splitlines()[1:]]
    assert {(line[-1], line[1], line[2]) for line in found} == {
        ("one", "1.00", "2.00"), ("two", "0.50", "0.80")
    }  # fmt: skip
    assert all(float(line[0]) < 0.001 for line in found)
    assert {" ".join(line[3:5]) for line in found} == {"(2, 3)", "(6, 1)"}
    words[2] = "99"
    said = subprocess.run([sys.executable, str(EXAMPLE), *words], capture_output=True, text=True)
    assert "no token of cell (2, 3) is shown at 99 s" in said.stderr
