"""benchmarks/pretrained: the page of a small JSON, and what it says is lost."""

import json
import math
import re
from pathlib import Path

import pytest
from plots import OURS
from pretrained import losses, page, summary
from pretrained.ladder import DEFAULTS
from pretrained_cases import CLIPS, SCENES, row

SOURCE = {
    "date": "2026-01-02", "commit": "abc", "command": "python run.py", "cpu": "a CPU", "cores": 2,
    "threads": 2, "torch": "2.13.0", "seconds": 12, "highest load": 0.5,
}  # fmt: skip


def test_errors_beside_sampling_at_equal_work() -> None:
    found = {each["method"]: each for each in summary.against(CLIPS)}
    assert found[DEFAULTS.name]["changed / sampled"] == pytest.approx(1.5)
    # At a work of 0.125, a line in logarithms from (0.1, 0.08) to (0.5, 0.02).
    at = 0.08 * (0.02 / 0.08) ** (math.log(1.25) / math.log(5))
    assert found["patchgate, tolerance=0.3"]["changed / sampled"] == pytest.approx(0.04 / at)
    assert found["dense"]["changed / sampled"] is None
    assert found["RLT, residual, 0.1"]["cls / sampled"] is None
    assert found["RLT, residual, 0.1"]["every / sampled"] is not None


def test_errors_of_nothing_are_not_compared() -> None:
    assert summary.ratio(1e-7, 1e-9) is None
    assert summary.ratio(0.001, 0.0) == pytest.approx(0.001 / summary.NOTHING)
    assert summary.ratio(None, 0.1) is None


def test_medians_over_clips() -> None:
    three = [
        row(OURS, "m", work, work, clip=clip) for clip, work in zip("abc", (1, 3, 2), strict=True)
    ]
    three[0]["cls"] = None
    (found,) = summary.medians(three)
    assert (found["work"], found["clips"], found["clip"], found["cls"]) == (2, 3, "median", 2.5)
    assert found["method"] == "m"


def test_medians_are_of_the_same_clips() -> None:
    rows = [row(OURS, name, 0.5, 0.1, clip=clip) for clip in "abc" for name in ("m", "n")]
    assert summary.alike(rows) == [rows]
    more = [row(OURS, "more", 0.5, 0.1, clip=clip) for clip in "ac"]
    every, closely = summary.alike([*rows, *more])
    assert every == rows
    assert {each["clip"] for each in closely} == {"a", "c"}
    assert [each["clips"] for each in summary.medians(closely)] == [2, 2, 2]
    only = row(OURS, "only", 0.5, 0.1, clip="b")
    assert summary.alike([*rows, *more, only]) == [rows]  # no clip has all


def test_a_peer_is_ahead_where_our_curve_errs_more_at_its_work() -> None:
    (found,) = summary.ahead(CLIPS, OURS, ["Eventful", "RLT, residual"])
    assert found["method"] == "Eventful, 0.25"
    assert found["ours / peer"] == pytest.approx(math.sqrt(0.03 * 0.04) / 0.01)


def test_what_is_lost_is_said() -> None:
    lost = losses.of(summary.against(CLIPS), summary.marks(SCENES))
    said = "\n".join(lost)
    assert "ours errs more over cells that changed most than the dense tower on every k-th" in said
    assert "at equal work in 1 of 1: a.mkv at 224 px (1.50 x)." in said
    assert "Slower than the dense tower in 1 of 4 runs of ours: a.mkv at 224 px, " in said
    assert "patchgate, threshold=2 (1.20 of its time)." in said
    assert "less than 0.8 of the counted saving is felt as time in 1 of 1" in said
    assert (
        "Eventful errs less over changed cells than our tolerances at equal work in 1 of 1" in said
    )
    assert "J of the task with truth is more than 0.01 below the dense tower's in 1 of 1" in said
    assert "STC" not in said
    assert "RLT" not in said
    assert "Fewer frames" not in said


def test_only_the_worst_of_many_are_named() -> None:
    many = [row(OURS, "m", 0.5, 0.1, clip=f"clip{i}", time=1 + i / 10) for i in range(1, 9)]
    (said,) = losses._times(many)
    assert "in 8 of 8" in said
    assert said.index("clip8") < said.index("clip7")
    assert "clip1 " not in said
    assert said.endswith("and 2 more.")


def test_where_nothing_is_lost_nothing_is_said() -> None:
    little = dict.fromkeys(("changed", "every", "cls", "saliency"), 1e-4) | {"time": 0.5}
    families = ("dense", "dense, every k-th frame, held", OURS)
    clips = [each | (little if each["method"] == DEFAULTS.name else {})
             for each in CLIPS if each["family"] in families]  # fmt: skip
    scenes = [each | {"j": 0.8} for each in SCENES]
    assert losses.of(summary.against(clips), summary.marks(scenes)) == []


def test_the_page_is_written_of_the_json(tmp_path: Path) -> None:
    both = [each | {"side": side} for side in (224, 448) for each in CLIPS]
    content = {"provenance": SOURCE, "rows": {"clip": both, "scene": SCENES}}
    (tmp_path / "pretrained.json").write_text(json.dumps(content))
    path = page.publish(tmp_path)
    text = path.read_text()
    assert text.index("## What we lose on") < text.index("## At the defaults")
    assert "2026-01-02, commit abc, `python run.py`, a CPU" in text
    assert "It took 12 s" in text
    assert "| a.mkv | 448 | 0.250 | 0.500 | 1.43 | 0.71 | 0.0300 | 0.0300 | 0.0200 | 1.50 |" in text
    assert "| b over a | 224 | 48 | 0.800 | -0.050 | 0.300 |" in text
    assert "| dense, every 2 | 0.500 | +0.020 | +0.020 |" in text
    assert "nan" not in text
    assert "None" not in text
    pictures = re.findall(r"\]\((\S+\.png)\)", text)
    assert sorted(pictures) == ["pretrained.png", "pretrained_224.png", "pretrained_448.png"]
    assert all((tmp_path / each).stat().st_size > 1000 for each in pictures)


def test_a_page_of_no_scenes(tmp_path: Path) -> None:
    content = {"provenance": SOURCE, "rows": {"clip": CLIPS, "scene": []}}
    (tmp_path / "pretrained.json").write_text(json.dumps(content))
    assert "(nothing measured)" in page.publish(tmp_path).read_text()
