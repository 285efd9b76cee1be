"""``patchgate plan``, and the plan in the report."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from patchgate.cli import app
from patchgate.cli.plan_lines import drawn
from patchgate.policies import (
    POLICIES,
    Budget,
    Frames,
    Plan,
    container_frames,
    f2c,
    llava_onevision,
)

BOOK = Path(__file__).parents[2] / "examples" / "clips" / "asl_book.mkv"


def run(*words):
    return CliRunner().invoke(app, ["plan", *(str(word) for word in words)])


def facts_of(*words):
    result = run(BOOK, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def scores(tmp_path):
    path = tmp_path / "s.npy"
    np.save(path, np.random.default_rng(0).random(109))
    return path


def test_it_prints_what_the_library_plans(scores):
    facts = facts_of(
        "--policy", "f2c", "--tokens", 2048, "--scores", scores, "--grid", "llava-onevision"
    )  # fmt: skip
    grid = llava_onevision()
    frames = container_frames(BOOK)
    frames = Frames(**{**vars(frames), "rel": np.load(scores)})
    plan = f2c(frames, Budget(tokens=2048, grid=grid))
    assert [one["frame"] for one in facts["chosen"]] == plan.index.tolist()
    assert [one["tokens"] for one in facts["chosen"]] == plan.cost(grid).tolist()
    assert facts["tokens"] == plan.tokens(grid) <= 2048
    assert facts["full_frame"] == [14, 14]
    assert facts["candidates"] == 109
    assert facts["output"] is None


def test_a_policy_of_the_gates_statistics_decodes():
    facts = facts_of("--policy", "mgsampler", "--frames", 6, "--size", 112, "--fps", 10)
    assert facts["frames"] == 6
    assert facts["candidates"] == 37
    assert facts["chosen"][0]["tokens"] == 64  # 112 / 14 squared: the grid's own


def test_scores_do_in_place_of_statistics_only_where_they_can(scores):
    facts = facts_of("--policy", "slice", "--frames", 6, "--scores", scores)
    assert facts["candidates"] == facts_of("--frames", 6)["candidates"] == 109
    plain = facts_of("--policy", "mgsampler", "--frames", 6, "--size", 56)
    scored = facts_of("--policy", "mgsampler", "--frames", 6, "--size", 56, "--scores", scores)
    assert plain["chosen"] == scored["chosen"]


def test_candidates_follow_the_options_of_reading():
    facts = facts_of("--frames", 200, "--fps", 5, "--start", 1, "--end", 2)
    seconds = [one["seconds"] for one in facts["chosen"]]
    assert len(seconds) == 5
    assert min(seconds) >= 1
    assert max(seconds) < 2


def test_it_draws_where_it_looks():
    frames = Frames(pts=torch.arange(72).double())
    line = drawn(Plan.of(frames, torch.tensor([0, 36, 71])), 0.0, 72.0)
    assert len(line) == 72
    assert [i for i, letter in enumerate(line) if letter == "█"] == [0, 36, 71]
    halves = drawn(Plan.of(frames, torch.tensor([0, 71]), torch.tensor([1.0, 2.0])), 0.0, 72.0)
    assert (halves[0], halves[-1]) == ("█", "▂")
    shown = run(BOOK, "--policy", "kffocus", "--tokens", 700, "--size", 112).stdout
    assert re.search(r"kffocus: \d+ of 109 frames", shown)
    assert re.search(r"ratios .* at 25%, 1 at 100%", shown)


def test_the_report_has_the_plan(tmp_path):
    page = tmp_path / "plan.html"
    result = run(BOOK, "--frames", 5, "--size", 112, "-o", page, "--end", 1, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    text = page.read_text()
    assert facts["output_bytes"] == page.stat().st_size
    (bars, again) = re.findall(r'aria-label="5 frames over time">(.*?)</svg>', text)
    assert bars == again  # for wide and for narrow screens
    lefts = [float(x) for x in re.findall(r'x="([\d.]+)"', bars)]
    assert lefts == sorted(lefts)
    assert len(lefts) == 5
    assert "what the policy <b>uniform</b> looks at" in text
    assert "--frames 5 --output" in text  # the command


def test_the_report_of_inspect_has_none(tmp_path):
    page = tmp_path / "plain.html"
    words = ["inspect", str(BOOK), "-o", str(page), "--size", "112", "--end", "0.5"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert "frames over time" not in page.read_text()


def test_strict_says_that_it_goes():
    result = run(BOOK, "--policy", "apollo", "--frames", 8, "--strict", "--end", 1, "--json")
    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout)["warnings"]
    assert "--strict) is deprecated" in told
    assert "patchgate: warning: strict=True" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--policy", "f2d"], 2, "f2c"),
        (["--policy", "f2c", "--strict"], 2, "one way only"),
        (
            ["--policy", "f2c", "--frames", "4"],
            2,
            "f2c needs a query's score of each frame: --scores",
        ),
        (["--policy", "maxinfo", "--frames", "4"], 2, "--features F.npy"),
        (["--tokens", "100", "--grid", "mine"], 2, "--grid: expected one of"),
        (["--tokens", "100", "--grid", "qwen3-vl", "--rounding", "mine"], 2, "rounding"),
        (["-o", "plan.png"], 2, ".html"),
        (["--frames", "0"], 2, "frames"),
        (["--scores", str(BOOK)], 1, "not a numpy file"),
        (["--scores", "no such.npy"], 1, "no such.npy"),
    ],
)
def test_wrong_usage_and_bad_input(words, code, says):
    result = run(BOOK, *words)
    assert result.exit_code == code
    said = " ".join(re.sub(r"[^\x20-\x7e]", " ", result.output + result.stderr).split())
    assert says in said


def test_scores_of_another_length_are_refused(tmp_path):
    np.save(tmp_path / "s.npy", np.ones(10))
    result = run(BOOK, "--policy", "date", "--frames", 4, "--scores", tmp_path / "s.npy")
    assert result.exit_code == 1
    assert "[109]" in result.stderr


def test_every_policy_is_listed_in_a_plain_line_with_what_it_needs():
    done = run("--policies")
    assert done.exit_code == 0, "and no video is needed"
    head, *lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(POLICIES)
    for line, named in zip(lines, POLICIES.values(), strict=True):
        assert line.endswith(named.says)
        middle = line[: -len(named.says)]
        assert ("--scores" in middle) == ("rel" in named.needs or named.or_scores)
        assert ("--features" in middle) == ("feat" in named.needs)
    assert "needs" in head


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_without_what_it_needs_is_refused_with_the_option_that_gives_it(name):
    """And the others run: the list above says the truth."""
    needs = {"rel": "--scores", "feat": "--features"}.keys() & set(POLICIES[name].needs)
    result = run(BOOK, "--policy", name, "--frames", 3, "--size", 56, "--end", 0.5, "--no-costs")
    assert result.exit_code == (2 if needs else 0), result.output


def test_an_unknown_policy_lists_all_the_nearest_first():
    said = " ".join(run(BOOK, "--policy", "unform").output.replace("│", " ").split())
    listed = re.search(r"expected one of (.*); got 'unform'", said)[1].split(", ")
    assert listed[0] == "uniform"
    assert set(listed) == set(POLICIES)


def test_the_page_of_policies_has_the_same_lines():
    """docs/policies.md lists them as the command does."""
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
    for name, named in POLICIES.items():
        assert f"| `{name}` | {named.says} |" in page, name
