"""The parts of the report: adjacent gate, choice of moments, cells, arrows, images."""

import base64
from dataclasses import replace

import clips
import numpy as np
import pytest
import torch
from report_clips import CELL, SIZE, fade, lossless

import patchgate
from patchgate.report import cells, images, numbers, page, survey
from patchgate.report.adjacent import AdjacentGate
from patchgate.report.comparison import Compared, compare
from patchgate.report.history import Choice, History, strip_frames
from patchgate.report.survey import Moment, Spot


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


def test_mid_grey_begins_anew_with_a_key_frame():
    seen = replace(
        history([64, 0, 3, 64, 1]),
        weights=torch.tensor([[1, 0], [0.5, 0], [0.5, 16], [0.25, 0], [1, -8]]).double(),
    )
    assert seen.mid_grey.tolist() == [128, 64, 48, 128, 120]
    assert history([64, 0]).mid_grey is None


def test_rows_of_several_frames_have_their_light_together():
    weights = torch.tensor([[1, 0], [0.5, 4], [0.5, 4], [2, -8]]).double()
    seen, errors = replace(history([64, 0, 0, 0]), weights=weights), np.zeros(4)
    first, second = numbers.stretches(seen, errors, errors, 2)
    assert first.light == (0.5, 4, (128 + 68) / 2)
    assert second.light == (1, 0, (38 + 68) / 2)


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
