"""The survey of a video and the picture of it: the right moments, cells and counts."""

from pathlib import Path

import av
import matplotlib.image
import numpy as np
import pytest
import torch

import patchgate
from patchgate.colour import yuv_to_rgb
from patchgate.pipeline import token_chunks
from patchgate.report import picture, survey
from patchgate.report.cells import overlay
from patchgate.report.history import Choice, history_of, telling_frames

SIZE, CELL = (112, 112), 14
GATE = {"size": SIZE, "on_motion": "encode"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """40 lossless frames, 10 a second, on exactly the grid: noise of 8 x 8 cells that stands still.

    From frame 10 on, cell (2, 5) takes another colour in every frame; at frame 20 everything
    changes, once; in frame 30 the two upper rows change.
    """
    path = tmp_path_factory.mktemp("picture") / "clip.mkv"
    random = np.random.default_rng(0)
    scenes = random.integers(40, 200, (2, *SIZE, 3), dtype=np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264rgb", rate=10, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *SIZE, "rgb24"
        for t in range(40):
            shown = scenes[int(t >= 20)].copy()
            if t >= 10:
                shown[2 * CELL : 3 * CELL, 5 * CELL : 6 * CELL] = (t * 37) % 256
            if t == 30:
                shown[: 2 * CELL] = 255 - shown[: 2 * CELL]
            for packet in stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def surveyed(clip, **settings):
    gate = patchgate.Gate(**{**GATE, **settings})
    with patchgate.open_video(clip, chunk=7) as video:
        history = history_of(token_chunks(video, gate.fresh()), 64, None)
        return gate, history, picture.caption_of(str(clip), video, history, gate)


def test_history_counts_what_happens(clip):
    _, history, _ = surveyed(clip)
    want = [64] + [0] * 9 + [1] * 10 + [64] + [1] * 9 + [17, 17] + [1] * 8
    assert history.changed.tolist() == want
    assert history.is_key.nonzero().flatten().tolist() == [0, 20]
    assert history.kept_share[30] == pytest.approx(17 / 64)
    assert history.pts_seconds.tolist() == pytest.approx([t / 10 for t in range(40)])


def test_frames_at_counts_what_open_video_gives(clip):
    _, history, _ = surveyed(clip)
    for fps in (0.5, 2, 3, 50):
        with patchgate.open_video(clip, fps=fps) as video:
            assert history.frames_at(fps) == sum(map(len, video))


def test_telling_frames_are_no_key_frames_and_in_order(clip):
    _, history, _ = surveyed(clip)
    choices = telling_frames(history)
    changes = {choice.label: int(history.changed[choice.frame]) for choice in choices}
    assert changes == {"typical": 1, "busiest": 17, "busy": 17}
    assert [choice.frame for choice in choices] == sorted(choice.frame for choice in choices)


def test_frame_shown_at(clip):
    _, history, _ = surveyed(clip)
    assert [history.frame_shown_at(s) for s in (0, 0.05, 0.1, 3.95)] == [0, 0, 1, 39]
    for outside in (-0.01, 4.01, float("nan")):
        with pytest.raises(ValueError, match="no frame is shown"):
            history.frame_shown_at(outside)


@pytest.mark.parametrize("settings", [{}, {"threshold": 12, "on_motion": "reuse"}])
def test_moments_are_those_of_the_whole_video(clip, settings):
    gate, history, _ = surveyed(clip, **settings)
    tokens = patchgate.tokenize(clip, gate=gate)
    rebuilt = tokens.reconstruct(rgb=True)  # [40, 3, H, W]
    choices = [Choice(frame, "x") for frame in (0, 9, 19, 20, 31)]
    shown = list(survey.moments(clip, gate, choices, chunk=7))
    assert len(shown) == len(choices)
    with patchgate.open_video(clip) as video:
        planes = torch.cat([patchgate.grid.to_grid(batch, SIZE) for batch in video])
    for moment, (frame, _) in zip(shown, choices, strict=True):
        assert moment.pts_seconds == history.pts_seconds[frame]
        assert torch.equal(moment.rebuilt, rebuilt[frame])
        assert torch.equal(moment.original, yuv_to_rgb(planes[frame], tokens.layout.matrix))
        assert torch.equal(moment.kind, tokens.kind[frame])
        assert moment.error <= moment.limit == settings.get("threshold", 4)


def test_largest_error_is_that_of_the_worst_sub_block():
    gate = patchgate.Gate(size=SIZE)
    one = torch.full((2, 3, *SIZE), 100, dtype=torch.uint8)
    other = one.clone()
    other[1, 2, 7:14, 21:28] += 3  # one sub-block of 7 x 7
    other[0, 0, 5, 5] -= 49
    assert survey.largest_error(one, other, gate) == 3
    assert survey.largest_error(one, other, patchgate.Gate(size=SIZE, chroma=False)) == 1


def test_overlay_marks_the_right_cells():
    rgb = torch.full((3, 56, 84), 100, dtype=torch.uint8)
    kind = torch.zeros((4, 6), dtype=torch.uint8)
    kind[1, 2], kind[3, 5] = 2, 1
    marked = overlay(rgb, kind).astype(int)
    colour = {(y, x): marked[14 * y + 7, 14 * x + 7] for y in range(4) for x in range(6)}
    assert np.ptp(colour[0, 0]) == 0, "static cells are grey"
    red, _, blue = colour[1, 2]
    assert red > blue + 60, "changed cells are vermilion"
    red, _, blue = colour[3, 5]
    assert blue > red + 60, "moved cells are blue"
    grey = [cell for cell, rgb in colour.items() if np.ptp(rgb) == 0]
    assert len(grey) == 22


def test_the_picture_shows_the_cells_where_they_are(clip, tmp_path):
    gate, history, caption = surveyed(clip)
    moments = list(survey.moments(clip, gate, [Choice(15, "x"), Choice(30, "y")]))
    figure = picture.draw(history, moments, caption)
    picture.save(figure, tmp_path / "p.png")
    pixels = matplotlib.image.imread(tmp_path / "p.png")[..., :3] * 255  # [H, W, 3]
    assert pixels.shape[:2] == tuple(round(side * 120) for side in figure.get_size_inches()[::-1])
    for number, want in ((0, {(2, 5)}), (1, {(2, 5)} | {(y, x) for y in (0, 1) for x in range(8)})):
        axes = figure.axes[2 * 2 + number]  # the last of three rows of two
        seen = {
            (y, x)
            for y in range(8)
            for x in range(8)
            if np.ptp(_pixel(pixels, axes, x * CELL + 6.5, y * CELL + 6.5)) > 60
        }
        assert seen == want


def _pixel(pixels, axes, x, y):
    dpi_scale = 120 / axes.figure.dpi
    column, row = axes.transData.transform((x, y)) * dpi_scale
    return pixels[round(len(pixels) - row), round(column)]


@pytest.mark.parametrize(("count", "name"), [(1, "a.jpg"), (3, "b.pdf"), (8, "c.svg")])
def test_any_number_of_moments_and_any_format(clip, tmp_path, count, name):
    gate, history, caption = surveyed(clip)
    choices = [Choice(frame, "chosen") for frame in range(0, 4 * count, 4)]
    moments = list(survey.moments(clip, gate, choices))
    picture.save(picture.draw(history, moments, caption), tmp_path / name)
    assert (tmp_path / name).stat().st_size > 5000
