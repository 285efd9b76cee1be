"""Which stream is the video, and what lies beside its samples: range, shape, side data, keys."""

from __future__ import annotations

import warnings
from fractions import Fraction

import av
import clips
import numpy as np
import odd_clips
import pytest
import torch
from decode_cases import joined

import patchgate
from patchgate import Gate
from patchgate.decode import DecodeError, DecodeWarning
from patchgate.policies import Budget, Looker, Plan, container_frames, uniform


@pytest.mark.parametrize(("formats", "chosen"), [
    ([("gray", 9), ("yuv420p", 9)], 1), ([("yuv420p", 9), ("gray", 9)], 0),
    ([("gray", 9)], 0)])  # fmt: skip
def test_colour_comes_before_masks(tmp_path, formats, chosen):
    path = odd_clips.tracks(tmp_path / "two.mkv", formats)
    video = patchgate.open_video(path)
    assert formats[chosen][0] in repr(video)
    assert len(joined(video)[1]) == 9


def test_what_moves_comes_before_stills(tmp_path):
    path = odd_clips.tracks(tmp_path / "two.mov", [("yuvj420p", 1), ("yuvj420p", 9)], "mjpeg")
    assert len(joined(patchgate.open_video(path))[1]) == 9


def test_a_stream_can_be_asked_for(tmp_path):
    path = odd_clips.tracks(tmp_path / "two.mkv", [("gray", 4), ("yuv420p", 9)])
    assert len(joined(patchgate.open_video(path, stream=0))[1]) == 4
    assert len(container_frames(path, stream=0)) == 4
    with pytest.raises(ValueError, match=r"got stream=2: there is none; its video streams are 0 "):
        patchgate.open_video(path, stream=2)
    with pytest.raises(ValueError, match="stream=0: that is audio"):
        patchgate.open_video(clips.clip("audio.m4a"), stream=0)
    for wrong, error in ((-1, ValueError), (True, TypeError), (1.0, TypeError)):
        with pytest.raises(error, match="stream: expected"):
            patchgate.open_video(path, stream=wrong)


@pytest.mark.parametrize(("pixels", "tagged", "full"), [
    ("gray", None, True), ("gray16le", None, True), ("gray", False, False), ("gray", True, True),
    ("yuv420p", None, False)])  # fmt: skip
def test_untagged_gray_is_full_range(tmp_path, pixels, tagged, full):
    path = clips.write(tmp_path / "a.mkv", codec="ffv1", pixels=pixels, frames=2,
                       options={"level": "3"}, full_range=tagged)  # fmt: skip
    assert patchgate.open_video(path).colour.full_range is full


def test_pixels_that_are_not_square_are_told(tmp_path):
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(16, 11)
        for packet in clips.encode(stream, (64, 48), "yuv420p", range(3), tick=Fraction(1, 25)):
            out.mux(packet)
    with pytest.warns(DecodeWarning, match="64 x 48 is meant to be shown 93 x 48"):
        video = patchgate.open_video(path)
    assert video.sample_aspect_ratio == Fraction(16, 11)
    assert (video.width, video.height) == (64, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        patchgate.open_video(path, errors="ignore")
        assert patchgate.open_video(clips.clip("h264.mp4")).sample_aspect_ratio == 1


def test_side_data_that_pyav_does_not_know(tmp_path):
    """Motion JPEG whose pictures carry EXIF, as from a camera."""
    plain = clips.write(tmp_path / "plain.avi", codec="mjpeg", pixels="yuvj420p", frames=4,
                        options={}, tick=Fraction(1, 25))  # fmt: skip
    maker = b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0Cam\0\0\0\0\0"  # TIFF: one tag, Make
    exif = b"Exif\0\0" + maker
    marker = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "exif.avi"
    with av.open(str(plain)) as container, av.open(str(path), "w") as out:
        copy = out.add_stream_from_template(container.streams.video[0])
        for packet in container.demux(video=0):
            if packet.size:
                data = bytes(packet)
                marked = av.Packet(data[:2] + marker + data[2:])
                marked.stream, marked.time_base = copy, packet.time_base
                marked.pts, marked.dts, marked.is_keyframe = packet.pts, packet.dts, True
                out.mux(marked)
    got, want = joined(patchgate.open_video(path)), joined(patchgate.open_video(plain))
    assert got[1].tolist() == want[1].tolist()
    np.testing.assert_array_equal(got[0][0], want[0][0])


def test_what_needs_a_key_is_called_encrypted(tmp_path):
    secret = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "00112233445566778899" * 1
              + "aabbccddeeff", "encryption_kid": "0123456789abcdef0123456789abcdef"}  # fmt: skip
    path = clips.write(tmp_path / "secret.mp4", frames=10, muxer_options=secret)
    with pytest.raises(ValueError, match=r"is encrypted.*decrypt it first"):
        patchgate.open_video(path)


def test_an_animated_webp_is_called_that(tmp_path):
    path = clips.write(tmp_path / "a.webp", codec="libwebp_anim", pixels="bgra", frames=4,
                       options={"lossless": "1"})  # fmt: skip
    with pytest.raises(ValueError, match=r"animated WebP.*convert it"):
        patchgate.open_video(path)


# --- looking at what does not come ---------------------------------------------------------------


def looker(tmp_path, **more):
    """An MP4 lost a key frame: its times do not show it, and 8 pictures do not come."""
    source = odd_clips.forward(tmp_path / "whole.mkv", tick=odd_clips.MS)
    path = odd_clips.without(tmp_path / "part.mp4", source, [10])
    return Looker(path, gate=Gate(size=(42, 56)), **more)


def test_a_look_gives_what_came_and_names_the_rest(tmp_path):
    looking = looker(tmp_path)
    plan = Plan.of(looking.frames, torch.arange(len(looking.frames)))
    with pytest.warns(DecodeWarning, match=r"frame\(s\) of the plan did not come out") as said:
        tokens = looking.look(plan)
    named = [w for w in said if "of the plan" in str(w.message)]
    assert len(named) == 1
    assert tokens.shape.T == len(plan) - len(looking.missing) > 0
    assert looking.missing
    assert not set(looking.missing) & set(looking.frames.number.tolist())
    again = looking.look(uniform(looking.frames, Budget(frames=6)))
    assert again.shape.T == 6


def test_a_look_can_insist(tmp_path):
    looking = looker(tmp_path, errors="raise")
    plan = Plan.of(looking.frames, torch.arange(len(looking.frames)))
    with pytest.raises(DecodeError):
        looking.look(plan)
