"""The report: right figures, the right pictures, one file that needs nothing else."""

import base64
import json
import re
from html.parser import HTMLParser

import clips
import numpy as np
import pytest
import torch
from report_clips import CELL, GATE, SIZE, fade, lossless, story
from typer.testing import CliRunner

import patchgate
from patchgate import cells, survey
from patchgate.cli import app
from patchgate.history import Choice, History, strip_frames
from patchgate.report import images, page
from patchgate.report.adjacent import AdjacentGate
from patchgate.report.comparison import Compared, compare
from patchgate.survey import Moment, Spot


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
    ways = {row[0]: [int(n.replace(",", "")) for n in row[1:3]] for row in shown.rows[1:]}
    assert ways["patchgate"] == [frames, len(tokens)]
    assert ways["dense, every frame"] == [frames, dense]
    assert ways["dense, 1 fps"] == [4, 4 * 64]
    assert ways["dense, 2 fps"] == [8, 8 * 64]
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


def plain_adjacent(frames, gate):
    """The textbook rule, cell by cell, in numpy: pictures and emitted cells."""
    limit, cell, side = gate.settings.limit, gate.settings.cell, gate.settings.sub_block
    shown, pictures, emitted = np.zeros_like(frames[0]), [], []
    for t, frame in enumerate(frames.astype(int)):
        h, w = (n // cell for n in frame.shape[-2:])
        sent = np.zeros((h, w), bool)
        for y in range(h):
            for x in range(w):
                here = np.s_[:, :, y * cell : (y + 1) * cell, x * cell : (x + 1) * cell]
                gap = abs(frame[here] - frames[t - 1][here].astype(int)) if t else None
                sent[y, x] = t == 0 or any(
                    gap[f, c, i : i + side, j : j + side].sum() > limit
                    for f in range(gap.shape[0])
                    for c in range(gap.shape[1])
                    for i in range(0, cell, side)
                    for j in range(0, cell, side)
                )
                if sent[y, x]:
                    shown[here] = frame[here]
        pictures.append(shown.copy())
        emitted.append(sent)
    return np.stack(pictures), np.stack(emitted)


@pytest.mark.parametrize(("f", "chunk"), [(1, 1), (1, 3), (1, 9), (2, 4)])
def test_the_adjacent_gate_is_the_plain_loop(f, chunk):
    random = np.random.default_rng(f)
    frames = np.full((9, f, 3, 28, 42), 90) + random.integers(-3, 4, (9, f, 3, 28, 42)).cumsum(0)
    frames[4, :, :, :7, :7] += 60
    frames[6, 0, 2, 20:, 30:] += 9
    frames = frames.clip(0, 255).astype(np.uint8)
    gate = patchgate.Gate(size=(28, 42), temporal_patch=f, threshold=2)
    adjacent = AdjacentGate(gate)
    parts = [adjacent.push(part) for part in torch.from_numpy(frames).split(chunk)]
    pictures, emitted = plain_adjacent(frames, gate)
    assert torch.cat([part.emitted for part in parts]).numpy().tolist() == emitted.tolist()
    assert np.array_equal(torch.cat([part.pictures for part in parts]).numpy(), pictures)
    assert 0 < emitted[1:].mean() < 1


@pytest.mark.parametrize("chunk", [7, 16])
def test_a_slow_fade_drifts_there_and_not_here(tmp_path, chunk):
    clip = lossless(tmp_path / "fade.mkv", fade(60))
    gate = patchgate.Gate(size=SIZE)
    got = compare(clip, gate, [Choice(59, "x")], lambda compared: compared, chunk=chunk)
    assert got.adjacent_tokens == 64, "the first frame, and never again"
    assert got.adjacent_error.tolist() == pytest.approx(list(range(60)), abs=1)
    assert got.error.max() <= 4
    (last,) = got.shots
    assert last.moment.label == "x, most drift"
    assert last.adjacent_worst.error == pytest.approx(59, abs=1)
    assert int(last.adjacent.max()) <= 61
    assert abs(int(last.moment.rebuilt.float().mean()) - 119) <= 4


def test_frames_come_beside_their_chunks(tmp_path):
    clip = clips.clip("h264.mp4")  # 40 frames; with pairs of an odd chunk, frames wait
    gate = patchgate.Gate(size=(42, 56), temporal_patch=2)
    with patchgate.open_video(clip, chunk=7, end=1.5) as video:
        seen = [(c.pts_seconds, torch.cat([b.pts_seconds for b in batches]))
                for c, batches in survey.side_by_side(video, gate)]  # fmt: skip
    frames = torch.cat([times for _, times in seen])
    assert frames.tolist() == pytest.approx([t / 25 for t in range(38)])
    for tubelets, times in seen:
        assert tubelets.equal(times[::2])


def history(changed, seconds=None):
    changed = torch.tensor(changed)
    times = torch.arange(len(changed), dtype=torch.float64) if seconds is None else seconds
    return History(64, times, torch.ones_like(times), changed, torch.zeros_like(changed))


def test_the_strip_covers_the_whole_time():
    changed = [64] + [3] * 98 + [64] + [1] * 100
    changed[150] = 30
    chosen = strip_frames(history(changed), 14, [77])
    frames = [choice.frame for choice in chosen]
    assert len(frames) == 14
    assert frames == sorted(set(frames))
    assert {0, 77, 99, 150} <= set(frames)
    assert np.diff([0, *frames, 199]).max() <= 200 / 14 * 2
    assert {choice.label for choice in chosen} >= {"first frame", "key frame", "busiest", "chosen"}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_short_video_has_a_short_strip(count):
    assert [c.frame for c in strip_frames(history([64] * count), 14)] == list(range(count))


def test_many_cuts_do_not_fill_the_strip():
    labels = [choice.label for choice in strip_frames(history([64, 1, 2] * 40), 14)]
    assert labels.count("key frame") <= 4


def test_arrows_point_where_the_picture_went():
    kind, motion = np.zeros((4, 6), np.uint8), np.zeros((4, 6, 2), np.int8)
    kind[1:3, 2:4], motion[1:3, 2:4] = 1, (0, -8)  # came from the left
    (arrow,) = cells.arrows(kind, motion, (56, 84), CELL, 8, 56)
    assert (arrow.x, arrow.y) == (3 * CELL, 2 * CELL)
    assert arrow.dx == pytest.approx(56)
    assert arrow.dy == 0
    motion[1, 2:4], motion[2, 2:4] = (8, 0), (-8, 0)
    assert not list(cells.arrows(kind, motion, (56, 84), CELL, 8, 56)), "they cancel"
    assert not list(cells.arrows(kind * 0, motion, (56, 84), CELL, 8, 56))


def test_cells_are_drawn_at_any_size():
    kind = np.zeros((4, 6), np.uint8)
    kind[1, 2] = 2
    shown = cells.tinted(np.full((50, 100), 100, np.uint8), kind)
    coloured = np.ptp(shown.astype(int), axis=2) > 0
    assert coloured[13:25, 34:50].all()
    assert coloured.sum() == 12 * 16 or coloured.sum() == 12 * 17


def test_noise_does_not_make_a_large_page():
    noise = torch.randint(0, 256, (3, 3, 784, 784), dtype=torch.uint8)
    kind, motion = torch.zeros((56, 56), dtype=torch.uint8), torch.zeros((56, 56, 2))
    moment = Moment(0, "", 0.0, noise[0], noise[1], kind, motion.to(torch.int8), Spot(9, 0, 0), 4)
    got = images.images_of(Compared(moment, noise[2], Spot(9, 0, 0)), patchgate.Gate(size=784), 1.0)
    assert (page.MOMENTS + 1) * sum(map(len, got)) < 7_500_000
    for uri in got:
        assert base64.b64decode(uri.partition(",")[2])[8:12] == b"WEBP"


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
