"""The benchmark of corpora measures what it says."""

from pathlib import Path

import av
import corpus as benchmark
import numpy as np
import pytest

import patchgate


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray() for frame in container.decode(video=0)])


def test_a_long_video_is_its_clip_again_and_again(tmp_path: Path) -> None:
    long = benchmark.repeated(tmp_path / "long.mkv", 3)
    once = pictures(benchmark.smallest())
    assert np.array_equal(pictures(long), np.concatenate([once] * 3))
    with patchgate.open_video(long) as video:
        seconds = np.concatenate([batch.pts_seconds for batch in video])
    assert len(seconds) == 3 * len(once)
    assert (np.diff(seconds) > 0).all()


def test_idle_workers_are_counted_and_a_failure_is_no_idleness(tmp_path: Path) -> None:
    folder = benchmark.copied(tmp_path / "in", 3)
    assert 0 <= benchmark.idle(folder, tmp_path / "out") < 1
    (folder / "no.mkv").write_bytes(b"no video")
    with pytest.raises(AssertionError):
        benchmark.idle(folder, tmp_path / "out-again")
