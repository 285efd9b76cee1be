"""A corpus in one process: what is written, and what the same call does when it comes again."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import clips
import corpus_cases
import pytest
import torch
from corpus_cases import GRID, SOUND, contents, rows
from safetensors import safe_open

import patchgate
from patchgate import corpus
from patchgate.corpus.journal import Journal
from patchgate.tokens.parts import Parts

pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")


def run(inputs: Any, out: Path, **options: Any) -> corpus.Progress:
    return corpus.run(inputs, out, size=GRID, **{"workers": 0, **options})


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus_cases.make(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def made(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, corpus.Progress]:
    out = tmp_path_factory.mktemp("made") / "out"
    return out, run(corpus_cases.inputs(videos), out)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Three clips, which a test may change."""
    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(3):
        clips.write(folder / f"c{n}.mp4", frames=4 + n)
    return folder


# --- what is written --------------------------------------------------------------------------


def test_every_video_stands_in_the_index_once(made: tuple[Path, corpus.Progress]) -> None:
    out, progress = made
    found = rows(out)
    assert len(found) == SOUND + 3
    failed = {name: row for name, row in found.items() if row["status"] == "failed"}
    assert set(failed) == {"two/cut", "two/empty", "gone"}
    assert "is an MP4 that cannot be opened" in failed["two/cut"]["error"]
    assert "is empty (0 bytes)" in failed["two/empty"]["error"]
    assert "no such file" in failed["gone"]["error"]
    assert {row["file"] for row in failed.values()} == {None}
    assert (progress.done, progress.failed, progress.left) == (SOUND, 3, 0)
    assert progress.exit_code == 1


def test_a_row_says_what_there_is(videos: Path, made: tuple[Path, corpus.Progress]) -> None:
    row = rows(made[0])["two/long"]
    path = videos / "two" / "long.mp4"
    tokens = patchgate.VideoTokens.load(made[0] / row["file"])
    about = safe_open(made[0] / row["file"], "pt").metadata()
    assert row["path"] == str(path)
    assert (row["size"], row["hash"]) == (path.stat().st_size, about["video_sha256"])
    assert (row["frames"], row["fps"], row["cells"]) == (24, 25, 6)
    assert (row["cells_high"], row["cells_wide"]) == (2, 3)
    assert row["seconds"] == pytest.approx(24 / 25)
    assert (row["tokens"], row["kept_share"]) == (len(tokens), tokens.kept_share)
    assert (row["features"], row["dtype"]) == (3 * 14 * 14, "uint8")
    assert row["bytes"] == (made[0] / row["file"]).stat().st_size
    assert (row["model"], row["version"]) == (None, patchgate.__version__)
    assert '"threshold": 4.0' in row["settings"]


def test_the_files_hold_what_tokenize_returns(
    videos: Path, made: tuple[Path, corpus.Progress]
) -> None:
    for name in ("one/same", "two/same", "two/long"):
        found = patchgate.VideoTokens.load(made[0] / f"{name}.safetensors")
        want = patchgate.tokenize(videos / f"{name}.mp4", size=GRID)
        assert found.layout == want.layout
        for field, tensor in want.tensors().items():
            assert torch.equal(found.tensors()[field], tensor), field


def test_nothing_else_is_left(made: tuple[Path, corpus.Progress]) -> None:
    assert sorted(path.name for path in made[0].iterdir()) == [
        "index.parquet", "journal.sqlite", "one", "two"
    ]  # fmt: skip
    assert not list(made[0].rglob(".*"))
    assert len(contents(made[0])) == SOUND


def test_a_tower_writes_what_tokenize_returns_and_its_weights_count(
    own: Path, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")
    import saved_models

    folder, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(saved_models.saved("dinov2"), folder)
    options: Any = {"tower": str(folder), "workers": 0, "threshold": 6, "save_dtype": "float16"}
    assert corpus.run(own, out, **options).done == 3
    tower = saved_models.gated("dinov2", threshold=6)
    found = patchgate.VideoTokens.load(out / "c2.safetensors")
    want = patchgate.tokenize(own / "c2.mp4", tower)
    torch.testing.assert_close(found.features, want.features.half())
    assert torch.equal(found.source, want.source)
    row = rows(out)["c2"]
    assert row["model"].startswith("model@")
    assert (row["features"], row["dtype"]) == (24, "float16")
    (folder / "notes.txt").write_text("another model")
    with pytest.raises(corpus.OtherSettings, match="model model@"):
        corpus.run(own, out, **options)


# --- the same call again ----------------------------------------------------------------------


def test_the_same_call_again_does_nothing(videos: Path, made: tuple[Path, corpus.Progress]) -> None:
    out = made[0]
    before = (out / "index.parquet").stat().st_mtime_ns
    again = run(corpus_cases.inputs(videos), out)
    assert (again.done, again.failed, again.same) == (0, 0, 0)
    assert (again.plan.done, again.plan.failed_before, again.exit_code) == (SOUND, 3, 1)
    assert (out / "index.parquet").stat().st_mtime_ns == before


def test_what_changed_is_done_again(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(own, out)
    first = rows(out)
    clips.write(own / "c0.mp4", frames=9)  # another size
    os.utime(own / "c1.mp4", ns=(1, 1))  # only another time
    (out / "c2.safetensors").unlink()
    clips.write(own / "c3.mp4", frames=5)
    again = run(own, out)
    assert again.plan.reasons.keys() == {"new", "changed", "touched", "gone"}
    assert (again.done, again.same, again.failed) == (3, 1, 0)
    second = rows(out)
    assert second["c0"]["frames"] == 9
    assert second["c1"] == first["c1"]
    assert second["c2"] == first["c2"]
    third = run(own, out)
    assert (third.plan.done, third.plan.reasons) == (4, {})


def test_contents_that_changed_under_the_same_size_are_seen(own: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", own / "c0.mp4"
    run(own, out)
    data = path.read_bytes().replace(b"isom", b"iso2")
    path.write_bytes(data)
    assert run(own, out).done == 1


def test_a_video_that_was_removed_keeps_its_tokens(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    paths = [str(own / f"c{n}.mp4") for n in range(3)]
    run(paths, out)
    (own / "c0.mp4").unlink()
    again = run(paths, out)
    assert (again.plan.done, again.exit_code) == (3, 0)


def test_what_failed_is_done_again_only_if_asked_or_changed(own: Path, tmp_path: Path) -> None:
    out, bad = tmp_path / "out", own / "bad.mp4"
    bad.write_text("no video")
    assert run(own, out).failed == 1
    assert run(own, out).plan.failed_before == 1
    assert run(own, out, retry_failed=True).failed == 1
    shutil.copy(own / "c0.mp4", bad)
    again = run(own, out)
    assert (again.done, again.exit_code) == (1, 0)
    assert rows(out)["bad"]["status"] == "ok"


def test_a_limit_does_the_first_and_the_next_call_goes_on(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(own, out, limit=2)
    assert (first.done, first.left, first.exit_code) == (2, 1, 0)
    assert set(rows(out)) == {"c0", "c1"}
    assert run(own, out).done == 1


def test_other_settings_are_told_and_done_only_if_asked(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(own, out)
    before = contents(out)
    with pytest.raises(corpus.OtherSettings, match=r"3 of its videos .*gate.threshold 4.0 -> 9.0"):
        run(own, out, threshold=9)
    assert contents(out) == before
    assert run(own, out, threshold=9, redo=True, limit=1).done == 1
    with pytest.raises(corpus.OtherSettings, match=r"threshold 9.0 -> 4.0"):
        run(own, out)
    rest = run(own, out, threshold=9)  # that it is wanted was said before
    assert (rest.plan.done, rest.done) == (1, 2)


def test_other_settings_of_other_videos_are_not_taken_for_a_wish(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([own / "c0.mp4"], out)
    run([own / "c1.mp4"], out, threshold=9)
    before = contents(out)
    with pytest.raises(corpus.OtherSettings, match=r"1 of its videos .*threshold 4.0 -> 9.0"):
        run([own / "c0.mp4", own / "c1.mp4"], out, threshold=9)
    assert contents(out) == before


def test_an_id_that_stands_for_another_part_is_done_again(own: Path, tmp_path: Path) -> None:
    out, listed = tmp_path / "out", own / "list.csv"
    listed.write_text("path,start,end,id\nc2.mp4,,,it\n")
    assert run(listed, out).done == 1
    whole = rows(out)["it"]["frames"]
    half = rows(out)["it"]["seconds"] * 0.49  # not at a frame
    listed.write_text(f"path,start,end,id\nc2.mp4,0,{half},it\n")
    run(listed, out, limit=0)
    assert not rows(out), "what is known is of another part"
    again = run(listed, out)
    assert (again.done, again.exit_code) == (1, 0)
    assert rows(out)["it"]["frames"] == whole // 2
    assert run(listed, out).done == 0


@pytest.mark.parametrize("row", ["c1.mp4,,it", "c0.mp4,0.1,it"])
def test_an_id_of_two_videos_of_one_call_is_told(own: Path, tmp_path: Path, row: str) -> None:
    listed = own / "list.csv"
    listed.write_text(f"path,start,id\nc0.mp4,,it\n{row}\n")
    with pytest.raises(ValueError, match=r"its id 'it' is also that of .*c0.mp4"):
        run(listed, tmp_path / "out")
    assert not (tmp_path / "out").exists(), "a call that fails leaves nothing"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no such file or folder"):
        run(tmp_path / "nowhere", tmp_path / "empty")
    assert not list((tmp_path / "empty").iterdir())


# --- what stands in the way -------------------------------------------------------------------


def test_a_folder_with_other_contents_is_refused(own: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has other contents"):
        run(own, own)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="not a folder"):
        run(own, tmp_path / "file")
    assert sorted(path.name for path in own.iterdir()) == ["c0.mp4", "c1.mp4", "c2.mp4"]


def test_what_the_job_did_not_write_is_not_replaced(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run([own / "c0.mp4"], out)
    (out / "c1.safetensors").write_text("mine")
    run(own, out)
    assert (out / "c1.safetensors").read_text() == "mine"
    assert rows(out)["c1_mp4"]["file"] == "c1_mp4.safetensors"


def test_a_second_job_is_told(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(own, out)
    with Journal(out), pytest.raises(corpus.Busy, match=f"process {os.getpid()} on "):
        run(own, out)
    assert run(own, out).plan.done == 3


def test_a_full_disk_ends_the_job_and_loses_nothing(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, puts = tmp_path / "out", Parts.put, []

    def full(self: Parts, name: str, values: torch.Tensor) -> None:
        puts.append(name)
        if len(puts) > 25:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, name, values)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "put", full)
        with pytest.raises(OSError, match=r"the disk is full.*run the same command again"):
            run(own, out)
    done = rows(out)
    assert 0 < len(done) < 3
    assert {row["status"] for row in done.values()} == {"ok"}
    again = run(own, out)
    assert (again.plan.done, again.done, again.exit_code) == (len(done), 3 - len(done), 0)
    assert set(rows(out)) == {"c0", "c1", "c2"}


def test_without_pyarrow_it_says_what_to_install(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'patchgate\[corpus\]'"):
        run(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()
