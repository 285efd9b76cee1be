"""The end that a container promises, and whether the file has it."""

from __future__ import annotations

import re

from ..ffmpeg import Container, av
from ..limits import Limits
from ..source.source import Source
from .clock import Clock

_MICROSECONDS = 1_000_000  # a container's clock
_TS_PACKETS = (188, 192, 204)  # bytes: plain, with a time of arrival, with error correction
_TAG = 11  # bytes of an FLV tag's header


def promised_end(
    container: Container, stream: av.VideoStream, clock: Clock, limits: Limits
) -> float | None:
    """Returns when the video stream ends, in seconds of its clock, if the header has this.

    It returns None, too, if the header has a length beyond ``limits.duration``: such a header is
    damaged.
    """
    end = _in_header(container, stream, clock)
    begin = clock.seconds(stream.start_time or 0)
    if end is None or (limits.duration is not None and end - begin > limits.duration):
        return None
    return end


def _in_header(container: Container, stream: av.VideoStream, clock: Clock) -> float | None:
    begin = clock.seconds(stream.start_time or 0)
    if container.format.name == "avi" and stream.frames:
        return begin + clock.seconds(stream.frames)  # its duration depends on the file's size
    if stream.duration:
        return begin + clock.seconds(stream.duration)
    if "matroska" in container.format.name:  # durations count from 0, not from the start
        begin = 0.0
    length = " ".join(v for k, v in stream.metadata.items() if k.startswith("DURATION"))
    if found := re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", length):
        hours, minutes, seconds = found.groups()
        return begin + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.duration and len(container.streams) == 1:
        return begin + container.duration / _MICROSECONDS
    return None


def ends_early(container: Container, end: float, promised: float, frame: float) -> bool:
    """Whether the last picture ends clearly before the promised end.

    Args:
        container: the opened file.
        end: the end of the last picture, in seconds.
        promised: the promised end, in seconds.
        frame: the duration of a frame, in seconds.
    """
    # MXF counts pictures; other formats round, or count sound, too.
    exact = container.format.name == "mxf"
    return end < promised - (0.75 * frame if exact else max(2.5 * frame, 0.005 * promised))


def is_cut(container: Container, source: Source, end: int | None) -> bool:
    """Whether the file ends in the middle of a unit of its format.

    Args:
        container: the opened file.
        source: the file.
        end: where the last packet of the video ends, in bytes.
    """
    size, name = source.size() or 0, container.format.name
    if name == "mpegts":
        return all(size % packet for packet in _TS_PACKETS)
    if name == "yuv4mpegpipe":
        return end is not None and size > end
    if name == "gif":  # it ends with a semicolon
        return not source.at(max(0, size - 16), 16).rstrip(b"\0\r\n").endswith(b";")
    if name == "flv":
        return not _ends_with_a_tag(source, size)
    if "matroska" in name:
        return size < _end_of_segment(source.at(0, 128))
    return False


def _ends_with_a_tag(source: Source, size: int) -> bool:
    """Whether an FLV file ends with a whole tag.

    A tag is followed by its length; its header has the payload's length (annex E.3, E.4).
    """
    length = int.from_bytes(source.at(size - 4, 4), "big")
    header = source.at(size - 4 - length, _TAG) if _TAG <= length <= size - 4 else b""
    payload = int.from_bytes(header[1:4], "big")
    return len(header) == _TAG and header[0] & 31 in (8, 9, 18) and payload + _TAG == length


def _end_of_segment(head: bytes) -> int:
    """Returns where a Matroska file should end, in bytes; 0 if its head does not say.

    An element is its name, its size and its content (RFC 8794); a file is a head and a segment
    (RFC 9559).
    """
    at = 0
    for name in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        if head[at : at + 4] != name or len(head) < at + 12:
            return 0
        width = 9 - head[at + 4].bit_length()  # leading zeros count the bytes of the size
        size = int.from_bytes(head[at + 4 : at + 4 + width], "big") & (1 << 7 * width) - 1
        if size == (1 << 7 * width) - 1:  # unknown
            return 0
        at += 4 + width + size
    return at
