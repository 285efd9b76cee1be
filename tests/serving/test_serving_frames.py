"""The loader's frames: any rate, every frame, true times, errors in the user's words."""

import clips
import numpy as np
import pytest

from patchgate.decode import open_video
from patchgate.serving import frames as serving_frames
from patchgate.serving.frames import check_sampling, metadata, read_frames
from patchgate.serving.times import KEY, Beside

PTS = [0, 30, 60, 200, 210, 220, 600, 700]  # in hundredths of a second: a rate that varies


@pytest.fixture(scope="module")
def varying(tmp_path_factory):
    from fractions import Fraction

    path = tmp_path_factory.mktemp("clip") / "varying.mkv"
    return clips.write(path, pts=PTS, tick=Fraction(1, 100), frames=len(PTS)).read_bytes()


@pytest.fixture(scope="module")
def even(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "even.mkv"
    return clips.write(path, frames=24).read_bytes()


def test_every_frame_with_its_time(varying):
    found = read_frames(varying)
    with open_video(varying) as video:
        own = np.concatenate([b.rgb().permute(0, 2, 3, 1).numpy() for b in video])
    assert np.array_equal(found.rgb, own)
    assert found.pts_seconds == pytest.approx([each / 100 for each in PTS], abs=1e-3)
    assert found.duration_seconds >= 7


@pytest.mark.parametrize("fps", [5, 12.5])
def test_a_rate(even, fps):
    found = read_frames(even, fps=fps)
    with open_video(even, fps=fps) as video:
        times = [float(t) - video.begin_stream_seconds for b in video for t in b.pts_seconds]
    assert found.pts_seconds == pytest.approx(times, abs=1e-6)
    assert len(found.rgb) == len(times) < 24


def test_a_number_of_frames(even):
    assert len(read_frames(even, num_frames=6).rgb) == 6
    assert len(read_frames(even, num_frames=1000).rgb) == 24
    assert len(read_frames(even, num_frames=-1).rgb) == 24
    # vLLM hands on num_frames=32 of itself: a rate comes before it.
    assert len(read_frames(even, num_frames=2, fps=1e6).rgb) == 24


def test_a_part(even):
    whole, part = read_frames(even), read_frames(even, start=0.3, end=0.6)
    chosen = [t for t in whole.pts_seconds if 0.3 <= t < 0.6]
    assert part.pts_seconds[-len(chosen) :] == pytest.approx(chosen)
    assert len(part.pts_seconds) - len(chosen) in (0, 1)  # the frame that is shown at the start


def test_one_frame(tmp_path):
    data = clips.write(tmp_path / "one.mkv", frames=1).read_bytes()
    found = read_frames(data)
    assert found.rgb.shape == (1, 48, 64, 3)
    assert metadata(found, "patchgate")["fps"] > 0


def test_the_metadata_is_what_transformers_and_the_processor_read(varying):
    found = metadata(read_frames(varying), "patchgate")
    assert found["total_num_frames"] == len(PTS)
    assert found["frames_indices"] == list(range(len(PTS)))
    assert found["do_sample_frames"] is False
    beside = Beside.of(found[KEY], found["duration"])
    assert beside.pts_seconds == pytest.approx([each / 100 for each in PTS], abs=1e-3)
    assert beside.seconds == pytest.approx(8.0, abs=0.01)  # seven seconds, and one of the last


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"fps": 0}, ValueError, "fps: expected"),
        ({"fps": "4"}, TypeError, "fps: expected a number, got '4'"),
        ({"num_frames": 0}, ValueError, "num_frames: expected at least 1, got 0"),
        ({"start": -1}, ValueError, "expected 0.."),
    ],
)
def test_numbers_that_make_no_sense(even, options, kind, words):
    for read in (lambda: read_frames(even, **options), lambda: check_sampling(**options)):
        with pytest.raises(kind) as error:
            read()
        assert words in str(error.value)


def test_what_is_no_video():
    with pytest.raises(ValueError, match="expected a file, got no bytes"):
        read_frames(b"")
    with pytest.raises(ValueError, match="bytes>"):
        read_frames(b"this is text" * 100)


def test_a_video_without_frames(tmp_path):
    with pytest.raises(ValueError, match="bytes>"):
        read_frames(clips.zero_frames(tmp_path / "none.mp4").read_bytes())


@pytest.mark.filterwarnings("ignore::patchgate.DecodeWarning")
def test_a_change_of_size(tmp_path):
    data = clips.size_change(tmp_path / "sizes.mkv").read_bytes()
    with pytest.raises(ValueError, match="its pictures change from"):
        read_frames(data)


def test_too_many_frames(even, monkeypatch):
    monkeypatch.setattr(serving_frames, "MAX_BYTES", 10 * 48 * 64 * 3)
    with pytest.raises(ValueError, match="its frames take more than"):
        read_frames(even)
