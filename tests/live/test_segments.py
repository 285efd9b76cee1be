"""Tokens of cameras in files of a stretch of time each."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from gate_videos import pan
from gated_cases import flicker
from live_cases import PATIENCE, assert_same_tokens, until
from stream_cases import RULES, gated

import patchgate
from patchgate import FrameBatch, Segments, VideoTokens, read_segments
from patchgate.live.store.index import NAME, folder_name

ALL = {"policy": "all"}


def shown(frames, begin=0):
    for i, frame in enumerate(frames):
        yield frame, (begin + i) * 0.04


def written(folder, frames, cut, tower=None, **options):
    """Watches one camera; every ``cut`` frames begin a segment. Returns what was seen."""
    out = Segments(folder, seconds=1e6, **options)
    counts = [0]

    def due(camera, arrived):
        counts[0] += 1
        return counts[0] > 1 and (counts[0] - 1) % cut == 0

    out.due = due
    size = {} if tower is not None else {"size": (28, 28)}
    with (
        out,
        patchgate.watch({"a": shown(frames)}, tower, opening=ALL, output=out, **size) as watch,
    ):
        return list(watch)


@pytest.mark.parametrize("with_tower", [False, True])
def test_each_segment_is_what_its_frames_alone_give(tmp_path, with_tower):
    tower = gated("siglip", **RULES["watched"]) if with_tower else None
    frames = flicker(12, 1) if with_tower else pan((28, 28), 12, (1, 2), 0, 3)
    seen = written(tmp_path, frames, 5, tower)
    assert [i for i, each in enumerate(seen) if each.restart] == [5, 10]
    store = read_segments(tmp_path)
    assert store.cameras == ["a"]
    segments = store.segments()
    assert [each.frames for each in segments] == [5, 5, 2]
    for number, segment in enumerate(segments):
        part = list(shown(frames))[5 * number : 5 * number + 5]
        size = {} if with_tower else {"size": (28, 28)}
        tokenizer = patchgate.Tokenizer(tower, **size)
        want = tokenizer.joined([tokenizer.push(FrameBatch.from_rgb(p, [s])) for p, s in part])
        got = VideoTokens.load(segment.path)
        if with_tower:
            torch.testing.assert_close(got.features, want.features, atol=1e-10, rtol=1e-10)
            got.features = want.features
        assert_same_tokens(got, want)
        assert segment.tokens == len(want)
        assert (segment.begin_seconds, segment.end_seconds) == (part[0][1], part[-1][1])
        assert abs(segment.begin_unix - time.time()) < 3600
        if not with_tower:
            assert got.reconstruct().shape[0] == len(part)


def test_it_is_searched_by_time_and_cut(tmp_path):
    """Twelve frames that arrive 40 ms apart, on a camera whose clock is 500 s ahead."""
    frames, begin = flicker(12, 2)[..., :28, :28].contiguous(), time.monotonic() - 100
    with Segments(tmp_path) as out:
        for i, frame in enumerate(frames):
            if i % 4 == 0:
                tokenizer = patchgate.Tokenizer(size=28)
            chunk = tokenizer.push(FrameBatch.from_rgb(frame, [500 + i * 0.04]))
            layout = patchgate.TokenLayout(14, 3)
            out.add("a", chunk, layout, begin + i * 0.04, restart=i % 4 == 0)
    store = read_segments(tmp_path)
    first, second, third = store.segments("a")
    assert [each.begin_seconds for each in (first, second, third)] == [500.0, 500.16, 500.32]
    assert second.begin_unix - first.begin_unix == pytest.approx(0.16, abs=0.01)
    middle = second.begin_unix + 0.02
    assert store.segments("a", start=third.begin_unix - 1e-3) == [third]
    assert store.segments("a", start=middle, end=middle + 1e-3) == [second]
    assert store.segments(end=first.begin_unix) == []
    assert store.segments("b") == []
    assert [tokens.shape.T for tokens in store.tokens("a")] == [4, 4, 4]
    one, other = store.tokens("a", start=second.begin_unix + 0.07, end=third.begin_unix + 0.05)
    assert one.pts_seconds.tolist() == [500.2, 500.24, 500.28]  # the one that is shown at the start
    assert other.pts_seconds.tolist() == [500.32, 500.36]
    with pytest.raises(ValueError, match=r"expected a moment after start=5"):
        store.segments(start=5, end=5)


def test_it_is_read_while_it_grows(tmp_path):
    over, out = threading.Event(), Segments(tmp_path, seconds=0.05)

    def endless():
        for i in range(100_000):
            yield torch.full((3, 28, 28), i % 200, dtype=torch.uint8), i * 0.04
            if over.wait(0.005):
                return

    with out, patchgate.watch({"a": endless(), "b": endless()}, size=28, output=out) as watch:
        reader = threading.Thread(target=watch.run)
        reader.start()
        until(lambda: (tmp_path / NAME).exists())
        store = read_segments(tmp_path)
        until(lambda: all(len(store.segments(name)) > 3 for name in "ab"))
        for segment in store.segments():
            VideoTokens.load(segment.path)
        over.set()
        reader.join(PATIENCE)
    last = store.segments("a")
    assert all(a.end_unix < b.begin_unix for a, b in pairwise(last))
    assert set(watch.stats) == {"a", "b"}


def test_a_full_disk_loses_its_segment_and_nothing_else(tmp_path, monkeypatch):
    save, events = VideoTokens.save, []
    full = [True]

    def fails(self, path):
        if full[0] and len(read_segments(tmp_path).segments()) == 1:
            full[0] = False
            raise OSError(28, "No space left on device")
        save(self, path)

    monkeypatch.setattr(VideoTokens, "save", fails)
    seen = written(tmp_path, flicker(12, 3)[..., :28, :28].contiguous(), 4,
                   on_event=lambda name, event: events.append((name, event)))  # fmt: skip
    assert len(seen) == 12
    assert [segment.begin_seconds for segment in read_segments(tmp_path).segments()] == [0.0, 0.32]
    [(name, event)] = events
    assert (name, event.what) == ("a", "disk")
    assert "No space left on device" in event.text


def test_an_index_that_cannot_be_written_is_made_up_for(tmp_path, monkeypatch):
    from patchgate.live.store import index

    enter, events, broken = index.Index.enter, [], [True]

    def fails(self, segments):
        if broken[0] and segments:
            broken[0] = False
            raise OSError("full")
        enter(self, segments)

    monkeypatch.setattr(index.Index, "enter", fails)
    written(tmp_path, flicker(8, 3)[..., :28, :28].contiguous(), 4,
            on_event=lambda name, event: events.append(event.text))  # fmt: skip
    assert events == ["a segment could not be written: full"]
    assert [segment.frames for segment in read_segments(tmp_path).segments()] == [4, 4]


def test_a_slow_disk_is_told_and_nothing_waits_for_it(tmp_path, monkeypatch):
    save, events, free = VideoTokens.save, [], threading.Event()
    monkeypatch.setattr(VideoTokens, "save", lambda s, path: (free.wait(30), save(s, path)))
    out = Segments(tmp_path, seconds=1e6, on_event=lambda *e: events.append(e))
    out.due = lambda camera, arrived: True
    frames = flicker(12, 1)[..., :28, :28].contiguous()
    with patchgate.watch({"a": shown(frames)}, size=28, opening=ALL, output=out) as watch:
        assert len(list(watch)) == 12
    assert any("the disk is too slow" in event.text for _, event in events)
    free.set()
    out.close()
    assert 4 <= len(read_segments(tmp_path).segments()) < 12


def test_what_a_crash_has_left_without_an_entry_is_found(tmp_path):
    written(tmp_path, flicker(8, 3)[..., :28, :28].contiguous(), 4)
    with sqlite3.connect(tmp_path / NAME) as file:
        file.execute("delete from segments where begin_seconds > 0")
    (tmp_path / "a" / "7.safetensors").write_bytes(b"half")
    assert len(read_segments(tmp_path).segments()) == 1
    Segments(tmp_path).close()
    first, second = read_segments(tmp_path).segments()
    assert (second.camera, second.frames, second.begin_seconds) == ("a", 4, 0.16)
    assert second.begin_unix >= first.end_unix


CRASH = """
import sys, os, torch, patchgate
def endless():
    i = 0
    while True:
        yield torch.full((3, 28, 28), i % 200, dtype=torch.uint8), i * 0.04
        i += 1
out = patchgate.Segments(sys.argv[1], seconds=0.02)
for seen in patchgate.watch({"a": endless()}, size=28, output=out):
    if len(patchgate.read_segments(sys.argv[1]).segments()) > 3:
        os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_whole_segments(tmp_path):
    done = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path)], timeout=300)
    assert done.returncode == -9
    Segments(tmp_path).close()
    store = read_segments(tmp_path)
    files = sorted((tmp_path / "a").glob("*.safetensors"))
    assert [segment.path for segment in store.segments()] == files
    assert len(files) > 3
    for path in files:
        VideoTokens.load(path)


@pytest.mark.parametrize("name", ["a", "front door", "a/b", "..", ".hidden", "ü" * 200, "a_b"])
def test_names_of_folders(name):
    folder = folder_name(name)
    assert folder == Path(folder).name
    assert not folder.startswith(".")
    assert len(folder.encode()) < 100
    assert (folder == name) == (name in ("a", "a_b"))


def test_what_is_no_folder_of_segments(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder of segments: it has no index\.sqlite"):
        read_segments(tmp_path)
    (tmp_path / NAME).write_bytes(b"no database at all, and long enough to be seen" * 100)
    with pytest.raises(ValueError, match="this is no index of segments"):
        Segments(tmp_path)
    with pytest.raises(ValueError, match=r"seconds: expected 0\.001"):
        Segments(tmp_path / "x", seconds=0)
