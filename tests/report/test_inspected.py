"""patchgate.inspect: the facts of a video or of tokens, as an object, a page, a notebook's view."""

import base64
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import report_clips
from PIL import Image
from stream_cases import MEAN, MODELS, RULES, STD, gated
from token_cases import kept_mask, video_tokens
from typer.testing import CliRunner

import patchgate
from patchgate import Gate, Report, inspect, tokenize
from patchgate.cli import app
from patchgate.gather import PixelSpec, ShortestEdge

FRAMES, SIDE = 40, 112


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report_clips.lossless(tmp_path_factory.mktemp("v") / "story.mkv", report_clips.story())


@pytest.fixture(scope="module")
def seen(clip: Path) -> Report:
    return inspect(clip, size=SIDE)


@pytest.fixture(scope="module")
def of_tokens(clip: Path) -> Report:
    return inspect(tokenize(clip, size=SIDE))


def pictures(view: str) -> list[Image.Image]:
    tree = ElementTree.fromstring(view)
    data = [each.get("src", "").split(",", 1) for each in tree.iter("img")]
    assert all(kind == "data:image/webp;base64" for kind, _ in data)
    return [Image.open(io.BytesIO(base64.b64decode(content))) for _, content in data]


def test_facts_are_those_of_the_command_line(clip: Path, seen: Report, tmp_path: Path) -> None:
    out = tmp_path / "p.png"
    words = ["inspect", str(clip), "-o", str(out), "--size", str(SIDE), "--json"]
    told = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    mine = json.loads(json.dumps(seen.facts))
    for name in ("frames", "tokens", "dense_tokens", "kept_share", "moved_share", "sampled",
                 "key_frame_seconds", "gate", "costs"):  # fmt: skip
        assert mine[name] == told[name], name
    assert mine["frames"] == FRAMES
    assert mine["key_frame_seconds"] == [0.0, 2.0]


def test_tokens_have_the_facts_of_their_video(seen: Report, of_tokens: Report) -> None:
    same = ("frames", "tokens", "dense_tokens", "kept_share", "sampled", "key_frame_seconds")
    assert {n: of_tokens.facts[n] for n in same} == {n: seen.facts[n] for n in same}
    assert of_tokens.history.changed.tolist() == seen.history.changed.tolist()
    assert of_tokens.facts["gate"] == {"temporal_patch": 1, "cell": 14, "motion_precision": 1}


def test_merged_tokens_are_counted_as_they_are(clip: Path) -> None:
    tokens = tokenize(clip, size=SIDE)
    merged = patchgate.merge(tokens, budget=100)
    report = inspect(merged)
    assert report.facts["tokens"] == len(merged)
    assert report.facts["kept_share"] == merged.kept_share < tokens.kept_share


def test_printed_it_says_the_figures(seen: Report) -> None:
    said = repr(seen)
    assert said.startswith("Report of ")
    assert f"tokens: {seen.facts['tokens']:,} for all 40 frames" in said
    assert "tokens, 1 fps: " in said
    assert "after the gate" in said


def test_a_notebook_shows_the_moments(clip: Path, seen: Report, of_tokens: Report) -> None:
    for report in (seen, of_tokens):
        view = report._repr_html_()
        shown = pictures(view)
        assert 1 <= len(shown) <= 3
        assert view == report._repr_html_()
        assert f"{report.facts['tokens']:,} for all 40 frames" in view
        assert "busiest" in view
    # The tokens rebuild what the video shows, up to the gate's limit.
    for one, other in zip(*(pictures(r._repr_html_()) for r in (seen, of_tokens)), strict=True):
        grey = [np.asarray(each.convert("L"), np.int16) for each in (one, other)]
        assert np.abs(grey[0] - grey[1]).mean() < 6
    assert clip.name in seen._repr_html_()


def test_names_are_escaped(tmp_path: Path) -> None:
    path = report_clips.lossless(tmp_path / "<b>&.mkv", report_clips.story(4))
    assert "&lt;b&gt;&amp;.mkv" in inspect(path, size=SIDE)._repr_html_()


@pytest.mark.parametrize("name", ["page.html", "picture.png", "PICTURE.SVG"])
def test_a_video_is_saved_as_a_page_or_a_picture(seen: Report, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("older")
    seen.save(tmp_path / name)
    written = (tmp_path / name).read_bytes()
    heads = {"page.html": b"<!DOCTYPE html>", "picture.png": b"\x89PNG", "PICTURE.SVG": b"<?xml"}
    assert written.startswith(heads[name])
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert seen.facts["moments"]
    if name == "page.html":
        assert b"adjacent" in written


def test_tokens_are_saved_as_a_page(of_tokens: Report, tmp_path: Path) -> None:
    of_tokens.save(tmp_path / "t.html")
    text = (tmp_path / "t.html").read_text()
    assert text.startswith("<!DOCTYPE html>")
    assert of_tokens._repr_html_() in text
    with pytest.raises(ValueError, match=r"ends in \.html, \.htm \(a picture of tokens needs thei"):
        of_tokens.save(tmp_path / "t.png")


def test_tokens_of_a_tower_have_no_pictures(tmp_path: Path) -> None:
    kept = kept_mask(9, (3, 4))
    report = inspect(video_tokens(kept, np_features(int(kept.sum())), fps=10.0))
    assert pictures(report._repr_html_()) == []
    assert report.facts["tokens"] == int(kept.sum())
    report.save(tmp_path / "t.html")


def np_features(count: int) -> Any:
    import torch

    return torch.zeros(count, 5)


@pytest.mark.parametrize(
    "options",
    [{"temporal_patch": 2}, {"motion_precision": 2, "on_motion": "reuse"}, {"chroma": False}],
    ids=str,
)
def test_every_kind_of_tokens_is_shown(clip: Path, options: Any) -> None:
    gate = Gate(size=SIDE, **options)
    for report in (inspect(tokenize(clip, gate=gate)), inspect(clip, gate=gate)):
        assert pictures(report._repr_html_())
    part = tokenize(clip, gate=gate).slice(1.0, 2.5)  # with a start picture
    assert pictures(inspect(part)._repr_html_())


def test_a_towers_grid_is_its_own(clip: Path) -> None:
    tower = gated("siglip", **RULES["kept"])
    report = inspect(clip, tower, threshold=9)
    tokens = tokenize(clip, tower, threshold=9)
    assert report.facts["tokens"] == len(tokens)
    assert report.facts["gate"]["threshold"] == 9
    assert pictures(report._repr_html_())


def test_a_tower_that_crops_is_shown_the_crop(tmp_path: Path) -> None:
    # 112 x 224: the middle 112 x 112, and a little more, stands still, and all beside it flickers.
    frames = [np.full((112, 224, 3), 60 + 90 * (t % 2), np.uint8) for t in range(8)]
    for frame in frames:
        frame[:, 48:176] = 128
    clip = report_clips.lossless(tmp_path / "beside.mkv", frames)
    model = MODELS["siglip"]
    patch, side = model.config.patch_size, model.config.image_size
    spec = PixelSpec(ShortestEdge(side), MEAN, STD, patch, crop=(side, side))
    tower = patchgate.gated(model, spec, context="kept")
    report = inspect(clip, tower)
    tokens = tokenize(clip, tower)
    assert report.facts["tokens"] == len(tokens) == (side // patch) ** 2
    assert pictures(report._repr_html_())
    assert report._moments is not None
    assert report._moments[0].original.float().std() == 0  # the flicker is cut away
    page = tmp_path / "p.html"
    report.save(page)
    assert report.facts["adjacent"]["tokens"] == len(tokens)


def test_bytes_and_a_part_of_a_video(clip: Path, seen: Report) -> None:
    assert inspect(clip.read_bytes(), size=SIDE).facts["tokens"] == seen.facts["tokens"]
    part = inspect(clip, size=SIDE, start=1.0, end=2.0, fps=5)
    assert part.facts["frames"] == 5


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda clip: inspect(clip, size=SIDE, patch=3), TypeError, "inspect: expected options of"),
        (lambda clip: inspect(clip, errors="warn"), TypeError, "inspect: expected options of"),
        (lambda clip: inspect(clip, gate=Gate(), threshold=3), ValueError, "a gate or rules"),
        (lambda clip: inspect("none.mp4"), FileNotFoundError, "none.mp4: no such file"),
        (lambda clip: inspect(np.zeros((2, 28, 28, 3), np.uint8)), TypeError,
         r"got ndarray; frames in memory become tokens first: inspect\(tokenize"),
        (lambda clip: inspect(patchgate.open_video(clip)), TypeError, "got Video"),
        (lambda clip: inspect(tokenize(clip, size=28), fps=2), ValueError,
         "inspect: fps: these belong to a video, got tokens"),
        (lambda clip: inspect(tokenize(clip, size=28), threshold=2), ValueError, "threshold: th"),
        (lambda clip: inspect(video_tokens(kept_mask(1, (2, 2))[:0], np_features(0), 1.0)),
         ValueError, "these tokens have no frame to be shown"),
    ],
)  # fmt: skip
def test_what_cannot_be_inspected_is_refused(
    clip: Path, call: Any, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        call(clip)


def test_a_range_without_frames_is_an_error(clip: Path) -> None:
    with (
        pytest.warns(patchgate.DecodeWarning),
        pytest.raises(ValueError, match="no frame there to be shown"),
    ):
        inspect(clip, size=SIDE, start=50.0)


def test_names_to_save_are_checked(clip: Path, seen: Report, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected a name that ends in \.html.*got .*r\.bmp"):
        seen.save(tmp_path / "r.bmp")
    with pytest.raises(OSError, match="there is no such folder"):
        seen.save(tmp_path / "none" / "r.html")
    page = clip.rename(clip.with_suffix(".html"))
    try:
        report = inspect(page, size=SIDE)
        with pytest.raises(ValueError, match="is the video itself"):
            report.save(page)
    finally:
        page.rename(clip)


def test_importing_patchgate_imports_no_matplotlib() -> None:
    code = "import sys, patchgate; sys.exit('matplotlib' in sys.modules or 'PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
