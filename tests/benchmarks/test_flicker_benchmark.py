"""benchmarks/flicker.py: what disturbs a picture, what is counted, and what is made of it."""

import json
from pathlib import Path

import disturbed
import flicker
import harness
import pytest
import torch

from patchgate.gate import CHANGED, STATIC


def row(disturbance: str = "none", words: float | str = "", **tokens: int) -> flicker.Row:
    counts = {label: tokens.get(label, 100) for label in flicker.SETTINGS}
    seen = {f"words, {label}": words for label in flicker.SETTINGS}
    return {"clip": "a.mp4", "disturbance": disturbance, "frames": 9, "cells": 468, **counts,
            **seen, "key frames": "", "their tokens": ""}  # fmt: skip


def test_words_appear_where_it_is_said() -> None:
    drawn = disturbed.desk(26)
    before, after = drawn.planes[:-1], drawn.planes[1:]
    same = (before == after).all(1)  # [T, H, W]
    cells = same.unflatten(2, (-1, 14)).unflatten(1, (-1, 14)).all(4).all(2)  # [T, h, w]
    assert drawn.written.flatten(1).any(1).nonzero().flatten().tolist() == [5, 15, 25]
    assert bool((~cells <= drawn.written[1:]).all()), "nothing else changes"
    assert float((~cells)[drawn.written[1:]].double().mean()) > 0.9


@pytest.mark.parametrize("name", disturbed.DISTURBED)
def test_every_disturbance_keeps_the_shape_and_most_change_something(name: str) -> None:
    planes = disturbed.desk(32).planes
    found = disturbed.DISTURBED[name](planes)
    assert found.shape == planes.shape
    assert found.dtype == torch.uint8
    assert torch.equal(found, planes) == (name == "none")
    assert torch.equal(found, disturbed.DISTURBED[name](planes)), "twice the same"


def test_bands_stand_still_where_frames_are_in_step_with_the_mains() -> None:
    planes = disturbed.desk(4).planes
    still, wandering = disturbed.bands(planes, 50, 25), disturbed.bands(planes, 50, 30)
    assert torch.equal(still[0], still[1])
    assert not torch.equal(wandering[0], wandering[1])
    rows = disturbed.bands(torch.full((1, 3, 90, 8), 100, dtype=torch.uint8), 50)[0, 0, :, 0]
    assert int(rows.max()) - int(rows.min()) >= 11, "6 % up and down"


def test_tokens_of_the_codecs_key_frames_are_compared_without_cuts() -> None:
    kind = torch.full((6, 2, 5), STATIC, dtype=torch.uint8)
    kind[0] = kind[4] = CHANGED  # the first frame and a cut
    kind[2, 0, :4] = kind[3, 0, :1] = kind[5, 0, :1] = CHANGED
    keys = torch.tensor([1, 0, 1, 0, 1, 0]).bool()
    assert flicker.at_keys(kind, keys) == {"key frames": 1, "their tokens": 6.0}
    assert flicker.at_keys(kind, torch.zeros(6).bool()) == {}


def test_shares_are_of_the_undisturbed_clip() -> None:
    shaken = row("lamp", 0.5, defaults=300, noise=150)
    first, second = flicker.over([row(words=1.0), shaken])
    assert first["defaults"] == "1.00 (1.00)"
    assert (second["defaults"], second["noise"]) == ("3.00 (0.50)", "1.50 (0.50)")
    (few,) = flicker.over([row(defaults=3, noise=2)])
    assert (few["defaults"], few["noise"]) == ("3 tokens", "2 tokens")


def test_a_rule_is_judged_by_its_worst_row() -> None:
    rows = [row(noise=50, words=0.9), row(noise=130, words=0.7), row(defaults=3, noise=9)]
    found = {each["setting"]: each for each in flicker.judged(rows)}
    noise = found["noise"]
    assert (noise["least"], noise["most"], noise["words, least"]) == ("0.50", "1.30", "0.70")
    assert (noise["fewer tokens in"], noise["more in"], noise["of"]) == (1, 1, 2)
    assert found["hysteresis"]["fewer tokens in"] == found["hysteresis"]["more in"] == 0


def test_all_clips_are_counted_and_some_are_disturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATCHGATE_CLIPS", raising=False)
    wanted = flicker.tasks(8, 9)
    assert len(set(wanted)) == len(wanted)
    assert {Path(clip).name for clip, *_ in wanted} == {
        flicker.DESK, *(path.name for path in harness.clips())}  # fmt: skip
    book = [task for task in wanted if "asl_book" in task[0]]
    assert [name for _, name, _ in book] == list(disturbed.DISTURBED)


def test_it_writes_counts_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grain beyond the limit makes all cells new but with ``noise``; a lamp but with the light."""
    book = str(harness.SHIPPED / "asl_book.mkv")
    names = ("none", "grain, sigma 4", "flicker of the whole frame, 5 %")
    tasks = [(clip, name, 12) for clip in (flicker.DESK, book) for name in names]
    monkeypatch.setattr(flicker, "tasks", lambda frames, as_they_are: tasks)
    flicker.main(["--out", str(tmp_path / "f.json"), "--processes", "1"])
    rows = json.loads((tmp_path / "f.json").read_text())["rows"]
    assert [(each["clip"], each["disturbance"]) for each in rows] == [
        (Path(clip).name, name) for clip, name, _ in tasks]  # fmt: skip
    plain, grainy, lamp, _, real_grainy, real_lamp = rows
    assert 0 < plain["defaults"] < 100
    assert plain["words, defaults"] > 0.8
    for noisy in (grainy, real_grainy):
        assert noisy["noise"] < 0.5 * noisy["defaults"]
    for dark in (lamp, real_lamp):
        assert dark["illumination"] < 0.5 * dark["defaults"]
    page = (tmp_path / "f.md").read_text()
    for heading in (f"## {flicker.DESK}", "## asl_book.mkv", "## Clips as they are",
                    "## Which rule helps"):  # fmt: skip
        assert heading in page.splitlines()
    assert "| asl_book.mkv | 12 |" in page
