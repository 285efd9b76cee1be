"""Packets in the form that hardware decoders need, and the headers in them."""

from __future__ import annotations

import io
import re

from .ffmpeg import Frame, Packet, av

# MP4 and Matroska have lengths where the decoder expects start codes (ISO 14496-15, 10), and the
# parameter sets in the file's header.
_FILTERS = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
HIDES = ("vp8", "vp9")  # codecs with packets that show no picture
_START_CODE = re.compile(rb"\x00\x00\x01(.)", re.DOTALL)


class Bitstream:
    """Converts one stream's packets for a hardware decoder."""

    def __init__(self, codec: str, stream: av.VideoStream) -> None:
        self._codec = codec
        name = _FILTERS.get(codec)
        self._filter = None if name is None else av.bitstream.BitStreamFilterContext(name, stream)
        self._sets = parameter_sets(codec, stream.codec_context.extradata or b"")

    def prepared(self, packet: Packet) -> list[Packet]:
        """Returns the packets to decode in place of this one, which must not be used any more.

        Raises:
            av.FFmpegError: the packet is damaged.
        """
        return [packet] if self._filter is None else self._filter.filter(packet)

    def entered(self, packet: Packet) -> Packet:
        """Returns a prepared key packet for a decoder that begins with it.

        The filter writes the file's parameter sets only before IDR pictures. A decoder may begin at
        other key packets, too.
        """
        data = bytes(packet)
        if not self._sets or sequence_headers(self._codec, data):
            return packet
        return av.Packet(self._sets + data)  # type: ignore[return-value]


def parameter_sets(codec: str, header: bytes) -> bytes:
    """Returns the parameter sets of H.264 or HEVC in a file's header, with start codes.

    The header is an avcC or hvcC (ISO 14496-15, 5.3.3.1 and 8.3.3.1).
    """
    if codec not in _FILTERS or header[:1] != b"\x01":
        return header if codec in _FILTERS else b""
    data, sets = io.BytesIO(header), b""

    def number(size: int) -> int:
        return int.from_bytes(data.read(size), "big")  # past the end: 0

    hevc = codec == "hevc"
    data.seek(22 if hevc else 5)
    arrays = number(1) if hevc else 2  # H.264: sequence sets, then picture sets
    for i in range(arrays):
        data.read(hevc)  # the kind of sets
        count = number(2) if hevc else number(1) & (31 if i == 0 else 255)
        for _ in range(count):
            if size := number(2):
                sets += b"\x00\x00\x00\x01" + data.read(size)
    return sets


def sequence_headers(codec: str, data: bytes) -> bytes:
    """Returns the part of a key packet that determines the format of pictures.

    If it is the same, the format is the same. It may also differ between pictures of one format.

    These are the sequence parameter sets (H.264 7.3.2.1, HEVC 7.3.2.2), the sequence header (MPEG-1
    and 2: ISO 13818-2, 6.2.2.1; AV1 5.5: an OBU of type 1), or the uncompressed header up to the
    size (VP8: RFC 6386, 9.1; VP9 6.2). It is empty if the packet repeats none.
    """
    if codec in ("h264", "hevc"):
        return _parameter_sets(data, hevc=codec == "hevc")
    if codec in ("mpeg1video", "mpeg2video"):
        return _mpeg_sequence(data)
    if codec == "av1":
        return _sequence_obu(data)
    return data[3:10] if codec == "vp8" else _vp9_header(data)


def _parameter_sets(data: bytes, *, hevc: bool) -> bytes:
    """Returns all sequence parameter sets before the first slice, with their start codes."""
    found: list[bytes] = []
    begin: int | None = None
    for code in _START_CODE.finditer(data):
        if begin is not None:
            found.append(data[begin : code.start()].rstrip(b"\x00"))
            begin = None
        first = code[1][0]
        kind = first >> 1 & 63 if hevc else first & 31
        if kind < 32 if hevc else 1 <= kind <= 5:  # a slice
            return b"".join(found)
        if kind == (33 if hevc else 7):
            begin = code.start()
    return b"".join(found if begin is None else [*found, data[begin:]])


def _mpeg_sequence(data: bytes) -> bytes:
    """Returns the part from the sequence header to the first group or picture."""
    begin = data.find(b"\x00\x00\x01\xb3")
    if begin < 0:
        return b""
    ends = (code.start() for code in _START_CODE.finditer(data, begin) if code[1] in b"\xb8\x00")
    return data[begin : next(ends, len(data))]


def _vp9_header(data: bytes) -> bytes:
    """Returns marker, profile, colour and size, without show_frame and error_resilient_mode."""
    if len(data) < 10:
        return data
    profile = data[0] >> 5 & 1 | data[0] >> 3 & 2
    bits = 68 + (0, 3, 1, 5)[profile]  # more bits for other depths or chroma
    size = int.from_bytes(data[8:10], "big") >> 80 - bits
    return bytes([data[0] & 0xFC]) + data[1:8] + size.to_bytes(2, "big")


def _sequence_obu(data: bytes) -> bytes:
    at = 0
    while at < len(data):
        header = data[at]
        at += 2 if header & 4 else 1  # an extension byte
        if not header & 2:  # no size: it reaches to the end
            return data[at:] if header >> 3 & 15 == 1 else b""
        size = shift = 0
        while at < len(data):  # leb128
            byte = data[at]
            size |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                break
        if header >> 3 & 15 == 1:
            return data[at : at + size]
        at += size
    return b""


def is_shown(codec: str, data: Packet | bytes) -> bool:
    """Whether a packet's picture is shown. Some packets only make a reference.

    These are VP8's golden frames (RFC 6386, 9.1), and VP9's frames with such a header (6.2) that
    are not in one packet with others (annex B).
    """
    if codec not in HIDES:
        return True
    view = memoryview(data)
    if not len(view):
        return True
    if codec == "vp8":
        return bool(view[0] >> 4 & 1)
    bits = f"{view[0]:08b}"
    if bits[:2] != "10":
        return True  # damaged: the decoder will report it
    at = 5 if bits[2:4] == "11" else 4  # behind the marker and the profile
    return bits[at] == "1" or bits[at + 2] == "1" or view[-1] & 0xE0 == 0xC0


def first_picture(decoder_name: str, data: bytes) -> Frame | None:
    """Decodes a key packet's picture with one of FFmpeg's decoders; None if it cannot."""
    decoder = av.CodecContext.create(decoder_name, "r")
    try:
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]  # type: ignore[attr-defined]
    except av.FFmpegError:
        return None
    finally:
        decoder.flush_buffers()  # stops its threads, see Feed.close
    return frames[0] if frames else None
