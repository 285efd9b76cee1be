"""What is taken as a corpus: folders, patterns, files, manifests; and how files are named."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from patchgate.corpus.inputs import Entry, LeftOut, entries
from patchgate.corpus.journal import Journal
from patchgate.decode.ffmpeg import av
from patchgate.decode.source import formats

pyarrow = pytest.importorskip("pyarrow", reason="pip install 'patchgate[corpus]'")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/x.mp4", "a/x.mkv", "b/x.MP4", "b/deep/y.webm", "b/notes.txt", "b/Makefile",
                 ".hidden/z.mp4", "b/._x.mp4"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def below(*inputs: str) -> list[str]:
    return [each.below for each in entries(inputs, LeftOut())]


def test_folders_patterns_and_files(tree: Path) -> None:
    assert below(".") == ["a/x.mkv", "a/x.mp4", "b/x.MP4", "b/deep/y.webm"]
    assert below("b/") == ["x.MP4", "deep/y.webm"]
    assert below("b/**/*") == ["deep/y.webm", "x.MP4"]
    assert below("*/x.*") == ["a/x.mkv", "a/x.mp4", "b/x.MP4"]
    assert below("a/x.mp4", "b/notes.txt") == ["x.mp4", "notes.txt"]
    (found,) = entries(["a/x.mp4"], LeftOut())
    assert found.path == str(tree / "a" / "x.mp4")


def test_what_is_left_out_is_told_once(tree: Path) -> None:
    left = LeftOut()
    list(entries(["b"], left))
    assert left == {".txt": 1, "": 1}
    assert "2 files were left out" in str(left)
    assert "1 without one" in str(left)


@pytest.mark.parametrize(
    ("given", "why"),
    [("nowhere", "no such file or folder"), ("*.nothing", "nothing matches this pattern")],
)
def test_an_input_that_is_not_there(tree: Path, given: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        below(given)
    assert below("gone.mp4") == ["gone.mp4"], "a video that is missing is one that failed"


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            out = csv.DictWriter(file, rows[0])
            out.writeheader()
            out.writerows(rows)
    else:
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    return path


ROWS = [
    {"path": "a/x.mp4", "start": 0.5, "end": 2, "id": "first", "other": 1},
    {"path": "/elsewhere/x.mp4", "start": None, "end": None, "id": None, "other": 2},
]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_manifests(tree: Path, suffix: str) -> None:
    path = written(tree / f"list{suffix}", ROWS)
    assert list(entries([str(path)], LeftOut())) == [
        Entry(str(tree / "a" / "x.mp4"), "a/x.mp4", 0.5, 2.0, "first"),
        Entry("/elsewhere/x.mp4", "x.mp4"),
    ]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"file": "x"}, "row 2: expected a column path .* got columns file"),
        ({"path": "x.mp4", "start": 2, "end": 1}, "row 2: expected end > start, got 2.0 and 1.0"),
        ({"path": "x.mp4", "start": "soon"}, "row 2: start: expected seconds, got 'soon'"),
    ],
)
def test_rows_that_are_none(tree: Path, suffix: str, row: dict[str, Any], why: str) -> None:
    first = {name: value if name == "file" else None for name, value in row.items()}
    first = {**first, "path": "a.mp4"} if "path" in row else row
    path = written(tree / f"list{suffix}", [first, row])
    if "file" in row:
        why = why.replace("row 2", "row 1")
    with pytest.raises(ValueError, match=why):
        below(str(path))


def test_a_manifest_that_is_none(tree: Path) -> None:
    for name in ("list.parquet", "list.jsonl"):
        (tree / name).write_text("no manifest")
        with pytest.raises(ValueError, match=rf"{name}: row 1"):
            below(name)


def files(tree: Path, *inputs: str) -> dict[str, str]:
    with Journal(tree / "out", dry=True) as journal:
        return {
            Path(each.path).relative_to(tree).as_posix(): journal.add(each, ".s").file
            for each in entries(inputs, LeftOut())
        }


def test_a_file_is_named_by_its_path_and_a_clash_gets_a_suffix(tree: Path) -> None:
    assert files(tree, ".") == {
        "a/x.mkv": "a/x.s", "a/x.mp4": "a/x_mp4.s", "b/x.MP4": "b/x.s",
        "b/deep/y.webm": "b/deep/y.s",
    }  # fmt: skip
    assert files(tree, "a/x.mp4", "b/x.MP4", "a/x.mkv") == {
        "a/x.mp4": "x.s", "b/x.MP4": "x_MP4.s", "a/x.mkv": "x_mkv.s"
    }  # fmt: skip


def test_names_of_the_corpus_itself_are_taken(tmp_path: Path) -> None:
    with Journal(tmp_path / "out", dry=True) as journal:
        entry = Entry("/x/Index.mp4", "Index.mp4")
        assert journal.add(entry, ".parquet").file == "Index_mp4.parquet"
        odd = Entry("/x/b\udcff.mp4", "b\udcff.mp4")
        assert journal.add(odd, ".s").file == "b_xff.s"
        long = Entry("/x/long", "d/" + "\u00e9" * 120 + ".mp4")
        assert journal.add(long, ".s").file == "d/" + "\u00e9" * 100 + ".s"


def test_an_id_stands_for_one_video(tmp_path: Path) -> None:
    with Journal(tmp_path / "out", dry=True) as journal:
        journal.add(Entry("/x/a.mp4", "a.mp4", id="b"), ".s")
        with pytest.raises(ValueError, match="its id 'b' is that of another video"):
            journal.add(Entry("/x/c.mp4", "c.mp4", 1.0, 2.0, "b"), ".s")
        assert journal.add(Entry("/x/b.mp4", "b.mp4"), ".s").file == "b_mp4.s"


def test_extensions_are_those_of_containers_that_are_read() -> None:
    known: set[str] = set()
    for name in formats.MEDIA:
        try:
            known |= set(av.ContainerFormat(name, "r").extensions)
        except ValueError:
            continue  # this FFmpeg was built without it
    # Formats whose demuxers name no extension.
    silent = "divx gxf ivf m1v m2t m2ts m2v mpe mpeg mpg mts mxf ogv qt rm rmvb roq ts vob wtv"
    silent += " asf wmv"
    assert set(formats.EXTENSIONS) - known <= {*silent.split()}
    assert {"mp4", "mkv", "webm", "mov", "avi", "ts", "mpg", "wmv"} <= set(formats.EXTENSIONS)


def test_a_pattern_goes_into_no_links_to_folders(tree: Path) -> None:
    (tree / "b" / "up").symlink_to("..")
    assert below("**/*.mp4") == ["a/x.mp4"]
    assert below("**/x.*") == ["a/x.mkv", "a/x.mp4", "b/x.MP4"]
    assert below("b/**") == ["deep/y.webm", "x.MP4"]
    assert below("b/up/**/*.mp4") == ["a/x.mp4"], "a link that is named is taken"
    assert below("**/deep/**/*.webm") == ["b/deep/y.webm"]


def test_a_csv_that_cannot_be_read_is_told(tree: Path) -> None:
    (tree / "list.csv").write_text("path\nx.mp4\n" + "x" * 200_000 + "\n")
    with pytest.raises(ValueError, match=r"list.csv: row 1: field larger than"):
        below("list.csv")
