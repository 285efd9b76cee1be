"""NVDEC's stream over the fake: sequences, sizes that change, damage, and decoders that refuse."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import av
import clips
import pytest
import torch
from fake_nvdec import FakeBackend
from nvdec_cases import VIDEOS, assert_like_the_cpu, on_gpu

import patchgate
from patchgate.decode import DecodeError, DecodeWarning, FrameBatch, NvdecError
from patchgate.decode.bitstream import Bitstream, is_shown, parameter_sets, sequence_headers
from patchgate.decode.nvdec.decoder import Kind
from patchgate.decode.timeline import Ahead


def test_the_next_stamp_is_known_as_far_ahead_as_a_codec_can_reorder() -> None:
    stamps = [0, *range(16, 0, -1), *range(17, 60)]
    ahead = Ahead((i, pts) for i, pts in enumerate(stamps))
    items = iter(ahead)
    for pts in range(59):
        item = next(items)
        assert item == pts
        assert ahead.after(pts) == pts + 1
    assert ahead.after(59) is None
    assert ahead.after(None) is None
    assert list(items) == [59]


@pytest.mark.parametrize("name", VIDEOS)
def test_one_sequence_is_one_decoder_and_looked_at_once(
    nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its headers are the same at every key packet, whatever else stands beside them."""
    monkeypatch.setattr(
        "patchgate.decode.nvdec.surface_reader.first_picture", None
    )  # fails if called
    video = on_gpu(clips.clip(name))
    assert sum(int(batch.key_frame.sum()) for batch in video) > 1 or name.startswith("vfr")
    assert len(nvdec.nvc.decoders) == 1


@pytest.mark.parametrize("name", ["h264.mp4", "late.mkv", "hevc.mp4"])
def test_parameter_sets_are_those_that_ffmpeg_writes(name: str) -> None:
    with av.open(str(clips.clip(name))) as container:
        stream = container.streams.video[0]
        codec, header = stream.codec_context.name, stream.codec_context.extradata
        (packet,) = Bitstream(codec, stream).prepared(next(container.demux(stream)))
    sets = parameter_sets(codec, header)
    assert sequence_headers(codec, sets) == sequence_headers(codec, bytes(packet)) != b""
    for each in sets.split(b"\x00\x00\x00\x01")[1:]:
        assert each in bytes(packet)


@pytest.mark.parametrize("start", [None, 0.3, 0.6])
def test_a_new_size_in_the_middle_gets_a_new_decoder(
    nvdec: FakeBackend, start: float | None
) -> None:
    """The old one would scale the pictures to the size that it knows."""
    with pytest.warns(DecodeWarning) if start != 0.6 else nullcontext():
        video = assert_like_the_cpu(clips.clip("size.ts"), start=start)
    sizes = [] if start == 0.6 else [(pytest.approx(0.4), (96, 64))]
    assert video.problems.size_changes == sizes


def test_a_change_into_what_nvdec_lacks_is_an_error_that_says_so(
    nvdec: FakeBackend, tmp_path: Path
) -> None:
    video = on_gpu(clips.size_change(tmp_path / "clip.ts", pixels="yuv422p"), chunk=4)
    got: list[FrameBatch] = []
    with pytest.raises(DecodeError, match=r'4:2:0 video.*yuv422p; open it with device="cpu"'):
        got.extend(video)
    assert sum(map(len, got)) in (8, 10), "the frames before it were given"


@pytest.mark.parametrize("more", [0, 1, 10, -1])
def test_a_truncated_file_is_told_and_gives_what_it_has(
    nvdec: FakeBackend, tmp_path: Path, more: int
) -> None:
    """Cut between two packets, nothing is corrupt; anywhere else, the last packet is."""
    clip = clips.clip("faststart.mp4")
    whole = torch.cat([b.planes[0] for b in patchgate.open_video(clip)])
    with av.open(str(clip)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][32]
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: packet.pos + more % packet.size])
    said = "the last one perhaps not whole" + ("; 1 corrupt packet" if more else "$")
    video = on_gpu(cut)
    with pytest.warns(DecodeWarning, match=f"the file is truncated.*{said}"):
        got = torch.cat([batch.planes[0] for batch in video])
    assert video.problems.truncated
    assert video.problems.corrupt_packets == bool(more)
    assert len(got) > 25
    assert torch.equal(got[:25], whole[:25])


def test_a_refused_packet_is_skipped_to_the_next_key_packet(nvdec: FakeBackend) -> None:
    (expected,) = patchgate.open_video(clips.clip("h264.mp4"), chunk=64)
    nvdec.nvc.refuse = {20}
    video = on_gpu(clips.clip("h264.mp4"), chunk=64)
    with pytest.warns(DecodeWarning, match=r"1 corrupt packet"):
        (got,) = video
    assert 8 < len(got) < 40
    index = torch.searchsorted(expected.pts_seconds, got.pts_seconds)
    assert torch.equal(expected.pts_seconds[index], got.pts_seconds)
    assert torch.equal(expected.planes[0][index], got.planes[0]), "only whole pictures are given"
    assert len(nvdec.nvc.decoders) == 2
    nvdec.nvc.packets = 0
    with pytest.raises(DecodeError, match="is damaged"):
        list(on_gpu(clips.clip("h264.mp4"), errors="raise"))


def test_a_decoder_that_takes_nothing_is_an_error(nvdec: FakeBackend) -> None:
    nvdec.nvc.refuse = {1}
    with pytest.raises(NvdecError, match=r'Codec not supported.*device="cpu" uses PyAV'):
        list(on_gpu(clips.clip("h264.mp4")))


def test_a_decoder_that_gives_nothing_is_an_error(
    nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fake_nvdec.FakeDecoder._pictures", lambda self, data: [])
    with pytest.raises(NvdecError, match="returned no picture for 40 packets"):
        list(on_gpu(clips.clip("h264.mp4")))


def test_a_surface_of_another_size_than_the_stream_says_is_an_error(
    nvdec: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "patchgate.decode.nvdec.surface_reader.kind_of", lambda *of: Kind("h264", 128, 96, 8)
    )
    with pytest.raises(NvdecError, match=r"surface of \[72, 64\]"):
        list(on_gpu(clips.clip("h264.mp4")))


SEQUENCES: dict[str, Callable[[], bytes]] = {
    "av1": lambda: key_packet("av1.mkv"),
    "vp9": lambda: key_packet("vp9.webm"),
    "mpeg2video": lambda: key_packet("mpeg2.ts"),
    "h264": lambda: key_packet("late.ts"),
    "hevc": lambda: key_packet("hevc.ts"),
}


def key_packet(name: str) -> bytes:
    with av.open(str(clips.clip(name))) as container:
        return next(bytes(packet) for packet in container.demux(video=0) if packet.is_keyframe)


@pytest.mark.parametrize("codec", SEQUENCES)
def test_sequence_headers_are_found_and_repeat(codec: str) -> None:
    data = SEQUENCES[codec]()
    headers = sequence_headers(codec, data)
    assert 6 <= len(headers) < 80
    assert headers in data or codec == "vp9"  # of which the last byte is a part of two
    assert sequence_headers(codec, data[: len(data) // 2]) == headers, "before the first slice"
    for damaged in (b"", data[:1], headers[:3]):
        assert len(sequence_headers(codec, damaged)) <= len(damaged)


def test_a_golden_frame_of_vp8_is_not_shown() -> None:
    assert is_shown("vp8", bytes([0x10]))
    assert not is_shown("vp8", bytes([0x01]))
    assert is_shown("vp9", bytes([0x01]))
