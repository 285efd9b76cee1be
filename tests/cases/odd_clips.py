"""Clips as recorders and networks leave them: with bad stamps, lost packets and odd tracks."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import clips

MS = Fraction(1, 1000)
# No picture leans on a later one; a key frame every 10.
FORWARD = {"qp": "0", "preset": "ultrafast", "tune": "zerolatency", "g": "10", "sc_threshold": "0"}
# Two pictures in three lean on a later one; a key frame every 10.
BOTH_WAYS = {"x264-params": "bframes=2:b-adapt=0:keyint=10:min-keyint=10:scenecut=0"
                            ":rc-lookahead=0:mbtree=0", "crf": "20"}  # fmt: skip

_INSIDE = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xa0")  # segment, cluster, block group
_CLUSTER_TIME, _BLOCKS = b"\xe7", (b"\xa3", b"\xa1")


def forward(path: Path, frames: int = 30, **more) -> Path:
    return clips.write(path, frames=frames, options=FORWARD, **more)


def both_ways(path: Path, frames: int = 30, **more) -> Path:
    return clips.write(path, frames=frames, options=BOTH_WAYS, **more)


def _width(first: int) -> int:
    """Bytes of an EBML number, by its first one (RFC 8794, 4)."""
    return 9 - first.bit_length()


def _blocks(data: bytes):
    """Every block of a Matroska file: where its stamp stands, and its cluster's stamp."""
    at = cluster = 0
    while at < len(data):
        name = data[at : at + _width(data[at])]
        at += len(name)
        width = _width(data[at])
        size = int.from_bytes(data[at : at + width], "big") & (1 << 7 * width) - 1
        at += width
        if name in _INSIDE:
            continue
        if name == _CLUSTER_TIME:
            cluster = int.from_bytes(data[at : at + size], "big")
        if name in _BLOCKS:
            yield at + _width(data[at]), cluster
        at += size


def stamps_of(path: Path) -> list[int]:
    """Stamps of a file's packets, as they are decoded."""
    with av.open(str(path)) as container:
        return [packet.pts for packet in container.demux(video=0) if packet.size]


def retimed(path: Path, source: Path, stamps: Sequence[int]) -> Path:
    """A Matroska file with other stamps (milliseconds), one a packet, in their order."""
    data = bytearray(source.read_bytes())
    for (at, cluster), stamp in zip(list(_blocks(data)), stamps, strict=True):
        data[at : at + 2] = struct.pack(">h", stamp - cluster)
    path.write_bytes(data)
    return path


def without(path: Path, source: Path, lost: Sequence[int]) -> Path:
    """The same packets but for some, by number, with the stamps that they had."""
    with av.open(str(source)) as container, av.open(str(path), "w") as out:
        stream = container.streams.video[0]
        copy = out.add_stream_from_template(stream)
        packets = [packet for packet in container.demux(stream) if packet.size]
        for number, packet in enumerate(packets):
            if number not in lost:
                packet.stream = copy
                out.mux(packet)
    return path


def tracks(path: Path, formats: Sequence[tuple[str, int]], codec: str = "ffv1") -> Path:
    """One video track for each pixel format and number of frames."""
    with av.open(str(path), "w") as out:
        streams = []
        for pixels, _ in formats:
            stream = out.add_stream(codec, rate=clips.RATE)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
            streams.append(stream)
        for stream, (pixels, frames) in zip(streams, formats, strict=True):
            pts = range(frames)
            for packet in clips.encode(stream, (64, 48), pixels, pts, tick=Fraction(1, 25)):
                out.mux(packet)
    return path


def gif(width: int, height: int, frames: int) -> bytes:
    """A GIF of black pictures, each of which stores one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    wait = b"\x21\xf9\x04\x00\x04\x00\x00\x00"  # a graphic control: four hundredths of a second
    pixel = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + (wait + pixel) * frames + b";"
