"""start=, end= and fps=: exactly the frames that slicing a full decode would give."""

from __future__ import annotations

import io

import clips
import numpy as np
import pytest
from decode_cases import VIDEOS, joined, whole
from hypothesis import given, settings
from hypothesis import strategies as st

import patchgate
from patchgate.decode import DecodeWarning

FASTER_THAN_TICKS = 1e-7  # seconds: shorter than any container's tick


def expected(name, start, end):
    """Indices of the frames shown in [start, end), by the definition."""
    _, pts, durations = whole(name)
    until = np.append(pts[1:], pts[-1] + durations[-1])
    shown = np.ones(len(pts), bool) if start is None else until > start
    return np.flatnonzero(shown & (pts < (np.inf if end is None else end)))


def check(name, start, end):
    planes, pts, durations = whole(name)
    wanted = expected(name, start, end)
    assert len(wanted), "the test asked for nothing"
    video = patchgate.open_video(clips.clip(name), start=start, end=end, chunk=5, threads=2)
    got_planes, got_pts, got_durations = joined(video)
    assert got_pts.tolist() == pts[wanted].tolist()
    assert got_durations.tolist() == durations[wanted].tolist()
    for got, want in zip(got_planes, planes, strict=True):
        np.testing.assert_array_equal(got, want[wanted])
    assert not video.problems.damage()


@pytest.mark.parametrize("name", VIDEOS)
def test_every_start_equals_a_slice(name):
    """From every frame, its stamp exactly, just before and in the middle: all GOPs, open ones."""
    _, pts, durations = whole(name)
    for i in range(0, len(pts), 2):
        check(name, pts[i], None)
        check(name, pts[i] + durations[i] / 2, pts[i] + durations[i] * 2)
        if i:
            check(name, pts[i] - FASTER_THAN_TICKS, pts[i])


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(VIDEOS), a=st.floats(0, 0.999), b=st.floats(0, 1))
def test_any_range_equals_a_slice(name, a, b):
    _, pts, durations = whole(name)
    begin, length = pts[0], pts[-1] + durations[-1] - pts[0]
    a, b = sorted((a, b))
    check(name, begin + a * length, begin + b * length + 0.01)


def test_a_start_before_the_video_is_its_first_frame():
    video = patchgate.open_video(clips.clip("late.ts"), start=0.0, end=1.6)
    assert joined(video)[1].tolist() == whole("late.ts")[1][:1].tolist()


def test_a_source_that_cannot_seek_decodes_forward():
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    pipe = Pipe(clips.clip("late.ts").read_bytes())
    _, pts, _ = joined(patchgate.open_video(pipe, start=2.0))
    assert pts.tolist() == whole("late.ts")[1][expected("late.ts", 2.0, None)].tolist()


def test_the_video_iterates_its_range_again():
    video = patchgate.open_video(clips.clip("late.mkv"), start=2.0, end=2.5)
    first, second = joined(video), joined(video)
    assert first[1].tolist() == second[1].tolist()
    np.testing.assert_array_equal(first[0][0], second[0][0])


@pytest.mark.parametrize("span", [{"start": 100.0}, {"end": 1.0}])
def test_a_range_outside_the_video_is_empty_and_told(span):
    with pytest.warns(DecodeWarning, match="no frame lies between"):
        assert list(patchgate.open_video(clips.clip("late.ts"), **span)) == []


def shown_at(name, fps, start):
    """Indices of the frames shown at start + k / fps; stamps are good to a millisecond."""
    _, pts, durations = whole(name)
    until = pts + durations
    first = pts[0] if start is None else max(start, pts[0])
    times = first + np.arange(int((until[-1] - first) * fps) + 2) / fps
    times = times[times < until[-1] - 1e-3]
    return sorted({int(np.flatnonzero(pts - 1e-3 <= time)[-1]) for time in times})


@pytest.mark.parametrize("name", ["h264.mp4", "late.mkv", "vfr.mp4", "vfr.mkv", "vp9.webm"])
@pytest.mark.parametrize("fps", [1.0, 2, 7.5, 10, 12.5, 25, 29.97, 1000])
@pytest.mark.parametrize("after", [None, 0.5])
def test_fps_takes_the_frames_shown_then(name, fps, after):
    start = None if after is None else whole(name)[1][0] + after
    video = patchgate.open_video(clips.clip(name), fps=fps, start=start, chunk=3)
    planes, pts, durations = joined(video)
    wanted = shown_at(name, fps, start)
    assert pts.tolist() == whole(name)[1][wanted].tolist()
    assert durations.tolist() == whole(name)[2][wanted].tolist()
    np.testing.assert_array_equal(planes[0], whole(name)[0][0][wanted])


@pytest.mark.parametrize("name", ["late.mkv", "vp9.webm", "h264.mp4"])
def test_the_native_rate_loses_nothing_to_rounding(name):
    """Matroska rounds to milliseconds: no frame may fall between two rounded stamps."""
    assert joined(patchgate.open_video(clips.clip(name), fps=25))[1].shape == (40,)


def test_thirds_of_a_second_in_milliseconds(tmp_path):
    """24 fps in Matroska: stamps 0, 42, 83, 125 ms. Half the rate is every other frame."""
    path = clips.write(tmp_path / "24.mkv", pts=[round(i * 12_800 / 24) for i in range(24)])
    pts = joined(patchgate.open_video(path))[1]
    assert joined(patchgate.open_video(path, fps=24))[1].tolist() == pts.tolist()
    assert joined(patchgate.open_video(path, fps=12))[1].tolist() == pts[::2].tolist()


@pytest.mark.parametrize(("wrong", "message"), [
    ({"start": float("nan")}, "start: expected"), ({"end": float("inf")}, "end: expected"),
    ({"start": 2.0, "end": 2.0}, "end must lie after start"),
    ({"start": 2.0, "end": 1.0}, "end must lie after start"),
    ({"start": -1.0}, "never from the end"),
    ({"fps": 0}, "fps: expected"), ({"fps": -1}, "fps: expected"), ({"fps": float("nan")}, "fps: "),
    ({"chunk": 0}, "chunk: expected at least 1"),
    ({"threads": 0}, "threads: expected at least 1"), ({"errors": "quiet"}, "errors must be"),
    ({"device": "mps"}, "device"), ({"device": 3.5}, "device")])  # fmt: skip
def test_options_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        patchgate.open_video(clips.clip("h264.mp4"), **wrong)
