"""Texts that name other files and addresses: nothing that they name is opened, unless asked for."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import warnings

import av
import clips
import pytest
from servers import web

import patchgate

FRAMES = 10
HLS = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n{}#EXTINF:0.4,\n{}\n#EXT-X-ENDLIST\n"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-main:2011"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet>'
    "</Period></MPD>"
)
SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video {} RTP/AVP 32\r\n"
)
IMF = '<?xml version="1.0"?><AssetMap xmlns="http://www.smpte-ra.org/schemas/429-9/2007/AM">{}'


@pytest.fixture
def segment(tmp_path):
    return clips.write(tmp_path / "segment.ts", frames=FRAMES, codec="mpeg2video", tick=clips._25,
                       options={"b": "400k"})  # fmt: skip


@pytest.fixture
def server(segment):
    with web({"/segment.ts": segment.read_bytes(), "/key": bytes(16)}) as server:
        yield server


def scripts(segment, base):
    """By kind: texts that name a file, an address, or themselves (``evil.mp4``)."""
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{base}/key"\n'
    return {
        "hls file": HLS.format("", segment),
        "hls relative": HLS.format("", segment.name),
        "hls file:": HLS.format("", f"file://{segment}"),
        "hls http": HLS.format("", f"{base}/segment.ts"),
        "hls key": HLS.format(key, segment),
        "hls concat": HLS.format("", f"concat:{segment}|{segment}"),
        "hls subfile": HLS.format("", f"subfile,,start,0,end,0,,:{segment}"),
        "hls crypto": HLS.format("", f"crypto:{segment}"),
        "hls data": HLS.format("", "data:video/mp2t;base64,R0AREA=="),
        "hls with a mark": "\ufeff" + HLS.format("", segment),
        "ffconcat file": f"ffconcat version 1.0\nfile '{segment}'\n",
        "ffconcat relative": f"ffconcat version 1.0\nfile {segment.name}\n",
        "ffconcat http": f"ffconcat version 1.0\nfile '{base}/segment.ts'\n",
        "ffconcat itself": "ffconcat version 1.0\nfile evil.mp4\n",
        "ffconcat at last itself": f"ffconcat version 1.0\nfile {segment.name}\nfile evil.mp4\n",
        "dash": MPD.format(f"{base}/segment.ts"),
        "sdp": SDP.format(40_123),
        "imf": IMF.format(f"<Path>{segment}</Path>"),
        "PLS": f"[playlist]\nFile1={segment}\n",
        "ASX": f'<asx version="3.0"><entry><ref href="{base}/segment.ts"/></entry></asx>',
        "ASF": f"[Reference]\nRef1={base}/segment.ts\n",
        "smil": f'<?xml version="1.0"?><smil><body><video src="{base}/x"/></body></smil>',
        "rtsp text": f"RTSPtextRTSP://127.0.0.1:9/{segment.name}\n",
    }


KINDS = list(scripts(clips.folder() / "x", ""))


def sources(path):
    """The same bytes, in every form."""
    yield str(path)
    yield path
    yield path.read_bytes()
    yield io.BytesIO(path.read_bytes())
    yield open(path, "rb")  # noqa: SIM115  # ``with`` ends before the test


@pytest.mark.parametrize("name", ["evil.mp4", "evil.m3u8"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_a_text_names_is_opened(tmp_path, monkeypatch, segment, server, kind, name):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_text(scripts(segment, server.base)[kind])
    for source in sources(path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match=r"is a playlist|is a text file"):
                patchgate.open_video(source)
    assert not server.asked


@pytest.mark.parametrize("kind", ["hls http", "ffconcat http", "sdp", "dash"])
def test_neither_is_it_where_a_text_comes_from_a_server(segment, kind):
    files = {}
    with web({"/segment.ts": b""}) as other, web(files) as server:
        files["/list"] = scripts(segment, other.base)[kind].encode()
        with pytest.raises(ValueError, match="what came is"):
            patchgate.open_video(f"{server.base}/list")
        assert not other.asked


def test_an_sdp_opens_no_port(tmp_path):
    """Were it bound, binding it here would fail."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1
    with pytest.raises(ValueError, match=r'format="sdp"'):
        patchgate.open_video(SDP.format(port).encode())
    for number in (port, port + 1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("0.0.0.0", number))


def test_the_message_says_what_to_do(tmp_path, segment):
    path = tmp_path / "list.m3u8"
    path.write_text(HLS.format("", segment.name))
    with pytest.raises(ValueError, match=r'\(HLS\).*pass allow_playlists=True, or format="hls"'):
        patchgate.open_video(path)


@pytest.mark.parametrize("options", [{"allow_playlists": True}, {"format": "hls"}])
@pytest.mark.parametrize("kind", ["hls file", "hls relative", "hls file:", "hls http"])
def test_hls_that_was_asked_for(tmp_path, monkeypatch, segment, server, kind, options):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "list.m3u8"
    path.write_text(scripts(segment, server.base)[kind])
    for source in sources(path):
        assert sum(map(len, patchgate.open_video(source, **options))) == FRAMES
    assert bool(server.asked) == (kind == "hls http")


@pytest.mark.parametrize("options", [{"allow_playlists": True}, {"format": "hls"}])
def test_hls_of_a_server_that_was_asked_for(segment, options):
    files = {"/segment.ts": segment.read_bytes()}
    with web(files) as server:
        files["/list.m3u8"] = HLS.format("", "segment.ts").encode()
        files["/local.m3u8"] = HLS.format("", f"file://{segment}").encode()
        assert sum(map(len, patchgate.open_video(f"{server.base}/list.m3u8", **options))) == FRAMES
        with pytest.raises((ValueError, OSError)):
            patchgate.open_video(f"{server.base}/local.m3u8", **options)
        with pytest.raises(ValueError, match="can be read only from a file"):
            patchgate.open_video(f"{server.base}/list.m3u8", format="concat")


@pytest.mark.parametrize("kind", ["hls concat", "hls subfile", "hls crypto", "hls data", "hls key"])
def test_some_protocols_are_never_used(tmp_path, segment, server, kind):
    path = tmp_path / "list.m3u8"
    path.write_text(scripts(segment, server.base)[kind])
    with pytest.raises((ValueError, OSError)):
        list(patchgate.open_video(path, allow_playlists=True))


@pytest.mark.parametrize("content", ["hls", "ffconcat", "text"])
def test_a_segment_must_be_media(tmp_path, segment, content):
    """A list of a list, and of a file that is none of ours to give."""
    inner = {"hls": HLS.format("", "inner.ts"), "text": "root:x:0:0\n" * 99,
             "ffconcat": "ffconcat version 1.0\nfile segment.ts\n"}[content]  # fmt: skip
    (tmp_path / "inner.ts").write_text(inner)
    (tmp_path / "list.m3u8").write_text(HLS.format("", "inner.ts"))
    with pytest.raises((ValueError, OSError)):
        list(patchgate.open_video(tmp_path / "list.m3u8", allow_playlists=True))


@pytest.mark.parametrize("options", [{"allow_playlists": True}, {"format": "hls"}])
def test_hls_that_names_what_is_not_there(tmp_path, options):
    path = tmp_path / "list.m3u8"
    path.write_text(HLS.format("", "nowhere.ts"))
    with pytest.raises(ValueError, match=r"\(HLS\), and no video can be read from what it names"):
        patchgate.open_video(path, **options)


@pytest.mark.parametrize("line", ["file segment.ts", "file 'segment.ts'", r"file seg\ment.ts",
                                  "file seg'ment.'ts"])  # fmt: skip
def test_ffconcat_that_was_asked_for(tmp_path, monkeypatch, segment, line):
    path = tmp_path / "list.mp4"
    path.write_text(f"ffconcat version 1.0\n# two of them\n{line}\n{line}\n")
    assert sum(map(len, patchgate.open_video(path, format="concat"))) == 2 * FRAMES
    monkeypatch.chdir(tmp_path)
    data = path.read_bytes()
    assert sum(map(len, patchgate.open_video(data, allow_playlists=True))) == 2 * FRAMES


@pytest.mark.parametrize(("line", "message"), [
    ("file list.mp4", "which is a playlist itself"),
    ("file 'inner.m3u8'", "which is a playlist itself"),
    ("file http://127.0.0.1:9/x.ts", "may name only files on this disk"),
    ("file pipe:0", "may name only files on this disk"),
    ("file concat:segment.ts", "which does not exist"),
    ("file nowhere.ts", "which does not exist"),
])  # fmt: skip
def test_what_an_ffconcat_script_may_not_name(tmp_path, segment, line, message):
    (tmp_path / "inner.m3u8").write_text(HLS.format("", "segment.ts"))
    path = tmp_path / "list.mp4"
    path.write_text(f"ffconcat version 1.0\nfile segment.ts\n{line}\n")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        patchgate.open_video(path, allow_playlists=True)


def test_a_script_that_names_itself_cannot_crash(tmp_path, segment):
    """Python may not survive what it does to FFmpeg: hence another process."""
    path = tmp_path / "clip.mp4"
    path.write_text("ffconcat version 1.0\nfile segment.ts\nfile clip.mp4\n")
    program = """
import resource, sys, patchgate
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
for options in ({}, {"allow_playlists": True}, {"format": "concat"}):
    try:
        list(patchgate.open_video(sys.argv[1], **options))
    except ValueError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", program, str(path)], timeout=60, text=True,
                          capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_an_sdp_file_that_was_asked_for_receives(tmp_path):
    """RTP over UDP, to the port that it names; nothing comes: open_timeout ends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] & ~1
    (tmp_path / "x.sdp").write_text(SDP.format(port))
    with pytest.raises(TimeoutError, match=r"open_timeout=0\.5 seconds"):
        patchgate.open_video(tmp_path / "x.sdp", allow_playlists=True, open_timeout=0.5)


def test_a_media_file_is_read_as_before_where_playlists_are_allowed(segment):
    assert sum(map(len, patchgate.open_video(segment, allow_playlists=True))) == FRAMES


def test_dash_is_refused_where_ffmpeg_cannot_read_it():
    if "dash" in av.formats_available and _reads("dash"):
        pytest.skip("this FFmpeg can")
    with pytest.raises(ValueError, match="cannot read dash"):
        patchgate.open_video(MPD.format("x").encode(), format="dash")


def _reads(name):
    try:
        return av.ContainerFormat(name, "r").is_input
    except ValueError:
        return False


def test_the_name_of_a_file_object_says_nothing(tmp_path, segment):
    (tmp_path / "list.m3u8").write_text(HLS.format("", segment.name))

    class Called(io.BytesIO):
        name = str(tmp_path / "list.m3u8")

    assert sum(map(len, patchgate.open_video(Called(segment.read_bytes())))) == FRAMES
