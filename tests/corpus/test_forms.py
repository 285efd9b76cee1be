"""Tokens as Parquet and WebDataset: what other tools read without patchgate."""

from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
import torch

import patchgate
from patchgate import corpus

pyarrow = pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")
parquet = pytest.importorskip("pyarrow.parquet")

GRID = (28, 42)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.write(tmp_path_factory.mktemp("in") / "a.b.mp4", frames=70)


def made(clip: Path, out: Path, form: Any) -> Path:
    done = corpus.run(clip, out, size=GRID, workers=0, save_as=form)
    assert (done.done, done.exit_code) == (1, 0)
    assert not list(out.rglob("*.safetensors"))
    assert not list(out.glob(".*"))
    (row,) = corpus.open(out).rows()
    assert row["bytes"] == (out / row["file"]).stat().st_size
    assert corpus.run(clip, out, size=GRID, workers=0, save_as=form).plan.done == 1
    return out / row["file"]


def test_parquet_has_a_row_for_each_token(clip: Path, tmp_path: Path) -> None:
    path = made(clip, tmp_path / "out", "parquet")
    want = patchgate.tokenize(clip, size=GRID)
    table = parquet.read_table(path)
    width = want.features.shape[1]
    assert table.schema.field("feature").type == pyarrow.list_(pyarrow.float16(), width)
    assert set(table["video"].to_pylist()) == {"a.b"}
    feature = table["feature"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    assert np.array_equal(feature, want.features.half().numpy())
    for name, values in {
        "frame": want.frame,
        "cell_row": want.cell[:, 0],
        "cell_column": want.cell[:, 1],
        "span": want.span,
        "pts": want.pts_seconds[want.frame],
        "until": want.shown_until()[want.frame + want.span - 1],
    }.items():
        assert np.array_equal(table[name].to_numpy(), values.numpy()), name


def test_webdataset_has_a_sample_for_each_span(clip: Path, tmp_path: Path) -> None:
    import io
    import json
    import tarfile

    path = made(clip, tmp_path / "out", "webdataset")
    want = patchgate.tokenize(clip, size=GRID)
    samples: dict[str, dict[str, Any]] = {}
    with tarfile.open(path) as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            key, _, kind = member.name.partition(".")  # as WebDataset cuts names
            data = file.read()
            read = json.loads(data) if kind == "json" else np.load(io.BytesIO(data))
            samples.setdefault(key, {})[kind.removesuffix(".npy")] = read
    assert list(samples) == ["a_b/00000000", "a_b/00000064"]
    first = 0
    for sample in samples.values():
        frames = sample["json"]["frames"]
        dense = torch.from_numpy(sample["feature"])[torch.from_numpy(sample["source"]).long()]
        assert torch.equal(dense, want.dense()[first : first + frames].half())
        assert np.array_equal(sample["pts"], want.pts_seconds[first : first + frames])
        first += frames
    assert first == 70


def test_a_corpus_has_one_form(clip: Path, tmp_path: Path) -> None:
    corpus.run(clip, tmp_path / "out", size=GRID, workers=0)
    with pytest.raises(corpus.OtherSettings, match="saved as safetensors, and would now be saved"):
        corpus.run(clip, tmp_path / "out", size=GRID, workers=0, save_as="parquet", redo=True)


def test_frames_are_the_slice_of_their_times(clip: Path) -> None:
    tokens = patchgate.tokenize(clip, size=GRID)
    want = tokens.slice(float(tokens.pts_seconds[5]), float(tokens.pts_seconds[9]))
    for name, tensor in tokens.frames(5, 9).tensors().items():
        assert torch.equal(tensor, want.tensors()[name]), name
    for first, last in ((-1, 3), (5, 5), (70, 71), (0, 71)):
        with pytest.raises(ValueError, match="expected"):
            tokens.frames(first, last)


# --- Lance, which .ci/run ray installs --------------------------------------------------------


def lance_rows(out: Path) -> dict[str, int]:
    """The number of rows of each video."""
    import lance

    table = lance.dataset(str(out / "tokens.lance")).to_table(columns=["video"])
    counted = table.group_by("video").aggregate([("video", "count")]).to_pylist()
    return {row["video"]: row["video_count"] for row in counted}


def test_lance_has_the_rows_of_every_video_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lance = pytest.importorskip("lance", reason="pip install 'patchgate[lance]'")
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for n, name in enumerate(("a", "it's", "c")):
        clips.write(folder / f"{name}.mp4", frames=4 + n)
    options: Any = {"size": GRID, "workers": 0, "save_as": "lance"}
    want = {name: len(patchgate.tokenize(folder / f"{name}.mp4", size=GRID))
            for name in ("a", "it's", "c")}  # fmt: skip
    assert corpus.run(folder, out, **options).done == 3
    assert lance_rows(out) == want
    assert {row["file"] for row in corpus.open(out).rows()} == {"tokens.lance"}
    dataset = lance.dataset(str(out / "tokens.lance"))
    one = dataset.to_table(filter="video = 'c'")
    width = 3 * 14 * 14
    feature = one["feature"].combine_chunks().flatten().to_numpy().reshape(-1, width)
    tokens = patchgate.tokenize(folder / "c.mp4", size=GRID)
    assert np.array_equal(feature, tokens.features.half().numpy())
    assert corpus.run(folder, out, **options).plan.done == 3
    clips.write(folder / "it's.mp4", frames=9)
    clips.write(folder / "d.mp4", frames=3)
    # Killed between the commit and the note of it: the next call does not commit again.
    journal = corpus.journal.Journal
    with monkeypatch.context() as patched:
        patched.setattr(journal, "committed", lambda self, waiting: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            corpus.run(folder, out, **options)
    assert corpus.run(folder, out, **options).done == 0
    want["it's"], want["d"] = (
        len(patchgate.tokenize(folder / f"{name}.mp4", size=GRID)) for name in ("it's", "d")
    )
    assert lance_rows(out) == want
