"""Damaged, odd and wrong input: what there is is given, and what is wrong is said."""

from __future__ import annotations

import io
import warnings
from fractions import Fraction

import av
import clips
import numpy as np
import pytest
from decode_cases import joined

import patchgate
from patchgate.decode import DecodeError, DecodeWarning, Problems
from patchgate.decode.packets.clock import Clock, Mender
from patchgate.decode.timeline import timed

INTACT = ["faststart.mp4", "late.mkv", "mpeg4.avi", "late.ts", "vp9.webm", "av1.mkv", "hevc.mp4"]


@pytest.fixture(autouse=True)
def no_other_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", ["faststart.mp4", "late.mkv", "mpeg4.avi", "late.ts"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_gives_what_it_has(tmp_path, name, share):
    whole = joined(patchgate.open_video(clips.clip(name)))
    video = patchgate.open_video(clips.truncated(clips.clip(name), tmp_path / name, share))
    with pytest.warns(DecodeWarning, match=r"truncated.*every frame up to there") as said:
        planes, pts, _ = joined(video)
    assert len(said) == 1
    assert video.problems.truncated
    count = len(whole[1])
    assert share * count * 0.4 < len(pts) < count
    # The last pictures lean on bytes that are gone (a cut frame, a missing B reference).
    good = len(pts) - 5
    assert pts[:good].tolist() == whole[1][:good].tolist()
    np.testing.assert_array_equal(planes[0][:good], whole[0][0][:good])


@pytest.mark.parametrize("name", INTACT)
def test_a_whole_file_is_not_called_damaged(name):
    for start in (None, 1.0):
        video = patchgate.open_video(clips.clip(name), start=start)
        assert sum(map(len, video)) > 0
        assert video.problems == Problems()


@pytest.mark.parametrize("name", ["faststart.mp4", "late.mkv", "late.ts", "mpeg4.avi"])
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 3])
def test_flipped_bytes_are_skipped_and_counted(tmp_path, name, seed, threads):
    path = clips.damaged(clips.clip(name), tmp_path / name, seed=seed)
    video = patchgate.open_video(path, threads=threads)
    with pytest.warns(DecodeWarning) as said:
        _, pts, durations = joined(video)
    assert len(said) == 1, [str(warning.message) for warning in said]
    assert video.problems.damage()
    assert all(phrase in str(said[0].message) for phrase in video.problems.damage())
    assert len(pts) >= 8  # the encoder does not give the same bytes every time: at least a GOP
    assert (np.diff(pts) > 0).all()
    assert (durations > 0).all()


@pytest.mark.parametrize("name", ["hevc.mp4", "hevc.ts", "vp9.webm", "av1.mkv"])
@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_that_a_decoder_may_not_notice(tmp_path, name, seed):
    """HEVC conceals without a word; still nothing but frames and our own warning may come out."""
    video = patchgate.open_video(clips.damaged(clips.clip(name), tmp_path / name, seed=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecodeWarning)
        _, pts, _ = joined(video)
    assert len(pts) >= 4
    assert (np.diff(pts) > 0).all()


@pytest.mark.parametrize("name", ["faststart.mp4", "late.ts"])
def test_damage_can_be_an_error_or_silent(tmp_path, name):
    path = clips.damaged(clips.clip(name), tmp_path / name)
    silent = patchgate.open_video(path, errors="ignore")
    assert sum(map(len, silent)) > 20
    assert silent.problems.damage()
    with pytest.raises(DecodeError, match="damaged"):
        list(patchgate.open_video(path, errors="raise"))


def test_truncation_can_be_an_error(tmp_path):
    path = clips.truncated(clips.clip("late.mkv"), tmp_path / "cut.mkv")
    with pytest.raises(DecodeError, match="truncated"):
        list(patchgate.open_video(path, errors="raise"))


@pytest.mark.parametrize("chunk", [3, 16])
@pytest.mark.parametrize("size", [(96, 64), (48, 64)])
def test_a_new_size_begins_a_new_batch(tmp_path, size, chunk):
    path = clips.size_change(tmp_path / "size.ts", size)
    video = patchgate.open_video(path, chunk=chunk)
    with pytest.warns(DecodeWarning, match=rf"64x48 yuv420p to {size[0]}x{size[1]}") as said:
        batches = list(video)
    assert len(said) == 1
    sizes = [(batch.width, batch.height) for batch in batches for _ in range(len(batch))]
    assert sizes == [(64, 48)] * 10 + [size] * 10
    change = batches[sum(b.width == 64 for b in batches)].pts_seconds[0].item()
    assert video.problems.size_changes == [(change, size)]
    for i, at in ((9, (64, 48)), (10, size)):
        shown = [plane[t] for batch in batches for plane in batch.planes[:1]
                 for t in range(len(batch))][i]  # fmt: skip
        np.testing.assert_array_equal(shown.numpy(), clips.content(i, at)[0])


def test_a_new_format_begins_a_new_batch(tmp_path):
    path = clips.size_change(tmp_path / "format.ts", (64, 48), "yuv444p10le")
    video = patchgate.open_video(path)
    with pytest.warns(DecodeWarning, match="yuv444p10le"):
        first, second = video
    assert (first.colour.bit_depth, second.colour.bit_depth) == (8, 10)
    assert first.planes[1].shape == (10, 24, 32)
    assert second.planes[1].shape == (10, 48, 64)
    assert video.problems.format_changes == [(second.pts_seconds[0].item(), "yuv444p10le")]


def test_start_behind_a_change_of_size():
    (batch,) = patchgate.open_video(clips.clip("size.ts"), start=0.5)
    assert (batch.width, len(batch)) == (96, 8)


def bare(path, name):
    """The stream's packets in a file with no time stamps at all."""
    with av.open(str(clips.clip(name))) as container:
        path.write_bytes(b"".join(bytes(p) for p in container.demux(video=0)))
    return path


def test_missing_time_stamps_are_computed_and_told(tmp_path):
    path = bare(tmp_path / "bare.h264", "late.ts")
    video = patchgate.open_video(path, start=0.5)
    with pytest.warns(DecodeWarning, match="time stamp"):
        list(video)
    assert video.problems.repaired_timestamps
    with pytest.warns(DecodeWarning, match="time stamp"):
        planes, pts, _ = joined(patchgate.open_video(path))
    np.testing.assert_allclose(pts, np.arange(40) / 25, atol=1e-4)
    np.testing.assert_array_equal(
        planes[0], joined(patchgate.open_video(clips.clip("late.ts")))[0][0]
    )


class Stamp:
    def __init__(self, pts, dts=None, duration=0):
        self.pts, self.dts, self.duration = pts, dts, duration


@pytest.mark.parametrize(("stamps", "ticks", "repaired"), [
    ([Stamp(5), Stamp(9), Stamp(11)], [5, 9, 11], 0),
    ([Stamp(5), Stamp(None), Stamp(20)], [5, 15, 20], 1),
    ([Stamp(5, duration=3), Stamp(None), Stamp(20)], [5, 8, 20], 1),
    ([Stamp(None, dts=7), Stamp(None, dts=9)], [7, 9], 2),
    ([Stamp(None), Stamp(None)], [0, 10], 2),
    ([Stamp(900), Stamp(0), Stamp(10), Stamp(950)], [900, 910, 920, 950], 2),
    ([Stamp(5), Stamp(5)], [5, 15], 1)])  # fmt: skip
def test_stamps_always_rise(stamps, ticks, repaired):
    problems = Problems()
    frames = list(timed(stamps, Mender(Clock(Fraction(1, 100), 10), problems)))
    assert [frame.ticks for frame in frames] == ticks
    assert [a.ticks + a.span for a in frames[:-1]] == ticks[1:]
    assert problems.repaired_timestamps == repaired


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mp4: no such file"):
        patchgate.open_video(tmp_path / "nowhere.mp4")


def test_directory(tmp_path):
    with pytest.raises(ValueError, match="is a directory"):
        patchgate.open_video(str(tmp_path))


@pytest.mark.parametrize(("data", "name", "message"), [
    (b"", "empty.mp4", "is empty"), (b"\x00\x01\x02" * 1000, "noise.mp4", "not a video"),
    (b"A shopping list.\n" * 200, "list.txt", "is a text file"),
    (b"A shopping list.\n" * 200, "list.mp4", "not a video")])  # fmt: skip
def test_not_a_video(tmp_path, data, name, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        patchgate.open_video(tmp_path / name)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("audio.m4a", "no video stream: it holds audio"), ("empty.mkv", "no frame")],
)
def test_no_frames(name, message):
    with pytest.raises(ValueError, match=message):
        patchgate.open_video(clips.clip(name))


def test_an_mp4_without_its_index(tmp_path):
    path = clips.truncated(clips.clip("h264.mp4"), tmp_path / "cut.mp4")
    for source in (path, path.read_bytes(), io.BytesIO(path.read_bytes())):
        with pytest.raises(ValueError, match=r"index \('moov'\) is missing"):
            patchgate.open_video(source)


def test_a_stream_of_rubbish(tmp_path):
    """A whole container, every packet of which is noise."""
    data = bytearray(clips.clip("faststart.mp4").read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = np.random.default_rng(0).bytes(len(data) - start)
    with pytest.raises(ValueError, match="no frame that can be decoded"):
        patchgate.open_video(bytes(data))


def test_damage_is_not_called_a_lack_of_permission(tmp_path):
    """FFmpeg says of a stream of an unknown kind that it is not permitted."""
    path = clips.write(tmp_path / "clip.asf", codec="wmv2", frames=4, options={})
    video = bytes.fromhex("C0EF19BC4D5BCF11A8FD00805F5C442B")  # ASF_Video_Media (ASF 10.4)
    damaged = path.read_bytes().replace(video, bytes(16))
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    for source in (path, damaged, io.BytesIO(damaged)):
        with pytest.raises(ValueError, match=r"not a video that FFmpeg can read \(Operation not"):
            patchgate.open_video(source)


def test_what_is_no_source():
    with pytest.raises(TypeError, match="path, bytes or a binary file object"):
        patchgate.open_video(7)
    with pytest.raises(TypeError, match="binary mode"):
        patchgate.open_video(io.StringIO("text" * 1000))
