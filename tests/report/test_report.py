"""The report: right figures, the right pictures, one file that needs nothing else."""

import base64
import csv
import io
import json
import re
from html.parser import HTMLParser

import clips
import pytest
import torch
from report_clips import GATE, SIZE, dimmed, fade, lossless, story
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.report import page, survey


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


class Page(HTMLParser):
    """What a page refers to, the text of elements with an id, and the rows of its table."""

    def __init__(self, text):
        super().__init__()
        self.text, self.links, self.ids, self.by_id, self.rows = text, [], [], {}, []
        self.tags, self._open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        self.links += [
            values[name] for name in ("src", "href", "srcset", "action") if name in values
        ]
        self.ids += [values["id"]] if "id" in values else []
        self._open.append((tag, values.get("id")))
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        for tag, name in self._open:
            if name:
                self.by_id[name] = self.by_id.get(name, "") + data
            if tag in ("h1", "title"):
                self.by_id[tag] = self.by_id.get(tag, "") + data
        if self._open and self._open[-1][0] in ("th", "td") and self.rows:
            self.rows[-1].append(data.strip())


def rows_of_csv(text):
    """The rows of the file that is part of the page."""
    [link] = re.findall(r'href="data:text/csv;base64,([^"]*)"', text)
    return list(csv.DictReader(io.StringIO(base64.b64decode(link).decode())))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The clip, its page, what --json said, and its tokens."""
    folder = tmp_path_factory.mktemp("report")
    clip = lossless(folder / "story.mkv", story())
    result = run("inspect", clip, "-o", folder / "r.html", *GATE, "--json")
    assert result.exit_code == 0, result.output
    tokens = patchgate.tokenize(clip, size=SIZE)
    return clip, Page((folder / "r.html").read_text()), json.loads(result.stdout), tokens


def test_the_page_needs_nothing_else(made):
    _, shown, _, _ = made
    assert shown.links
    assert all(link.startswith(("data:", "#")) for link in shown.links)
    assert not re.search(r"https?://", shown.text)
    assert not re.search(r"@import|url\((?!#|\$\{)", shown.text)
    assert len(shown.text) < 2_000_000
    assert "default-src 'none'" in shown.text


def test_ids_are_unique_and_stand_ins_are_gone(made):
    _, shown, _, _ = made
    assert len(shown.ids) == len(set(shown.ids))
    assert not re.search(r"#00000\d", shown.text)
    assert "var(--changed)" in shown.text


def test_figures_are_those_of_the_tokens(made):
    _, shown, facts, tokens = made
    frames, dense = tokens.shape.T, tokens.source.numel()
    assert shown.by_id["kept-share"] == f"{tokens.kept_share:.1%}"
    assert shown.by_id["frames"] == str(frames)
    assert shown.by_id["keys"] == str(int(tokens.is_key.sum()))
    after = next(i for i, row in enumerate(shown.rows) if row[:1] == ["from second"])
    ways = {row[0]: [int(n.replace(",", "")) for n in row[1:3]] for row in shown.rows[1:after]}
    assert ways["patchgate"] == [frames, len(tokens)]
    assert ways["dense, every frame"] == [frames, dense]
    assert ways["dense, 1 fps"] == [4, 4 * 64]
    assert ways["dense, 2 fps"] == [8, 8 * 64]
    for fps in (1, 2, 5):
        sampled = patchgate.tokenize(made[0], size=SIZE, fps=fps)
        assert ways[f"patchgate, {fps} fps"] == [sampled.shape.T, len(sampled)]
    assert ways["adjacent-frame gate"] == [frames, facts["adjacent"]["tokens"]]
    assert facts["tokens"] == len(tokens)
    assert facts["adjacent"]["tokens"] == 2 * 64 + 38, "two scenes, and the cell that flickers"


def test_errors_are_those_of_the_reconstruction(made):
    clip, shown, facts, tokens = made
    with patchgate.open_video(clip) as video:
        originals = torch.cat([patchgate.grid.to_grid(batch, SIZE) for batch in video])
    gate, rebuilt = patchgate.Gate(size=SIZE), tokens.reconstruct()
    error = survey.largest_error(originals, rebuilt, gate)
    assert shown.by_id["worst"] == f"{error:.2f}"
    assert facts["largest_sub_block_error"] == error <= 4
    for moment in facts["moments"]:
        at = round(moment["seconds"] * 10)
        want = survey.largest_error(originals[at], rebuilt[at], gate)
        assert moment["largest_sub_block_error"] == want
        assert moment["adjacent_largest_sub_block_error"] <= 20
    assert 18 <= facts["adjacent"]["largest_sub_block_error"] <= 20, "a scene fades by 19 levels"


def test_the_numbers_of_the_plot_are_there_as_a_table_and_as_csv(made):
    _, shown, facts, tokens = made
    rows = rows_of_csv(shown.text)
    cells, count = tokens.source[0].numel(), tokens.shape.T
    assert [float(row["seconds"]) for row in rows] == pytest.approx(tokens.pts_seconds.tolist())
    changed = (tokens.kind == 2).flatten(1).sum(1) / cells
    assert [float(row["changed"]) for row in rows] == pytest.approx(changed.tolist(), abs=1e-6)
    moved = (tokens.kind == 1).flatten(1).sum(1) / cells
    assert [float(row["moved"]) for row in rows] == pytest.approx(moved.tolist(), abs=1e-6)
    assert [int(row["key_frames"]) for row in rows] == tokens.is_key.int().tolist()
    worst = max(float(row["error"]) for row in rows)
    assert worst == pytest.approx(facts["largest_sub_block_error"], abs=1e-4)
    adjacent = max(float(row["adjacent_error"]) for row in rows)
    assert adjacent == pytest.approx(facts["adjacent"]["largest_sub_block_error"], abs=1e-4)
    after = next(i for i, row in enumerate(shown.rows) if row[:1] == ["from second"])
    table = shown.rows[after + 1 :]
    assert 1 < len(table) <= 40
    assert sum(int(row[1].replace(",", "")) for row in table) == count == len(rows)
    assert max(float(row[5]) for row in table) == pytest.approx(worst, abs=0.006)


def test_the_light_is_in_the_plot_the_table_and_the_csv(tmp_path):
    clip = lossless(tmp_path / "dimmed.mkv", dimmed())
    words = (*GATE, "--illumination", "global", "--json")
    result = run("inspect", clip, "-o", tmp_path / "r.html", *words)
    assert result.exit_code == 0, result.output
    shown, facts = Page((tmp_path / "r.html").read_text()), json.loads(result.stdout)
    tokens = patchgate.tokenize(clip, size=SIZE, illumination="global")
    weights = tokens.weights[:, 0, 0].double() / 4096  # of luma
    rows = rows_of_csv(shown.text)
    assert [float(row["gain"]) for row in rows] == pytest.approx(weights[:, 0].tolist(), rel=1e-5)
    assert [float(row["offset"]) for row in rows] == pytest.approx(weights[:, 1].tolist(), rel=1e-5)
    levels = [float(row["mid_grey"]) for row in rows]
    wanted = [128 * (1 - 0.02 * t) for t in range(24)]
    assert levels == pytest.approx(wanted, abs=3)
    assert facts["light"]["least_mid_grey"] == pytest.approx(min(levels), abs=1e-3)
    assert facts["light"]["most_mid_grey"] == 128
    assert (
        facts["light"]["changes"] == int((weights != weights.new_tensor([1, 0])).any(1).sum()) > 5
    )
    after = next(i for i, row in enumerate(shown.rows) if row[:1] == ["from second"])
    assert shown.rows[after][-3:] == ["gain", "offset", "light"]
    assert [float(row[-1]) for row in shown.rows[after + 1 :]] == pytest.approx(levels, abs=0.51)
    assert "var(--light)" in shown.text
    assert "grey 128 of the last key frame" in shown.text


def test_without_illumination_nothing_is_said_of_light(made):
    _, shown, facts, _ = made
    assert facts["light"] is None
    assert set(rows_of_csv(shown.text)[0]) == {
        "seconds", "frames", "changed", "moved", "key_frames", "error", "adjacent_error",
    }  # fmt: skip
    assert "stroke: var(--light)" not in shown.text
    assert "of the last key frame" not in shown.text


def test_the_busiest_moment_is_shown_first(made):
    _, shown, facts, _ = made
    [first] = re.findall(r'value="(\d+)" data-seconds="[^"]*" checked', shown.text)
    assert "busiest" in facts["moments"][int(first)]["label"]


def test_a_models_context_is_in_the_page(tmp_path):
    clip = clips.clip("h264.mp4")
    result = run("inspect", clip, "-o", tmp_path / "r.html", "--grid", "qwen2.5-vl", "--json")
    assert result.exit_code == 0, result.output
    costs, shown = json.loads(result.stdout)["costs"], Page((tmp_path / "r.html").read_text())
    assert "whose context is 128,000 tokens" in shown.text
    [row] = [row for row in costs["rows"] if (row["fps"], row["way"]) == (2.0, "gate")]
    [seen] = [row for row in shown.rows if row[0] == "patchgate, 2 fps"]
    assert seen[1:4] == [
        str(row["frames"]), f"{row['tokens']:,}", f"{row['tokens'] / 128_000:.1%}",
    ]  # fmt: skip


def test_moments_are_bounded_and_hold_the_telling_ones(made):
    _, shown, facts, _ = made
    labels = " ".join(moment["label"] for moment in facts["moments"])
    assert page.MOMENTS <= len(facts["moments"]) <= page.MOMENTS + 1
    for label in ("first frame", "key frame", "busiest", "most drift"):
        assert label in labels
    assert sum(name.startswith("moment-") for name in shown.ids) == len(facts["moments"])


def test_asked_moments_are_shown(made, tmp_path):
    clip, *_ = made
    result = run("inspect", clip, "-o", tmp_path / "r.html", *GATE, "--at", 0.75, "--json")
    moments = json.loads(result.stdout)["moments"]
    assert "chosen" in {moment["label"] for moment in moments if moment["seconds"] == 0.7}


def test_names_are_text_not_markup(tmp_path):
    name = "<img src=x onerror=alert(1)>&amp;'\"{{ 7*7 }}.mkv"
    clip = lossless(tmp_path / name, fade(3))
    result = run("inspect", clip, "-o", tmp_path / "r.html", *GATE)
    assert result.exit_code == 0, result.output
    shown = Page((tmp_path / "r.html").read_text())
    assert shown.by_id["h1"] == name
    assert shown.by_id["title"].startswith(name)
    assert "x" not in shown.links
    assert shown.tags.count("script") == 1


@pytest.mark.parametrize(
    "words",
    [[], ["-o", "p.bmp"], ["-o", "r.html", "--overlay", "o.gif"], ["--overlay", "o"]],
)
def test_wrong_usage(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    result = run("inspect", clips.clip("h264.mp4"), *words)
    assert result.exit_code == 2, result.output
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be_written(tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(clips.clip("h264.mp4").read_bytes())
    (tmp_path / "d.html").mkdir()
    for words, message in (
        (["-o", tmp_path / "no" / "r.html"], "no such folder"),
        (["-o", tmp_path / "d.html"], "not a file"),
        (["-o", tmp_path / "r.html", "--overlay", clip], "the video itself"),
        (["-o", tmp_path / "r.html", "--overlay", tmp_path / "no" / "o.mp4"], "no such folder"),
        (["-o", tmp_path / "r.html", "--at", 99], "no frame is shown"),
    ):
        result = run("inspect", clip, *words, "--size", "42,56")
        assert result.exit_code == 1, result.output
        assert message in result.stderr
    assert clip.read_bytes() == clips.clip("h264.mp4").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "d.html"}


def test_the_command_is_shown_as_typed(tmp_path):
    clip = clips.clip("h264.mp4")
    run("inspect", clip, "-o", tmp_path / "a b.html", "--size", "42,56", "--no-chroma", "--at", 0.5)
    text = (tmp_path / "a b.html").read_text()
    command = re.search(r"<pre><code>(.*)</code></pre>", text)[1]
    assert command.startswith(f"patchgate inspect {clip} ")
    for words in ("--size 42,56", "--no-chroma", "--at 0.5", "a b.html&#39;"):
        assert words in command
    assert "colour is not compared" in text
    assert patchgate.__version__ in text
