"""Decoding: the planes, the times and the colours of every format, against a plain decode."""

from __future__ import annotations

from fractions import Fraction

import av
import clips
import numpy as np
import pytest
import torch
from decode_cases import TURNS, VIDEOS, joined

import patchgate
from patchgate.decode import Colour, DecodeWarning, FrameBatch
from patchgate.decode.packer import Packer
from patchgate.decode.pool import Pool
from patchgate.decode.timeline import Clock, Timed


def stacked(planes, index):
    """Frame ``index`` as PyAV's to_ndarray lays out yuv420p: [H * 3 / 2, W]."""
    width = planes[0].shape[2]
    return np.concatenate([plane[index].reshape(-1, width) for plane in planes])


@pytest.mark.parametrize("name", VIDEOS)
def test_planes_and_times_equal_a_plain_decode(name):
    samples, seconds = clips.plain(clips.clip(name))
    planes, pts, durations = joined(patchgate.open_video(clips.clip(name), threads=2))
    assert len(pts) == len(samples) >= 12
    assert pts.tolist() == seconds == sorted(seconds)
    np.testing.assert_allclose(pts[:-1] + durations[:-1], pts[1:], rtol=0, atol=1e-9)
    for i, plain in enumerate(samples):
        np.testing.assert_array_equal(stacked(planes, i), plain)


LOSSLESS = [
    (codec, pixels)
    for codec, formats in {
        "libx264": "yuv420p yuv422p yuv444p yuv420p10le yuv422p10le yuv444p10le",
        "ffv1": "yuv410p yuv411p yuv440p yuv420p9le yuv422p12le yuv444p16le "
                "gray gray10le gray12le gray16le",
        "rawvideo": "nv12 nv21 yuv444p14le",
    }.items()
    for pixels in formats.split()
]  # fmt: skip


@pytest.mark.parametrize("size", [(64, 48), (65, 49)])
@pytest.mark.parametrize(("codec", "pixels"), LOSSLESS)
def test_native_formats_are_copied_exactly(tmp_path, codec, pixels, size):
    if codec == "libx264" and size == (65, 49) and not pixels.startswith("yuv444"):
        size = (66, 50)  # x264 takes no odd sizes with subsampled chroma
    options = dict(clips.LOSSLESS) if codec == "libx264" else {"level": "3"}
    path = clips.write(tmp_path / "clip.nut", codec=codec, pixels=pixels, size=size, frames=3,
                       options=options)  # fmt: skip
    with av.open(str(path)) as container:
        stored = container.streams.video[0].format.name
    (batch,) = patchgate.open_video(path)
    assert batch.colour.bit_depth == av.VideoFormat(stored).components[0].bits
    assert (batch.width, batch.height) == size
    for t in range(3):
        for got, want in zip(batch.planes, separate(t, size, pixels), strict=True):
            np.testing.assert_array_equal(got[t].numpy(), want)


@pytest.mark.parametrize("pixels", ["nv16", "nv24", "nv42", "nv20le", "p010le", "p012le", "p210le",
                                    "p416le"])  # fmt: skip
def test_packed_chroma_that_no_muxer_stores(pixels):
    frame = av.VideoFrame(65, 49, pixels)
    clips.picture(5, frame)
    packer = Packer(frame, chunk=1, clock=Clock(Fraction(1, 10), 1), pool=Pool())
    packer.add(Timed(frame, 20, 3), frame)
    made = packer.finish()
    assert (made.pts_seconds.item(), made.duration_seconds.item()) == (2.0, 0.3)
    for got, want in zip(made.planes, separate(5, (65, 49), pixels), strict=True):
        np.testing.assert_array_equal(got[0].numpy(), want)


def test_planes_that_are_stored_bottom_up_are_given_from_the_top():
    frame = av.VideoFrame(65, 49, "yuv420p10le")
    clips.picture(5, frame)
    graph = av.filter.Graph()
    buffer = graph.add_buffer(width=65, height=49, format=frame.format, time_base=Fraction(1, 10))
    graph.link_nodes(buffer, graph.add("vflip"), graph.add("buffersink")).configure()
    graph.push(frame)
    turned = graph.pull()
    assert turned.planes[0].line_size < 0
    packer = Packer(turned, chunk=1, clock=Clock(Fraction(1, 10), 1), pool=Pool())
    packer.add(Timed(turned, 20, 3), turned)
    for got, want in zip(packer.finish().planes, separate(5, (65, 49), "yuv420p10le"), strict=True):
        np.testing.assert_array_equal(got[0].numpy(), want[::-1])


def separate(index, size, pixels):
    """What Y, Cb and Cr of generated frame ``index`` must be, however ``pixels`` packs them."""
    planes = clips.content(index, size, pixels)
    bits = av.VideoFormat(pixels).components[0].bits
    if pixels.startswith("gray"):
        grey = np.full((1, 1), 1 << (bits - 1))
        return planes[0], grey, grey
    if len(planes) == 2:
        first = pixels in ("nv21", "nv42")
        planes = [planes[0], planes[1][:, first::2], planes[1][:, not first :: 2]]
    shift = 16 - bits if pixels[0] == "p" else 0  # p010: the value is in the high bits
    return [plane >> shift for plane in planes]


@pytest.mark.parametrize("pixels", ["yuva420p", "yuv420p10be", "yuyv422"])
def test_other_yuv_keeps_its_samples(tmp_path, pixels):
    path = clips.write(tmp_path / "clip.nut", codec="rawvideo", pixels=pixels, frames=2)
    (batch,) = patchgate.open_video(path)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        y = np.frombuffer(frame.planes[0], np.dtype(">u2" if "10" in pixels else "u1"))
        y = y.reshape(48, -1)[:, :128:2] if pixels == "yuyv422" else y.reshape(48, -1)[:, :64]
    np.testing.assert_array_equal(batch.planes[0][0].numpy(), y.astype(y.dtype.newbyteorder("=")))
    assert batch.colour == Colour("bt601", False, 10 if "10" in pixels else 8)


@pytest.mark.parametrize("pixels", ["rgb24", "gbrp", "bgra"])
def test_rgb_becomes_full_range_bt601(tmp_path, pixels):
    rgb = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    with av.open(str(tmp_path / "rgb.nut"), "w") as out:
        stream = out.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pixels)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    (batch,) = patchgate.open_video(tmp_path / "rgb.nut")
    assert batch.colour == Colour("bt601", True, 8)
    r, g, b = (rgb[..., i].astype(float) for i in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    wanted = [y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128]
    for plane, want in zip(batch.planes, wanted, strict=True):
        # swscale's fixed point: one step off at most, never a wrong matrix or range
        np.testing.assert_allclose(plane[0].numpy(), np.clip(want, 0, 255), atol=1.5)


@pytest.mark.parametrize(("space", "full", "colour"), [
    (None, None, Colour("bt601", False)), (1, False, Colour("bt709", False)),
    (1, True, Colour("bt709", True)), (5, True, Colour("bt601", True)),
    (6, False, Colour("bt601", False)), (9, False, Colour("bt2020", False))])  # fmt: skip
def test_colour_follows_the_tags(tmp_path, space, full, colour):
    path = clips.write(tmp_path / "clip.mp4", frames=2, space=space, full_range=full)
    video = patchgate.open_video(path)
    (batch,) = video
    assert batch.colour == video.colour == colour


def test_a_strange_matrix_is_told(tmp_path):
    path = clips.write(tmp_path / "clip.mp4", frames=2, space=8)  # YCgCo
    with pytest.warns(DecodeWarning, match="colour matrix 8"):
        assert patchgate.open_video(path).colour.matrix == "bt601"


def test_variable_frame_rate_keeps_its_times():
    _, pts, durations = joined(patchgate.open_video(clips.clip("vfr.mp4"), chunk=5))
    assert pts.tolist() == [float(Fraction(ticks, 12_800)) for ticks in clips.VFR]
    assert durations[:-1].tolist() == [float(Fraction(int(ticks), 12_800))
                                       for ticks in np.diff(clips.VFR)]  # fmt: skip
    assert durations[-1] > 0


@pytest.mark.parametrize("chunk", [1, 7, 64, 100_000])
def test_any_chunk_gives_the_same_frames(chunk, tmp_path):
    path = clips.write(tmp_path / "clip.mp4", frames=150, size=(32, 32))
    want = joined(patchgate.open_video(path))
    batches = list(patchgate.open_video(path, chunk=chunk))
    assert [len(b) for b in batches[:-1]] == [chunk] * (len(batches) - 1)
    for got, expected in zip(joined(batches), want, strict=True):
        np.testing.assert_array_equal(
            np.concatenate([np.ravel(x) for x in got]),
            np.concatenate([np.ravel(x) for x in expected]),
        )
    storage = sum(plane.untyped_storage().nbytes() for plane in batches[-1].planes)
    assert storage == len(batches[-1]) * 32 * 32 * 3 // 2, "a batch must own no more than it shows"


def test_batches_do_not_share_memory():
    batches = list(patchgate.open_video(clips.clip("h264.mp4"), chunk=4))
    before = batches[0].planes[0].clone()
    batches[1].planes[0].zero_()
    assert torch.equal(batches[0].planes[0], before)
    assert len({plane.data_ptr() for batch in batches for plane in batch.planes}) == 30


def test_memory_comes_back_only_when_the_last_view_is_gone():
    pool = Pool()
    first = pool.empty((2, 3, 4), torch.uint16)
    view, where = first[1, 1:], first.data_ptr()
    assert (first.shape, first.dtype, first.is_contiguous()) == ((2, 3, 4), torch.uint16, True)
    del first
    assert pool.empty((2, 3, 4), torch.uint16).data_ptr() != where
    del view
    again = [pool.empty((2, 3, 4), torch.uint16) for _ in range(3)]
    assert where in [tensor.data_ptr() for tensor in again]
    assert len({tensor.data_ptr() for tensor in again}) == 3


@pytest.mark.parametrize("rotation", TURNS)
def test_rotation_is_applied(tmp_path, rotation):
    path = clips.write(tmp_path / "clip.mp4", frames=3, size=(64, 48), rotation=rotation,
                       options=clips.LOSSLESS)  # fmt: skip
    video = patchgate.open_video(path)
    (batch,) = video
    assert (video.width, video.height) == (batch.width, batch.height)
    assert (batch.width, batch.height) == ((48, 64) if rotation[0] in (90, -90) else (64, 48))
    if not any(rotation[1:]):
        assert video.rotation == rotation[0]
    for got, stored in zip(batch.planes, clips.content(2, (64, 48)), strict=True):
        np.testing.assert_array_equal(got[2].numpy(), TURNS[rotation](stored))


def test_an_odd_angle_is_told_and_left(tmp_path):
    path = clips.write(tmp_path / "clip.mp4", frames=2, rotation=(30, False, False))
    with pytest.warns(DecodeWarning, match="multiples of 90"):
        video = patchgate.open_video(path)
    assert (video.width, video.height) == (64, 48)


def test_video_tells_what_it_is():
    video = patchgate.open_video(clips.clip("late.ts"))
    assert (video.width, video.height, video.codec, video.decoder) == (64, 48, "h264", "pyav")
    assert video.begin_stream_seconds == next(iter(video)).pts_seconds[0].item() == 1.5625
    assert video.average_fps == 25
    assert video.duration_seconds == pytest.approx(1.6, abs=0.05)
    assert video.num_frames == 40
    assert "h264" in repr(video)
    assert "64x48" in repr(video)


def test_key_frames_are_marked():
    keys = torch.cat([batch.key_frame for batch in patchgate.open_video(clips.clip("av1.mkv"))])
    assert keys.nonzero().flatten().tolist() == [0, 8, 16, 24, 32]


def batch(**changed):
    planes = (torch.zeros(2, 4, 6, dtype=torch.uint8),
              *torch.zeros(2, 2, 2, 3, dtype=torch.uint8))  # fmt: skip
    times = torch.zeros(2, dtype=torch.float64)
    return FrameBatch(**{"planes": planes, "pts_seconds": times, "duration_seconds": times,
                         "colour": Colour(), **changed})  # fmt: skip


def test_frame_batch_shows_shapes():
    made = batch()
    assert (len(made), made.height, made.width) == (2, 4, 6)
    assert "Y=[2, 4, 6]" in repr(made)
    assert "Cb=[2, 2, 3]" in repr(made)


@pytest.mark.parametrize(("changed", "message"), [
    ({"planes": batch().planes[:2]}, "Y, Cb, Cr"),
    ({"planes": tuple(p.float() for p in batch().planes)}, "uint8"),
    ({"planes": tuple(p[0] for p in batch().planes)}, r"\[T, H, W\]"),
    ({"planes": tuple(p.transpose(1, 2) for p in batch().planes)}, "contiguous"),
    ({"planes": batch().planes[1:] + batch().planes[:1]}, "one shape"),
    ({"colour": Colour(bit_depth=10)}, "uint16"),
    ({"pts_seconds": torch.zeros(3, dtype=torch.float64)}, "pts_seconds"),
    ({"duration_seconds": torch.zeros(2)}, "float64"),
    ({"key_frame": torch.zeros(3, dtype=torch.bool)}, "key_frame")])  # fmt: skip
def test_frame_batch_checks_itself(changed, message):
    with pytest.raises(ValueError, match=message):
        batch(**changed)


@pytest.mark.parametrize("wrong", [{"matrix": "bt470"}, {"bit_depth": 7}, {"bit_depth": 17}])
def test_colour_checks_itself(wrong):
    with pytest.raises(ValueError, match="Colour"):
        Colour(**wrong)
