"""A corpus that is read: by id and time, as spans for training; and the class for other engines."""

import multiprocessing
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import patchgate
from patchgate import corpus

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")

GRID = (28, 42)
FRAMES = {"a": 30, "b": 7, "c": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in")
    for name, frames in FRAMES.items():
        clips.write(folder / f"{name}.mp4", frames=frames)
    (folder / "bad.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "out"
    assert corpus.run(folder, out, size=GRID, workers=0).done == 3
    return out


# --- open -------------------------------------------------------------------------------------


def test_videos_are_found_by_id_and_time(folder: Path, out: Path) -> None:
    found = corpus.open(out)
    assert [video.id for video in found] == ["a", "b", "c"]
    assert len(found) == 3
    assert repr(found) == f"Corpus({str(out)!r}, 3 videos)"
    want = patchgate.tokenize(folder / "c.mp4", size=GRID)
    video = found["c"]
    assert video.row["frames"] == 12
    assert torch.equal(video.tokens().features, want.features)
    frame = video.at(0.21)  # frame 5 is shown from 0.2 s on
    assert frame.shape.T == 1
    assert torch.equal(frame.dense()[0], want.dense()[5])
    assert torch.equal(video.at(0.2).dense()[0], want.dense()[5])


def test_what_is_not_there_is_told(out: Path, tmp_path: Path) -> None:
    found = corpus.open(out)
    with pytest.raises(KeyError, match=r"nothing: .* has no such video"):
        found["nothing"]
    with pytest.raises(KeyError, match=r"bad: it failed: .*is a text file"):
        found["bad"]
    assert [row["id"] for row in found.failed()] == ["bad"]
    for seconds in (-1.0, 0.49, 100.0):
        with pytest.raises(ValueError, match=r"no frame is shown at .* those of 0\.\.0.48 s"):
            found["c"].at(seconds)
    with pytest.raises(FileNotFoundError, match=r"there is no index.parquet"):
        corpus.open(tmp_path)


def test_an_index_that_is_written_anew_is_followed(folder: Path, tmp_path: Path) -> None:
    """Videos that were found before others may be done after them."""
    out = tmp_path / "out"
    (tmp_path / "late.mp4").write_text("no video")
    paths = [tmp_path / "late.mp4", folder / "b.mp4"]
    corpus.run(paths, out, size=GRID, workers=0, limit=2)
    found = corpus.open(out)
    assert found["b"].row["frames"] == 7
    found._places = {"b": 0, "late": 1}
    assert found["b"].row["frames"] == 7


# --- TokenSpans -------------------------------------------------------------------------------


def spans(dataset: Any) -> list[tuple[int, float]]:
    """Frames and first time of every span; spans of the three videos differ in one of them."""
    return [(tokens.shape.T, round(float(tokens.pts_seconds[0]), 3)) for tokens in dataset]


EVERY = sorted([(8, 0.0), (8, 0.32), (8, 0.64), (6, 0.96), (7, 0.0), (8, 0.0), (4, 0.32)])


def test_every_span_comes_once_an_epoch_in_another_order(out: Path) -> None:
    dataset = corpus.TokenSpans(out, frames=8)
    assert len(dataset) == len(EVERY)
    first = spans(dataset)
    assert sorted(first) == EVERY
    assert spans(dataset) == first, "an epoch has one order"
    dataset.set_epoch(1)
    assert sorted(spans(dataset)) == EVERY
    assert spans(dataset) != first
    plain = spans(corpus.TokenSpans(out, frames=8, shuffle=False))
    assert plain[:4] == [(8, 0.0), (8, 0.32), (8, 0.64), (6, 0.96)]


def test_a_span_shows_what_the_video_shows(folder: Path, out: Path) -> None:
    want = patchgate.tokenize(folder / "a.mp4", size=GRID).dense()
    found = list(corpus.TokenSpans(out, frames=8, shuffle=False))[:4]
    assert torch.equal(torch.cat([tokens.dense() for tokens in found]), want)


def test_ranks_share_the_spans_out(out: Path) -> None:
    parts = [spans(corpus.TokenSpans(out, frames=8, rank=rank, world_size=3)) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 2]
    every = [each for part in parts for each in part]
    assert len(set(every)) >= 5  # (8, 0.0) is that of two videos
    assert all(every.count(each) <= EVERY.count(each) for each in every)


def test_workers_of_a_loader_share_them_out_too(out: Path) -> None:
    loader = DataLoader(
        corpus.TokenSpans(out, frames=8), batch_size=2, num_workers=2,
        collate_fn=patchgate.collate, multiprocessing_context=multiprocessing.get_context("fork"),
    )  # fmt: skip
    batches = list(loader)
    assert sum(len(batch) for batch in batches) == len(EVERY)
    assert {batch.features.dtype for batch in batches} == {torch.uint8}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"frames": 0}, "frames: expected"),
        ({"rank": 3, "world_size": 3}, "rank: expected"),
        ({"rank": 0, "world_size": 9, "frames": 64}, "3 spans of 64 frames, too few for 9 ranks"),
    ],
)
def test_spans_that_cannot_be(out: Path, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        corpus.TokenSpans(out, **options)


# --- Tokenizer --------------------------------------------------------------------------------


def test_the_class_does_batches_of_rows(folder: Path, tmp_path: Path) -> None:
    done = corpus.Tokenizer(tmp_path / "made", size=GRID)
    batch = {
        "path": np.array([str(folder / "a.mp4"), str(folder / "bad.mp4")], dtype=object),
        "end": np.array([0.4, np.nan]),
        "other": np.array([5, 6]),
    }
    columns = done(batch)
    assert columns["status"].tolist() == ["ok", "failed"]
    assert columns["frames"][0] == 10
    assert np.isnan(columns["frames"][1])
    assert columns["error"][0] == ""
    assert "is a text file" in columns["error"][1]
    assert columns["other"].tolist() == [5, 6]
    assert {len(values) for values in columns.values()} == {2}
    found = patchgate.VideoTokens.load(tmp_path / "made" / columns["file"][0])
    want = patchgate.tokenize(folder / "a.mp4", size=GRID, end=0.4)
    assert torch.equal(found.features, want.features)


def test_files_of_one_name_do_not_meet(folder: Path, tmp_path: Path) -> None:
    done = corpus.Tokenizer(tmp_path / "made", size=GRID)
    path = str(folder / "b.mp4")
    rows = [done.do(path), done.do(path, end=0.1), done.do(path, id="x", file="x.safetensors")]
    assert len({row["file"] for row in rows}) == 3
    assert [row["id"] for row in rows][2] == "x"
    assert rows[0]["file"].startswith("b-")
    assert done.do(path)["file"] == rows[0]["file"]
    with pytest.raises(ValueError, match="rules for one"):
        corpus.Tokenizer(tmp_path, gate=patchgate.Gate(), threshold=3)
