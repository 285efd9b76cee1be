"""A corpus of small clips: 18 sound ones, a truncated, an empty and a missing one, odd names."""

import shutil
from pathlib import Path
from typing import Any

import clips

from patchgate.corpus.index import read_index

GRID = (28, 42)  # pixels: small, so that decoding is most of the work
ODD = "odd \u00e9\u65e5\n'%d #?.mp4"  # a line break, a quotation mark, what addresses escape
SOUND = 18  # clips that can be read


def make(folder: Path) -> Path:
    """Writes the clips, in two folders that both have a ``same.mp4``; returns the folder."""
    one, two = folder / "one", folder / "two"
    for each in (one, two):
        each.mkdir(parents=True)
    short = clips.write(one / "c00.mp4", frames=8, size=(64, 48))
    for n in range(1, 14):
        shutil.copy(short, one / f"c{n:02}.mp4")
    clips.write(one / "same.mp4", frames=6)
    clips.write(two / "same.mp4", frames=7)
    clips.write(two / "long.mp4", frames=24)
    shutil.copy(short, two / ODD)
    clips.truncated(short, two / "cut.mp4", 0.5)  # its index is missing
    (two / "empty.mp4").write_bytes(b"")
    (two / "notes.txt").write_text("no video")
    (two / "._same.mp4").write_text("what macOS leaves")
    return folder


def inputs(folder: Path) -> list[str]:
    """The folder, and a clip that is not there."""
    return [str(folder), str(folder / "gone.mp4")]


def rows(out: Path, *without: str) -> dict[str, dict[str, Any]]:
    """The rows of the index by id, without what differs from one run to the next."""
    found = {}
    for row in read_index(out):
        for name in ("took_seconds", *without):
            del row[name]
        assert row["id"] not in found, "a video stands in the index twice"
        found[row["id"]] = row
    return found


def contents(out: Path) -> dict[str, bytes]:
    """The bytes of every file of tokens."""
    found = sorted(out.rglob("*.safetensors"))
    return {str(path.relative_to(out)): path.read_bytes() for path in found}
