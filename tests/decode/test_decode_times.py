"""True times: one bad stamp moves nothing else, and a part is a part of the whole."""

from __future__ import annotations

import functools
import io
import warnings
from fractions import Fraction
from itertools import pairwise

import clips
import numpy as np
import odd_clips
import pytest
from decode_cases import joined
from hypothesis import given, settings
from hypothesis import strategies as st

import patchgate
from patchgate.decode import DecodeError, DecodeWarning, Limits, Problems
from patchgate.decode.packets.clock import Clock, Mender
from patchgate.decode.timeline import timed
from patchgate.policies import container_frames


class Stamp:
    def __init__(self, pts, dts=None, duration=0):
        self.pts, self.dts, self.duration = pts, dts, duration


class Known:
    """Knows all stamps, as where a file is read ahead; pictures are decoded as they are shown."""

    def __init__(self, stamps):
        self.left = list(stamps)

    def undercuts(self, stamp):
        return any(k is not None and k <= stamp for k in self.left[:6])

    def later(self, packets):
        return (), self.left[:packets]


def mended(stamps, *, known=True, limits=None):
    """Ticks of 10 ms that become of stamps of pictures 40 ms apart, and what was wrong."""
    problems = Problems()
    mender = Mender(Clock(Fraction(1, 100), 4), problems, limits or Limits())
    follows, ticks = Known(stamps), []
    for stamp in stamps:
        follows.left.pop(0)
        ticks.append(mender.stamp(Stamp(stamp), *([follows] if known else [])))
    return ticks, problems


DAY = 8_640_000  # ticks


@pytest.mark.parametrize(("stamps", "ticks"), [
    ([0, 4, 4, 12, 16], [0, 4, 8, 12, 16]),  # one came twice in place of its own
    ([0, 4, 8, 8, 12, 16], [0, 4, 8, 10, 12, 16]),  # one is there that is no other's
    ([0, 8, 4, 12, 16], [0, 8, 10, 12, 16]),  # two changed places
    ([0, 4, 10**8, 12, 16], [0, 4, 8, 12, 16]),  # beyond the limit of a gap
    ([0, 4, 10**8], [0, 4, 8]),
    ([10**8, 4, 8, 12], [0, 4, 8, 12]),
    ([-(10**8), 4, 8, 12], [0, 4, 8, 12]),
    ([0, 4, 500, 12, 16, 20], [0, 4, 8, 12, 16, 20]),  # within it, and out of place
    ([0, 4, 30, 12, 16, 20, 24, 28, 32], [0, 4, 8, 12, 16, 20, 24, 28, 32]),
    ([40, 44, 1, 52, 56], [40, 44, 48, 52, 56]),
    ([0, 4, None, 12, None, None, 24], [0, 4, 8, 12, 16, 20, 24]),
    ([0, 4, 4, 4, 4, 20, 24], [0, 4, 8, 12, 16, 20, 24]),  # the clock stood still
    ([10**11, 10**11 + 4, 10**11 + 4, 10**11 + 12], [10**11 + t for t in (0, 4, 8, 12)]),
    ])  # fmt: skip
def test_a_bad_stamp_is_put_between_its_neighbours(stamps, ticks):
    got, problems = mended(stamps)
    assert got == ticks
    assert problems.repaired_timestamps >= 1
    assert not problems.clock_jumps


@pytest.mark.parametrize("stamps", [
    [0, 4, 8, 12], [0, 1, 500, 504, 508], [0, 4, DAY, DAY + 4, DAY + 8], [5, 6, 7, 700, 1400, 2100],
    [180_000_000_000 + 4 * i for i in range(5)], [0, 4, DAY + 4]])  # fmt: skip
def test_a_good_stamp_stays(stamps):
    assert mended(stamps) == (stamps, Problems())


@pytest.mark.parametrize("known", [True, False])
def test_a_clock_that_begins_again_goes_on(known):
    stamps = [100, 104, 108, 0, 4, 8, 20, 24, 28]
    ticks, problems = mended(stamps, known=known)
    assert ticks[:3] == [100, 104, 108]
    assert np.diff(ticks[5:]).tolist() == np.diff(stamps[5:]).tolist()
    assert len(problems.clock_jumps) == 1
    if known:
        assert ticks == [100, 104, 108, 112, 116, 120, 132, 136, 140]
        assert problems == Problems(clock_jumps=[(1.12, 1.12)])
        assert "the clock was set 1 time(s), first at 1.120 s" in problems.damage()[0]


def test_a_gap_beyond_the_limit_is_closed_and_told():
    stamps = [0, 4, 8, 8 + 3 * DAY, 12 + 3 * DAY, 16 + 3 * DAY]
    ticks, problems = mended(stamps)
    assert ticks == [0, 4, 8, 12, 16, 20]
    assert "limits.gap" in problems.damage()[0]
    assert "--max-gap" in problems.damage()[0]
    assert mended(stamps, limits=Limits(gap=None)) == (stamps, Problems())


def test_a_length_beyond_the_limit_is_refused():
    stamps = [i * DAY for i in range(40)]
    assert mended(stamps)[0] == stamps
    with pytest.raises(ValueError, match=r"limits\.duration is 1,000\.0.*--max-duration"):
        mended(stamps, limits=Limits(duration=1000.0))


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.integers(1, 60), min_size=3, max_size=40),
    bad=st.lists(st.tuples(st.integers(0, 40), st.none() | st.integers(-(10**9), 10**9)),
                 max_size=6),
    known=st.booleans(),
)  # fmt: skip
def test_whatever_the_stamps_times_rise(steps, bad, known):
    stamps = np.cumsum(steps).tolist()
    for at, stamp in bad:
        if at < len(stamps):
            stamps[at] = stamp
    ticks, _ = mended(stamps, known=known)
    assert all(b > a for a, b in pairwise(ticks))


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(st.integers(2, 90), min_size=6, max_size=40),
    at=st.integers(1, 38),
    stamp=st.none() | st.integers(-(10**9), 10**9),
)
def test_one_bad_stamp_moves_no_other(steps, at, stamp):
    """Unless it changed places with one: then nobody knows which of the two is bad."""
    stamps = np.cumsum(steps).tolist()
    at = min(at, len(stamps) - 4)
    true = [*stamps]
    stamps[at] = stamp
    ticks, _ = mended(stamps)
    moved = [i for i in range(len(true)) if ticks[i] != true[i]]
    swapped = stamp is not None and true[at + 1] <= stamp <= true[at + 2]
    assert set(moved) <= ({at, at + 1} if swapped else {at})


# --- files --------------------------------------------------------------------------------------


@functools.cache
def whole(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecodeWarning)
        return joined(patchgate.open_video(path, threads=1))


def check_parts(path, stride=3):
    """From every few frames on: exactly the frames and stamps that the whole has there."""
    planes, pts, durations = whole(path)
    for i in range(0, len(pts), stride):
        for start in (pts[i], pts[i] + durations[i] / 2):
            video = patchgate.open_video(path, start=float(start), threads=1, errors="ignore")
            got, got_pts, got_durations = joined(video)
            assert got_pts.tolist() == pts[i:].tolist(), (i, start)
            assert got_durations.tolist() == durations[i:].tolist()
            np.testing.assert_array_equal(got[0], planes[0][i:])


def bad_stamps(stamps):
    """Ways for a stamp to be bad, at the number of its packet."""
    twice, changed, late, early = ([*stamps] for _ in range(4))
    twice[13] = twice[12]
    changed[20], changed[21] = changed[21], changed[20]
    late[17] += 5000
    early[15] -= 500
    return {"twice": twice, "changed": changed, "late": late, "early": early}


@pytest.mark.parametrize("kind", ["twice", "changed", "late", "early"])
def test_a_bad_stamp_in_a_file(tmp_path, kind):
    source = odd_clips.forward(tmp_path / "good.mkv", 40, tick=odd_clips.MS)
    stamps = odd_clips.stamps_of(source)
    path = odd_clips.retimed(tmp_path / "bad.mkv", source, bad_stamps(stamps)[kind])
    with pytest.warns(DecodeWarning, match=r"1 time stamp\(s\)"):
        pts = joined(patchgate.open_video(path))[1]
    moved = np.flatnonzero(~np.isclose(pts, np.array(stamps) / 1000, atol=1e-9))
    assert len(moved) <= (2 if kind == "changed" else 1)
    assert container_frames(path).pts.tolist() == pts.tolist()
    check_parts(path)


@pytest.mark.parametrize("kind", ["twice", "late", "early"])
def test_a_bad_stamp_where_pictures_lean_on_later_ones(tmp_path, kind):
    source = odd_clips.both_ways(tmp_path / "good.mkv", 40, tick=odd_clips.MS)
    stamps = odd_clips.stamps_of(source)
    path = odd_clips.retimed(tmp_path / "bad.mkv", source, bad_stamps(stamps)[kind])
    pts = whole(path)[1]
    assert (~np.isclose(pts, np.sort(stamps) / 1000, atol=1e-9)).sum() <= 1
    assert container_frames(path).pts.tolist() == pts.tolist()
    check_parts(path)


def test_stamps_that_a_muxer_wrote_twice(tmp_path):
    pts, at = [], 0
    for n in range(120):
        pts.append(at)
        at += 0 if n % 25 == 7 else 40
    path = odd_clips.forward(tmp_path / "twice.flv", pts=pts, tick=odd_clips.MS)
    got = whole(path)[1]
    good = [i for i in range(120) if not i or pts[i] > pts[i - 1]]
    np.testing.assert_allclose(got[good], np.array(pts)[good] / 1000, atol=1e-9)
    check_parts(path, 11)


@pytest.mark.parametrize("frames", [(30, 30), (20, 45)])
def test_two_recordings_in_one_file(tmp_path, frames):
    """The clock begins again: what follows goes on behind, also where one enters in the second."""
    parts = [odd_clips.both_ways(tmp_path / f"{i}.ts", n) for i, n in enumerate(frames)]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.warns(DecodeWarning, match=r"clock was set 1 time\(s\)"):
        planes, pts, _ = joined(patchgate.open_video(path))
    np.testing.assert_allclose(np.diff(pts), 0.04, atol=1e-4)
    want = np.concatenate([whole(part)[0][0] for part in parts])
    np.testing.assert_array_equal(planes[0], want)
    check_parts(path, 7)
    assert container_frames(path).pts.tolist() == pts.tolist()


AVI = {"bf0": odd_clips.FORWARD, "bf2": odd_clips.BOTH_WAYS,
       "open": {"x264-params": "bframes=3:open-gop=1:keyint=12:min-keyint=12:scenecut=0"
                               ":rc-lookahead=0:mbtree=0", "crf": "25"}}  # fmt: skip


@pytest.mark.parametrize("name", AVI)
def test_h264_in_avi_is_evenly_spaced(tmp_path, name):
    path = clips.write(tmp_path / "a.avi", frames=40, options=AVI[name], tick=Fraction(1, 25))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        video = patchgate.open_video(path)
        planes, pts, durations = joined(video)
    assert pts.tolist() == [i / 25 for i in range(40)]
    assert durations.tolist() == pytest.approx([0.04] * 40)
    assert video.problems == Problems()
    with clips.av.open(str(path)) as container:
        shown = [frame.to_ndarray()[:48] for frame in container.decode(video=0)]
    np.testing.assert_array_equal(planes[0], np.stack(shown))
    check_parts(path)
    assert container_frames(path).pts.tolist() == pts.tolist()


CONTAINERS = {
    "a.mpg": {"codec": "mpeg2video", "options": {"g": "9", "bf": "2", "b": "400k"}, "muxer": "mpeg",
              "tick": Fraction(1, 25)},
    "b.mpg": {"codec": "mpeg1video", "options": {"g": "9", "bf": "2", "b": "400k"}, "muxer": "mpeg",
              "tick": Fraction(1, 25)},
    "a.vob": {"codec": "mpeg2video", "options": {"g": "15", "bf": "2", "b": "800k"}, "muxer": "vob",
              "tick": Fraction(1, 25)},
    "a.avi": {"codec": "mpeg4", "options": {"g": "9", "bf": "2", "b": "400k"},
              "tick": Fraction(1, 25)},
    "a.flv": {"options": odd_clips.BOTH_WAYS}, "a.nut": {"options": odd_clips.BOTH_WAYS},
    "a.wmv": {"codec": "wmv2", "options": {"g": "9", "b": "400k"}, "tick": Fraction(1, 25)},
    "a.mxf": {"codec": "mpeg2video", "options": {"g": "9", "bf": "2"}, "tick": Fraction(1, 25)},
    "frag.mp4": {"options": odd_clips.BOTH_WAYS,
                 "muxer_options": {"movflags": "+frag_keyframe+empty_moov"}},
    "a.m4v": {"codec": "mpeg4", "options": {"g": "9", "bf": "2"}, "muxer": "m4v",
              "tick": Fraction(1, 25)},
    "a.h264": {"options": odd_clips.BOTH_WAYS, "muxer": "h264"},
    "a.gif": {"codec": "gif", "pixels": "rgb8", "options": {}, "tick": Fraction(1, 100)},
    "a.y4m": {"codec": "rawvideo", "options": {}, "muxer": "yuv4mpegpipe", "tick": Fraction(1, 25)},
    "live.mkv": {"options": odd_clips.BOTH_WAYS, "muxer_options": {"live": "1"}},
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_part_is_a_part_of_the_whole_in_every_container(tmp_path, name):
    path = clips.write(tmp_path / name, frames=40, **CONTAINERS[name])
    assert len(whole(path)[1]) == 40
    check_parts(path)
    assert container_frames(path).pts.tolist() == whole(path)[1].tolist()


def test_clocks_of_this_year_begin_far_from_zero(tmp_path):
    """Unix time: only gaps are limited."""
    first = 1_800_000_000
    pts = [first * 25 + i for i in range(30)]
    path = clips.write(
        tmp_path / "now.mkv", pts=pts, tick=Fraction(1, 25), options=odd_clips.FORWARD
    )
    with patchgate.open_video(path, start=first + 0.5) as video:
        assert video.begin_stream_seconds == pytest.approx(first, abs=0.01)
        assert joined(video)[1][0] == pytest.approx(first + 0.48, abs=0.02)


# --- what does not come ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["mkv", "ts", "mp4"])
@pytest.mark.parametrize("lost", [range(3), [10]])
def test_pictures_that_the_decoder_swallows_are_told(tmp_path, suffix, lost):
    """A recording that begins between key frames, or lost one."""
    source = odd_clips.forward(tmp_path / "whole.mkv", tick=odd_clips.MS)
    path = odd_clips.without(tmp_path / f"part.{suffix}", source, lost)
    video = patchgate.open_video(path)
    with pytest.warns(DecodeWarning, match=r"frame\(s\) from \d\.\d+ to \d\.\d+ s are in the file"):
        given = len(joined(video)[1])
    assert 0 < given < 30 - len(lost)
    assert given + video.problems.lost_frames == 30 - len(lost)
    begin, end = video.problems.lost_seconds
    assert end - begin == pytest.approx((video.problems.lost_frames - 1) * 0.04, abs=1e-6)
    with pytest.raises(DecodeError, match="did not come out of the decoder"):
        list(patchgate.open_video(path, errors="raise"))


def test_golden_frames_and_edit_lists_are_not_missed(tmp_path):
    for name, codec in (("a.webm", "libvpx"), ("b.webm", "libvpx-vp9")):
        path = clips.write(tmp_path / name, codec=codec, frames=40, options={
            "auto-alt-ref": "1", "lag-in-frames": "16", "b": "100k"})  # fmt: skip
        video = patchgate.open_video(path, errors="raise")
        assert len(joined(video)[1]) == 40
        assert video.problems == Problems()


@pytest.mark.parametrize("suffix", ["mkv", "ts", "flv"])
@pytest.mark.parametrize("lost", [range(3), [10], [5]])
def test_a_container_lists_the_frames_that_are_shown(tmp_path, suffix, lost):
    source = odd_clips.forward(tmp_path / "whole.mkv", 40, tick=odd_clips.MS)
    path = odd_clips.without(tmp_path / f"part.{suffix}", source, lost)
    assert container_frames(path).pts.tolist() == whole(path)[1].tolist()


CUT = {
    "a.mkv": {"options": odd_clips.BOTH_WAYS}, "a.ts": {"options": odd_clips.BOTH_WAYS},
    "a.flv": {"options": odd_clips.BOTH_WAYS}, "a.webm": {
        "codec": "libvpx-vp9", "options": {"g": "8", "deadline": "realtime"}},
    "a.mp4": {"options": odd_clips.BOTH_WAYS, "muxer_options": {"movflags": "+faststart"}},
    **{name: CONTAINERS[name] for name in ("a.gif", "a.y4m")}}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_a_cut_is_noticed_wherever_it_costs_a_frame(tmp_path, name):
    path = clips.write(tmp_path / name, frames=30, **CUT[name])
    data = path.read_bytes()
    planes, pts, _ = whole(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(patchgate.open_video(path))
    for missing in (1, 3, 40, 150, 400, 800, 1600, len(data) // 3):
        path.write_bytes(data[:-missing])
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            got, got_pts, _ = joined(patchgate.open_video(path))
        if len(got_pts) < len(pts) or not np.array_equal(got[0], planes[0]):
            assert "truncated" in str(said[0].message) or "corrupt" in str(said[0].message), missing


def test_spans_of_mended_stamps_touch():
    stamps = [Stamp(0), Stamp(4), Stamp(4), Stamp(12, duration=10**12)]
    frames = list(timed(stamps, Mender(Clock(Fraction(1, 100), 4), Problems())))
    assert [f.ticks + f.span for f in frames[:-1]] == [f.ticks for f in frames[1:]]
    assert frames[-1].span < 100  # what the container says of the last is no length of a frame


def test_a_pipe_gives_what_a_file_gives(tmp_path):
    path = odd_clips.forward(tmp_path / "good.mkv", 40, tick=odd_clips.MS)

    class Pipe:
        def __init__(self, data):
            self._data = io.BytesIO(data)

        def read(self, size=-1):
            return self._data.read(size)

    pts = joined(patchgate.open_video(Pipe(path.read_bytes())))[1]
    assert pts.tolist() == whole(path)[1].tolist()
