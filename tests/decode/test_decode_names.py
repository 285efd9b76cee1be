"""What a name stands for: the file of that name before all else, else an address of a few kinds."""

from __future__ import annotations

import io
import os
import shutil
import stat

import clips
import pytest
from servers import web

import patchgate
from patchgate.decode import Problems
from patchgate.decode.source.formats import MEDIA, PLAYLISTS
from patchgate.decode.source.protocols import place_of

CLIP = "late.mkv"
FRAMES = 40


def count(source, **options):
    return sum(map(len, patchgate.open_video(source, **options)))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to stand in, with another video that a wrong reading of a name would give."""
    monkeypatch.chdir(tmp_path)
    clips.write(tmp_path / "x.mkv", frames=5)
    return tmp_path


NAMES = ["2026-11-30T12:30:00.mkv", "cam:1.mkv", "pipe:0.mkv", "file:x.mkv", "concat:x.mkv",
         "subfile,,start,0,end,9,,:x.mkv", "crypto:x.mkv", "fd:", "-", "--help", "-i.mkv",
         "a?b#c.mkv", "a*[b].mkv", "100%03d.mkv", "still%d.png", "{a}.jpg", "new\nline.mkv",
         "data:video.mkv", "tab\there", " ", "caf\u00e9.mkv", "rtsp:", "x.m3u8", "x.sdp",
         "x.ffconcat", "x.mp3"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_is_that_file_whatever_its_name(here, name, absolute):
    shutil.copy(clips.clip(CLIP), here / name)
    assert count(os.path.abspath(name) if absolute else name) == FRAMES
    assert count(here / name) == FRAMES
    with open(name, "rb") as file:
        assert count(file) == FRAMES


def test_a_folder_that_is_called_like_an_address(here):
    (here / "http:" / "host").mkdir(parents=True)
    shutil.copy(clips.clip(CLIP), here / "http:" / "host" / "a.mkv")
    assert count("http://host/a.mkv") == FRAMES


def test_a_path_object_is_never_an_address(here):
    from pathlib import Path

    with web({"/a.mkv": clips.clip(CLIP).read_bytes()}) as server:
        with pytest.raises(FileNotFoundError):
            patchgate.open_video(Path(f"{server.base}/a.mkv"))
        assert not server.asked


@pytest.mark.parametrize("address", ["file:{}", "file://{}", "file://localhost{}", "FILE://{}"])
def test_file_addresses(tmp_path, address):
    path = tmp_path / "two words%20.mkv"
    shutil.copy(clips.clip(CLIP), path)
    assert count(address.format(path)) == FRAMES
    shutil.copy(clips.clip(CLIP), tmp_path / "two words.mkv")
    assert count(address.format(tmp_path / "two%20words.mkv")) == FRAMES


@pytest.mark.parametrize("name", [
    "concat:{0}|{0}", "concatf:{0}", "subfile,,start,0,end,0,,:{0}", "crypto:{0}", "cache:{0}",
    "async:{0}", "data:video/x-matroska;base64,AAAA", "fd:0", "tee:{0}", "lavfi:testsrc",
    "unix:{0}", "ipfs:{0}", "video4linux2:{0}", "/dev/null:{0}"])  # fmt: skip
def test_other_protocols_are_no_addresses(name):
    with pytest.raises(FileNotFoundError, match="no such file"):
        patchgate.open_video(name.format(clips.clip(CLIP)))


@pytest.mark.parametrize("scheme", ["concat", "crypto", "crypto+http", "cache", "data", "subfile",
                                    "async", "ftp", "gopher", "rtmp", "rtp", "srtp", "tls", "unix",
                                    "mmsh", "ipfs", "hls+http", "s3", "gs", "lavfi", "fd",
                                    "avdevice"])  # fmt: skip
def test_addresses_of_other_kinds_are_refused(scheme):
    with pytest.raises(ValueError, match=r"addresses of this kind are not opened \(those of "):
        patchgate.open_video(f"{scheme}://127.0.0.1:9/x.mp4")


def test_a_protocol_that_this_ffmpeg_lacks_is_named():
    with pytest.raises(ValueError, match=r"built without srt; fetch it to a file first"):
        patchgate.open_video("srt://127.0.0.1:9")


def test_schemes_in_capitals():
    assert place_of("HTTP://Host/A.mkv").address.url == "http://Host/A.mkv"


def test_what_is_allowed_beneath_an_address():
    for scheme, allowed in {
        "http": {"http", "https", "tcp", "tls", "httpproxy"},
        "https": {"http", "https", "tcp", "tls", "httpproxy"},
        "rtsp": {"tcp", "udp", "rtp", "srtp"},
        "rtsps": {"tcp", "tls", "udp", "rtp", "srtp"},
        "udp": {"udp"},
        "tcp": {"tcp"},
    }.items():
        assert set(place_of(f"{scheme}://host/x").address.protocols.split(",")) == allowed


def test_devices_and_folders(tmp_path):
    with pytest.raises(ValueError, match="is a directory"):
        patchgate.open_video(tmp_path)
    for device in ("/dev/zero", "/dev/null", "/dev/tty"):
        if not stat.S_ISCHR(os.stat(device).st_mode):
            continue
        with pytest.raises((ValueError, OSError), match=r"is a device|No such device"):
            patchgate.open_video(device)


@pytest.mark.parametrize("name", ["lavfi", "video4linux2", "x11grab", "alsa", "kmsgrab", "fbdev",
                                  "image2", "mlv", "vobsub", "rtsp"])  # fmt: skip
def test_devices_and_what_looks_for_more_files_are_no_formats(name):
    with pytest.raises(ValueError, match=r"is no format of video files|no format called"):
        patchgate.open_video(clips.clip(CLIP), format=name)


def test_a_format_is_forced():
    for name in ("matroska", "webm"):
        video = patchgate.open_video(clips.clip(CLIP), format=name)
        assert sum(map(len, video)) == FRAMES
        assert video.problems == Problems()
    with pytest.raises(ValueError, match="not a video that FFmpeg can read"):
        patchgate.open_video(clips.clip(CLIP), format="mp4")
    with pytest.raises(ValueError, match="no format called 'mp5'; leave it out"):
        patchgate.open_video(clips.clip(CLIP), format="mp5")
    with pytest.raises(TypeError, match="format: expected the name of a format or None, got 4"):
        patchgate.open_video(clips.clip(CLIP), format=4)


def test_every_format_that_is_listed_is_one():
    """But for those that a build of FFmpeg may lack."""
    from av.format import ContainerFormat

    for name in {*MEDIA, *PLAYLISTS} - {"dash", "imf"}:
        assert ContainerFormat(name, "r").is_input, name


def test_a_matroska_file_with_the_name_of_a_picture_series(here):
    """FFmpeg would look for still1.png and the rest."""
    shutil.copy(clips.clip(CLIP), here / "still%d.png")
    clips.write(here / "still1.png", codec="png", pixels="rgb24", frames=1, muxer="image2",
                muxer_options={"update": "1"})  # fmt: skip
    assert count("still%d.png") == FRAMES


@pytest.mark.parametrize(("option", "value", "error", "message"), [
    ("open_timeout", 0, ValueError, "expected a positive number of seconds, or None"),
    ("read_timeout", -1.0, ValueError, "expected a positive number of seconds, or None"),
    ("read_timeout", float("nan"), ValueError, "expected a positive number of seconds, or None"),
    ("open_timeout", "10", TypeError, "open_timeout: expected seconds or None, got '10'"),
    ("read_timeout", True, TypeError, "read_timeout: expected seconds or None, got True"),
    ("allow_playlists", 1, TypeError, "allow_playlists: expected True or False, got 1"),
])  # fmt: skip
def test_options_out_of_range(option, value, error, message):
    with pytest.raises(error, match=message):
        patchgate.open_video(clips.clip(CLIP), **{option: value})


def test_a_file_object_that_gives_more_than_it_was_asked_for():
    class Generous(io.RawIOBase):
        def readable(self):
            return True

        def read(self, size=-1):
            return bytes(size + 1)

    with pytest.raises(ValueError, match="which is too many"):
        patchgate.open_video(Generous())


def test_what_is_raised_in_a_users_file_comes_out_whatever_it_is():
    class Closing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 3000:
                raise KeyboardInterrupt
            return super().read(size)

    with pytest.raises(KeyboardInterrupt):
        list(patchgate.open_video(Closing(clips.clip(CLIP).read_bytes())))


def test_a_text_file_is_called_one(tmp_path):
    (tmp_path / "notes.mp4").write_text("buy milk\n" * 50)
    with pytest.raises(ValueError, match=r"notes.mp4 is a text file, not a video"):
        patchgate.open_video(tmp_path / "notes.mp4")
