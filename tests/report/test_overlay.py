"""The overlay: the same frames at the same times, with the cells drawn where they changed."""

import json

import av
import clips
import numpy as np
import pytest
import torch
from report_clips import CELL, GATE, SIZE, lossless, story
from typer.testing import CliRunner

import patchgate
from patchgate.cli import app
from patchgate.report.images import cells_image
from patchgate.report.overlay import OverlayVideo
from patchgate.report.survey import Moment


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def read(path):
    """Frames ``[H, W, 3]`` and times."""
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        frames = [(f.to_ndarray(format="rgb24"), f.time) for f in container.decode(video=0)]
    return [shown for shown, _ in frames], [seconds for _, seconds in frames]


@pytest.mark.parametrize(("name", "suffix"), [("vfr.mp4", ".mov"), ("late.mp4", ".mp4")])
def test_frames_keep_their_times(tmp_path, name, suffix):
    clip, out = clips.clip(name), tmp_path / f"o{suffix}"
    result = run("inspect", clip, "--overlay", out, "--size", "42,56", "--json", "--chunk", 5)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    with patchgate.open_video(clip) as video:
        times = [float(t) for batch in video for t in batch.pts_seconds]
    frames, got = read(out)
    assert got == pytest.approx(times, abs=1e-5)
    assert len(frames) == facts["frames"]
    assert facts["output"] is None
    assert facts["overlay_bytes"] == out.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_matroska_file_rounds_to_its_milliseconds(tmp_path):
    clip = clips.clip("vfr.mkv")
    assert run("inspect", clip, "--overlay", tmp_path / "o.mkv", "--size", 42).exit_code == 0
    with patchgate.open_video(clip) as video:
        times = [float(t) for batch in video for t in batch.pts_seconds]
    assert read(tmp_path / "o.mkv")[1] == pytest.approx(times, abs=1e-3)


def test_pairs_of_frames_are_all_there(tmp_path):
    clip, out = clips.clip("h264.mp4"), tmp_path / "o.mp4"
    words = ("--size", "42,56", "--temporal-patch", 2, "--chunk", 7, "--end", 0.6)
    assert run("inspect", clip, "--overlay", out, *words).exit_code == 0
    assert read(out)[1] == pytest.approx([t / 25 for t in range(15)], abs=1e-5)


def test_changed_cells_are_coloured_and_only_they(tmp_path):
    clip = lossless(tmp_path / "story.mkv", story(12))
    out = tmp_path / "o.mp4"
    result = run("inspect", clip, "--overlay", out, "-o", tmp_path / "r.html", *GATE)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "r.html").stat().st_size > 10_000
    frames, _ = read(out)
    kinds = patchgate.tokenize(clip, size=SIZE).kind.numpy()
    assert {int(count) for count in (kinds == 2).sum((1, 2))} >= {1, 64}
    for shown, kind in zip(frames, kinds, strict=True):
        cell = len(shown) // len(kind)
        for y, x in np.ndindex(*kind.shape):
            if y < 2 and x < 5:
                continue  # below the words in the corner
            middle = shown[y * cell : (y + 1) * cell, x * cell : (x + 1) * cell]
            red, _, blue = middle[cell // 4 : -cell // 4, cell // 4 : -cell // 4].mean((0, 1))
            assert (red - blue > 50) == (kind[y, x] == 2), (y, x)
    assert len(frames[0]) % CELL != 0 or cell > CELL, "larger than the grid"


def test_the_size_is_bounded_and_even(tmp_path):
    clip = clips.write(tmp_path / "odd.mp4", size=(254, 98), frames=3)
    assert run("inspect", clip, "--overlay", tmp_path / "o.mp4", "--size", "42").exit_code == 0
    height, width, _ = read(tmp_path / "o.mp4")[0][0].shape
    assert width == 960
    assert height % 2 == 0
    assert width / height == pytest.approx(254 / 98, rel=0.01)


def test_nothing_is_left_of_a_run_that_failed(tmp_path):
    clip = clips.clip("h264.mp4")
    result = run("inspect", clip, "--overlay", tmp_path / "o.mp4", "--size", 42, "--start", 100)
    assert result.exit_code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("precision", [2, 4])
def test_arrows_are_as_long_as_the_motion_in_pixels(tmp_path, precision):
    gates = [patchgate.Gate(patch=CELL, size=SIZE, motion_precision=n) for n in (1, precision)]
    kind = torch.ones((SIZE[0] // CELL, SIZE[1] // CELL), dtype=torch.uint8)
    pixels = torch.tensor([2, -3], dtype=torch.int8).expand(*kind.shape, 2)
    shown = []
    for gate in gates:
        motion = pixels * gate.settings.motion_precision
        picture = torch.zeros((3, *SIZE), dtype=torch.uint8)
        moment = Moment(1, "", 0.0, picture, picture, kind, motion, None, 4.0)
        drawn = [np.asarray(cells_image(moment, gate, 1.0, 720))]
        with OverlayVideo(tmp_path / "o.mp4", gate, 1.0) as video:
            drawn.append(video._drawn(np.zeros(video._size, np.uint8), kind.numpy(),
                                      motion.numpy(), 0.0))  # fmt: skip
        shown.append(drawn)
    for whole, fine in zip(*shown, strict=True):
        assert np.array_equal(whole, fine)
        assert bool((whole == 255).all(-1).any())  # white: there are arrows
