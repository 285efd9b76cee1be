"""The times of a video's frames before they are decoded: those that decoding gives."""

import clips
import pytest
import torch

import patchgate
from patchgate.decode.packets.times import at_rate, frame_times

NAMES = ["h264.mp4", "late.mkv", "vfr.mkv", "mpeg4-b.mp4"]


def decoded(**options):
    with patchgate.open_video(**options) as video:
        parts = [(batch.pts_seconds, batch.duration_seconds) for batch in video]
    return [torch.cat(part) for part in zip(*parts, strict=True)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [{}, {"fps": 4}, {"fps": 7.3}, {"fps": 1000}, {"start": 0.3}, {"end": 2.0, "fps": 10}],
)
def test_times_are_those_of_decoding(name, options):
    source = clips.clip(name)
    pts, duration = decoded(source=source, **options)
    with patchgate.open_video(source, **options) as video:
        found = frame_times(video)
        assert torch.equal(found.pts_seconds, pts)
        torch.testing.assert_close(found.duration_seconds, duration)
        assert sum(len(batch) for batch in video) == len(pts)  # it can still be read


@pytest.mark.parametrize("kind", ["bytes", "file object"])
def test_times_of_other_sources(kind):
    path = clips.clip("h264.mp4")
    pts, _ = decoded(source=path)
    with open(path, "rb") as file:
        source = file.read() if kind == "bytes" else file
        with patchgate.open_video(source) as video:
            assert torch.equal(frame_times(video).pts_seconds, pts)
            assert sum(len(batch) for batch in video) == len(pts)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fps", [0.1, 2, 3.7, 24, 25, 500])
def test_a_rate_takes_the_frames_that_open_video_takes(name, fps):
    with patchgate.open_video(clips.clip(name)) as video:
        every = frame_times(video)
    with patchgate.open_video(clips.clip(name), fps=fps) as video:
        wanted = frame_times(video).pts_seconds
    assert torch.equal(at_rate(every, fps).pts_seconds, wanted)


def test_what_can_be_read_once_only_is_refused(tmp_path):
    class Pipe:
        def __init__(self, data):
            self.data = data

        def read(self, count=-1):
            part, self.data = self.data[:count], self.data[count:]
            return part

    data = clips.clip("late.mkv").read_bytes()
    with (
        patchgate.open_video(Pipe(data)) as video,
        pytest.raises(ValueError, match=r"frames are counted before .* read only once; save it"),
    ):
        frame_times(video)
