"""Lists which pictures a video shows and when, with as little decoding as possible.

A container lists packets. Some are never shown, and some cannot be decoded, because pictures that
they depend on are missing. If stamps are sound, only stretches with missing packets are decoded;
otherwise the whole video is.

Letters: N packets that are not hidden, or pictures.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import dropwhile
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..bitstream import is_shown
from ..ffmpeg import Packet, av
from ..pyav import PyAVReader
from ..timeline import timed
from .clock import LOOK_AHEAD, Clock
from .entry import Order

_HOLE = 1.5  # if the next packet comes later than so many durations, one is missing
_SOME = 16  # if more than one packet in so many has a hole behind it, the rate varies
_NEVER = -(1 << 63)  # stands for a time that the container does not have


class Listing(NamedTuple):
    """The pictures in the order of showing."""

    ticks: NDArray[np.int64]  # [N]
    key: NDArray[np.bool_]  # [N]: a decoder can start there
    clock: Clock
    last_span: int  # ticks that the last one is shown


class _Packets(NamedTuple):
    """Packets that are not hidden, in order of decoding."""

    number: NDArray[np.int64]  # [N] among all packets of the stream, from 0
    pts: NDArray[np.int64]  # [N]
    dts: NDArray[np.int64]  # [N]
    duration: NDArray[np.int64]  # [N]
    key: NDArray[np.bool_]  # [N]


def listing(reader: PyAVReader) -> Listing:
    """Lists the pictures that decoding a video from the beginning gives.

    The reader must not be used after it.
    """
    packets = _sound(reader) if reader.source.seekable else None
    if packets is None:
        frames = reader.all_frames() if reader.source.seekable else reader.frames()
        pictures = timed(frames, reader.mender(), reader)
        ticks, key, span = array("q"), array("b"), reader.clock.nominal
        for picture in pictures:
            ticks.append(picture.ticks)
            key.append(picture.picture.key_frame)
            span = picture.span
        return Listing(np.array(ticks, np.int64), np.array(key, bool), reader.clock, span)
    kept = ~_lost(reader, packets)
    pts, key_frame, duration = packets.pts[kept], packets.key[kept], packets.duration[kept]
    order = pts.argsort()
    pts, span = pts[order], reader.clock.nominal
    if len(pts):
        before = int(pts[-1] - pts[-2]) if len(pts) > 1 else span
        span = reader.mender().last_span(int(duration[order[-1]]), before)
    return Listing(pts, key_frame[order], reader.clock, span)


def _sound(reader: PyAVReader) -> _Packets | None:
    """Returns the packets that are not hidden; None if decoding would change their stamps."""
    reader.reopen()
    order = Order(reader.stream, reader.clock, reader.limits)
    columns = [array("q") for _ in _Packets._fields]
    codec = reader.codec()
    for at, packet in enumerate(reader.read()):
        if not order.add(packet):
            return None
        if packet.is_discard or not is_shown(codec, packet):
            continue
        decoded = _NEVER if packet.dts is None else packet.dts
        said = (at, packet.pts, decoded, packet.duration or 0, packet.is_keyframe)
        for column, value in zip(columns, said, strict=True):
            column.append(value or 0)
    if not order.close() or reader.problems.corrupt_packets or reader.problems.truncated:
        return None
    number, pts, dts, duration, key = (np.array(column, np.int64) for column in columns)
    return _Packets(number, pts, dts, duration, key.astype(bool))


def _lost(reader: PyAVReader, packets: _Packets) -> NDArray[np.bool_]:
    """Returns which packets give no picture, ``[N]``."""
    lost = np.zeros(len(packets.number), bool)
    stretches = _suspects(packets)
    if not stretches:
        return lost
    reader.reopen()
    numbered = enumerate(reader.read())
    for begin, end in stretches:
        numbers = packets.number[begin:end]
        first = int(numbers[0])
        came = _came(reader, dropwhile(lambda pair: pair[0] < first, numbered), int(numbers[-1]))  # noqa: B023
        lost[begin:end] = ~np.isin(numbers, came)
    return lost


def _suspects(packets: _Packets) -> list[tuple[int, int]]:
    """Returns stretches, from key packet to key packet, in which pictures may be missing.

    These are the one before the first key packet, and those around holes.
    """
    count, keys = len(packets.number), packets.key.nonzero()[0]  # [keys]
    found = []
    if not len(keys) or keys[0]:
        found.append((0, int(keys[0]) if len(keys) else count))
    for hole in _holes(packets).tolist():
        before, after = np.searchsorted(keys, [hole, hole + 1]).tolist()
        begin = int(keys[before - 1]) if before else 0
        end = int(keys[after]) if after < len(keys) else count
        # The decoder reads so far beyond a stretch that it reaches the next one.
        if found and begin <= found[-1][1] + LOOK_AHEAD:
            begin = found.pop()[0]
        found.append((begin, end))
    return found


def _holes(packets: _Packets) -> NDArray[np.int64]:
    """Returns the positions in ``[N]`` of packets before which one is missing."""
    if len(packets.dts) < 3 or packets.key.all() or bool((packets.dts == _NEVER).any()):
        return np.empty(0, np.int64)
    gaps = np.diff(packets.dts)  # [N - 1]
    usual = np.where(packets.duration[:-1] > 0, packets.duration[:-1], np.median(gaps))
    holes = (gaps > _HOLE * usual).nonzero()[0] + 1
    return holes if len(holes) * _SOME <= len(gaps) else holes[:0]


def _came(reader: PyAVReader, numbered: Iterator[tuple[int, Packet]], last: int) -> list[int]:
    """Returns the packets up to the last one whose pictures come, if decoding begins here."""
    came: list[int] = []
    for number, packet in numbered:
        packet.pts = number
        came += _numbers(reader, packet)
        if number >= last + LOOK_AHEAD:
            break
    came += _numbers(reader, None)
    reader.stream.codec_context.flush_buffers()
    return came


def _numbers(reader: PyAVReader, packet: Packet | None) -> list[int]:
    try:
        return [frame.pts for frame in reader.stream.decode(packet) if frame.pts is not None]
    except av.FFmpegError:
        return []
