"""A corpus by Ray Data and by Daft: the same index and the same bits. ``.ci/run ray`` runs it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import corpus_cases
import pytest
from corpus_cases import GRID, SOUND, contents, rows

from patchgate import corpus
from patchgate._check.text import escaped

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """Ray with more CPUs than this machine may have: they are only counted."""
    ray = pytest.importorskip("ray", reason="pip install 'patchgate[ray]'")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_cases.make(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def plain(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a plain loop writes; the long clip in spans."""
    out = tmp_path_factory.mktemp("plain") / "out"
    done = corpus.run(corpus_cases.inputs(videos), out, size=GRID, workers=0, span_frames=8)
    assert (done.done, done.failed) == (SOUND, 3)
    return out


def by_ray(videos: Path, out: Path, **options: Any) -> corpus.Progress:
    return corpus.run(corpus_cases.inputs(videos), out, size=GRID, workers=2, engine="ray",
                      span_frames=8, **options)  # fmt: skip


def test_ray_writes_what_a_plain_loop_writes(
    ray: Any, videos: Path, plain: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = by_ray(videos, out)
    assert (done.done, done.failed, done.exit_code) == (SOUND, 3, 1)
    assert rows(out) == rows(plain)
    assert contents(out) == contents(plain)
    assert not list(out.rglob(".*"))
    assert by_ray(videos, out).plan.done == SOUND


def test_what_ray_left_the_pool_does_and_the_other_way_round(
    ray: Any, videos: Path, plain: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert by_ray(videos, out, limit=5).done == 5
    inputs = corpus_cases.inputs(videos)
    assert corpus.run(inputs, out, size=GRID, workers=0, span_frames=8, limit=5).done == 5
    assert by_ray(videos, out).done == SOUND - 10
    assert rows(out) == rows(plain)
    assert contents(out) == contents(plain)


def test_a_tower_that_cannot_be_loaded_ends_the_job(ray: Any, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"tower ./gone: there is no such folder"):
        corpus.run(videos, tmp_path / "out", tower="./gone", engine="ray", workers=1)


def test_the_class_in_a_pipeline_of_ray(ray: Any, videos: Path, tmp_path: Path) -> None:
    """As a user writes it, without a journal."""
    paths = [{"path": str(videos / "one" / f"c0{n}.mp4")} for n in range(3)]
    done = ray.data.from_items([*paths, {"path": str(videos / "gone.mp4")}]).map_batches(
        corpus.Tokenizer, fn_constructor_args=(str(tmp_path),),
        fn_constructor_kwargs={"size": GRID}, batch_size=1, num_cpus=0.5,
        compute=ray.data.ActorPoolStrategy(size=1),
    )  # fmt: skip
    found = {row["path"]: row for row in done.take_all()}
    assert sorted(row["status"] for row in found.values()) == ["failed", "ok", "ok", "ok"]
    assert {row["frames"] for row in found.values() if row["status"] == "ok"} == {8}
    assert len(list(tmp_path.glob("*.safetensors"))) == 3


def test_daft_writes_what_a_plain_loop_writes(videos: Path, plain: Path, tmp_path: Path) -> None:
    daft = pytest.importorskip("daft", reason="pip install daft")
    daft.set_runner_native()  # it would take a Ray that another test has begun
    # The index escapes what is no plain text.
    real = {escaped(str(path)): str(path) for path in videos.rglob("*")}
    want = {real.get(row["path"], row["path"]): row for row in rows(plain).values()}
    names = [name for name in rows(plain) if name != "two/long"]
    given = {"path": [path for path, row in want.items() if row["id"] != "two/long"], "id": names,
             "file": [f"{name}.safetensors" for name in names]}  # fmt: skip

    @daft.cls
    class Tokenizer:
        def __init__(self, out: str) -> None:
            self._own = corpus.Tokenizer(out, size=GRID)

        @daft.method(return_dtype=daft.DataType.string())
        def status(self, path: str, id: str, file: str) -> str:
            row = self._own.do(path, id, file)
            return str(row["error"] or f"ok {row['frames']} {row['tokens']}")

    tokenizer = Tokenizer(str(tmp_path))
    columns = (daft.col(name) for name in ("path", "id", "file"))
    frame = daft.from_pydict(given).with_column("came", tokenizer.status(*columns))
    for row in frame.to_pylist():
        own = want[row["path"]]
        assert row["came"] == (own["error"] or f"ok {own['frames']} {own['tokens']}")
    written, expected = contents(tmp_path), contents(plain)
    del expected["two/long.safetensors"]
    assert written.keys() == expected.keys()
    for name in written:
        assert written[name] == expected[name], name


def test_other_tools_read_the_rows(videos: Path, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars", reason="pip install polars")
    pandas, webdataset = (pytest.importorskip(name) for name in ("pandas", "webdataset"))
    clip, width = videos / "one" / "same.mp4", 3 * 14 * 14
    for form in ("parquet", "webdataset"):
        corpus.run(clip, tmp_path / form, size=GRID, workers=0, save_as=form)
    one = pandas.read_parquet(tmp_path / "parquet" / "same.parquet")
    two = polars.read_parquet(tmp_path / "parquet" / "same.parquet")
    assert two.schema["feature"] == polars.Array(polars.Float16, width)
    assert one["feature"][5].tolist() == two["feature"][5].to_list()
    tar = str(tmp_path / "webdataset" / "same.tar")
    (sample,) = webdataset.WebDataset(tar, shardshuffle=False).decode()
    assert sample["feature.npy"].shape == (len(one), width)
    assert sample["json"]["frames"] == 6
