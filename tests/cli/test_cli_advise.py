"""``patchgate advise``: it prints what ``patchgate.advise`` finds."""

import json
import re
from dataclasses import asdict

import clips
import pytest
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app

SMALL = ("--size", "42,56")


def run(*words):
    return CliRunner().invoke(app, ["advise", *map(str, words)])


def facts_of(*words):
    done = run(*words, *SMALL, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_it_prints_what_the_library_finds():
    clip = clips.clip("h264.mp4")
    facts = facts_of(clip, "--threshold", 3, "--target", 0.95)
    found = patchgate.advise(clip, target=0.95, gate=patchgate.Gate(threshold=3, size=(42, 56)))
    assert facts["options"] == [
        {"name": found.name(each), **asdict(each), "score": each.score} for each in found.options
    ]
    assert facts["options"][0]["settings"] == {"threshold": 3}
    assert facts["gate"]["threshold"] == 3
    assert facts["advice"] == found.recommendation
    assert facts["best"]["name"] == found.name(found.best)
    assert (facts["frames"], facts["cells"], facts["target"]) == (40, [3, 4], 0.95)
    assert facts["warnings"] == []


def test_a_part_of_the_video():
    clip = clips.clip("h264.mp4")
    facts = facts_of(clip, "--start", 0.4, "--seconds", 0.6, "--threads", 1)
    assert facts["frames"] == 15
    assert facts["seconds"] == pytest.approx(0.6)
    assert facts_of(clip, "--end", 0.6, "--chunk", 4)["frames"] == 15
    assert facts_of(clip, "--fps", 12.5)["frames"] == 20


def test_a_target_out_of_reach_has_no_best():
    facts = facts_of(clips.clip("h264.mp4"), "--target", 1)
    assert facts["best"] is None
    assert "take every frame whole" in facts["advice"]


def test_for_a_person_there_is_a_table_and_one_sentence():
    done = run(clips.clip("h264.mp4"), *SMALL)
    assert done.exit_code == 0
    assert done.stderr == ""
    lines = [line.strip() for line in done.stdout.splitlines()]
    for name in ("threshold=4", "every 10th frame", "every 2nd frame, threshold=4"):
        [row] = [line for line in lines if re.match(rf"{name} +\d", line)]
        assert len(re.findall(r"[\d.]+%", row)) == 2
    assert lines[-1].startswith("advice")
    for word in ("kept", "tokens/s", "work", "error", "changed", "worst", "limit", "no tower"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "2"], "target: expected 0..1 of the score, got 2.0"),
        (["--target", "0"], "target: expected more than 0, got 0"),
        (["--target", "nan"], "target: expected 0..1"),
        (["--seconds", "0"], "seconds: expected more than 0"),
        (["--seconds", "-1"], "seconds: expected 0.."),
        (["--threshold", "nan"], "threshold: expected"),
        (["--tower", "vit"], "No such option"),
    ],
)
def test_wrong_usage_is_named(words, message):
    done = run(clips.clip("h264.mp4"), *words)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_clip_that_is_too_short_is_told_in_one_line():
    done = run(clips.clip("h264.mp4"), *SMALL, "--seconds", 0.2)
    assert done.exit_code == 1
    assert "expected at least 12 frames" in done.stderr
    assert len(done.stderr.splitlines()) == 1
