"""Long videos in spans: where they are cut, and that joined spans say what the video shows."""

from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
import torch
from corpus_cases import contents, rows
from safetensors.torch import load_file

import patchgate
from patchgate import corpus
from patchgate.corpus import spans
from patchgate.corpus.engines.units import Units

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")

GRID = (28, 42)
FRAMES = 74


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    keys = {"preset": "veryfast", "crf": "30", "g": "11", "keyint_min": "11", "sc_threshold": "0"}
    clips.write(folder / "long.mp4", frames=FRAMES, options=keys)
    clips.write(folder / "short.mp4", frames=8)
    return folder


def run(inputs: Any, out: Path, **options: Any) -> corpus.Progress:
    given = {"size": GRID, "workers": 0, "span_frames": 20, **options}
    return corpus.run(inputs, out, **given)


def key(*places: int, frames: int = 100) -> np.ndarray:
    found = np.zeros(frames, bool)
    found[list(places)] = True
    return found


def test_cuts_are_near_the_length_at_key_frames_and_even() -> None:
    assert spans._places(key(0, 22, 44, 66, 88), 20) == [22, 44, 66, 88]
    assert spans._places(key(0, 19, 26, 45), 20) == [26, 46, 66, 86], "19 and 45 are odd"
    assert spans._places(key(0), 20) == [20, 40, 60, 80]
    assert spans._places(key(0, frames=30), 20) == []
    assert spans._places(key(0, frames=31), 20) == [20]
    assert spans._places(key(0, frames=60), 21) == [22, 44]


def test_a_joined_video_is_its_spans(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(folder, out).done == 2
    found = patchgate.VideoTokens.load(out / "long.safetensors")
    whole = patchgate.tokenize(folder / "long.mp4", size=GRID)
    assert torch.equal(found.pts_seconds, whole.pts_seconds)
    assert torch.equal(found.duration_seconds, whole.duration_seconds)
    begin, frame = [0, 22, 44], 0
    assert found.is_key[begin].all()
    times = [float(whole.pts_seconds[at]) for at in begin]
    for start, end in zip(times, [*times[1:], None], strict=True):
        part = patchgate.tokenize(folder / "long.mp4", size=GRID, start=start, end=end)
        own = found.frames(frame, frame + part.shape.T)
        frame += part.shape.T
        for name, tensor in part.tensors().items():
            assert torch.equal(own.tensors()[name], tensor), name
    assert frame == FRAMES
    assert (found.layout, found.shape) == (whole.layout, whole.shape)
    row = rows(out)["long"]
    assert (row["frames"], row["tokens"]) == (FRAMES, len(found))
    assert row["kept_share"] == found.kept_share
    assert row["seconds"] == pytest.approx(FRAMES / 25)
    assert row["hash"] is not None
    assert not list(out.rglob(".*"))


def test_workers_and_other_forms_join_the_same(folder: Path, tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    run(folder, one)
    run(folder, two, workers=2)
    assert rows(one) == rows(two)
    assert contents(one) == contents(two)
    run(folder, other, save_as="webdataset")
    assert (other / "long.tar").is_file()
    assert rows(other)["long"]["tokens"] == rows(one)["long"]["tokens"]


def test_a_part_of_a_long_video_is_cut_within_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,start,end\n{folder / 'long.mp4'},0.3,2.5\n")
    run(tmp_path / "list.csv", tmp_path / "out")
    found = load_file(tmp_path / "out" / "long.safetensors")
    want = patchgate.tokenize(folder / "long.mp4", size=GRID, start=0.3, end=2.5)
    assert torch.equal(found["pts_seconds"], want.pts_seconds)


def test_what_a_killed_job_left_of_spans_is_removed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(folder / "short.mp4", out)
    (out / ".spans-7").mkdir()
    (out / ".spans-7" / "0.safetensors").write_text("left")
    run(folder / "short.mp4", out)
    assert not (out / ".spans-7").exists()


def test_a_span_that_fails_fails_its_video(tmp_path: Path) -> None:
    from test_pool import task

    units = Units(tmp_path)
    video = units.whole(task(3, "v"))
    more, result = units.came(video, {"status": "split", "cuts": [[None, 1], [1, 2], [2, None]]})
    assert result is None
    assert [unit.told["start"] for unit in more] == [None, 1, 2]
    fine = {"status": "ok", "warnings": "w", "took_seconds": 1.0}
    assert units.came(more[0], fine) == ([], None)
    assert all(map(units.wanted, more))
    broken = {"status": "failed", "error": "broken"}
    assert units.came(more[1], broken) == ([], broken)
    assert not any(map(units.wanted, more))
    assert units.came(more[2], fine) == ([], None)
