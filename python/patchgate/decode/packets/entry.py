"""Finds where decoding may begin, so that the result is the same as from the beginning.

A seek is reliable in containers whose index lists packets in order of time (MP4, Matroska). In
others, a demuxer may give a packet other stamps after a seek, or miss that the clock started again.
There, packets are read from the beginning, and decoded from the right key packet on.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from typing import NamedTuple

from ..bitstream import is_shown
from ..ffmpeg import Container, Packet, av
from ..limits import Limits
from .clock import LOOK_AHEAD, Clock, near

Packets = Iterator[Packet]

_WINDOW = 2 * LOOK_AHEAD  # packets among which stamps are sorted
_HELD = 2**26  # the most bytes of packets that are held; beyond that, decoding begins early
_ENTRIES = 100_000  # the most entries of an index that are checked


class Order:
    """Checks, in order of decoding, whether the stamps of packets are those of a regular clock.

    Attributes:
        sound: no stamp is missing, occurs twice, is farther from the next than ``limits.gap``, or
            is out of order by more than the codec reorders pictures. Decoding then changes none.
        headless: the number of packets before the first key packet.
    """

    def __init__(self, stream: av.VideoStream, clock: Clock, limits: Limits) -> None:
        self.sound, self.headless = True, 0
        self._codec = stream.codec_context.codec.canonical_name
        self._depth = stream.codec_context.reorder_depth  # how far pictures are reordered
        self._gap, self._near = clock.ticks(limits.gap), near(clock)
        self._window: list[tuple[int, int]] = []  # stamps and numbers of packets, ascending
        self._read, self._keyed = 0, False  # the number of packets; whether one was a key packet
        self._passed = 0  # the greatest number of a packet that has left the window
        self._top = self._floor = -(1 << 62)  # the latest stamp, and the latest before the last key
        self._below = 0  # the last stamp that has left the window

    def add(self, packet: Packet) -> bool:
        """Checks the next packet; returns whether all are sound so far."""
        if packet.is_discard or not is_shown(self._codec, packet):
            return self.sound
        pts = packet.pts
        if pts is None or packet.is_corrupt:
            self.sound = False
            return False
        if packet.is_keyframe:
            self.sound &= pts > self._top
            self._floor, self._keyed = self._top, True
        elif not self._keyed:
            self.headless += 1
        elif pts <= self._floor:
            self.sound = False
        self._read += 1
        self._top = max(self._top, pts)
        insort(self._window, (pts, self._read))
        earlier = len(self._window) - 1 - self._window.index((pts, self._read))
        self.sound &= earlier <= self._depth
        if len(self._window) > _WINDOW:
            self.sound &= self._read - self._window[-1][1] <= _WINDOW
            self._pass()
        return self.sound

    def close(self) -> bool:
        """Checks the rest after the last packet; returns whether all were sound."""
        while self._window:
            self._pass()
        return self.sound

    def _pass(self) -> None:
        pts, number = self._window.pop(0)
        leap = pts - self._below
        if self._passed:
            self.sound &= 0 < leap <= self._gap
        if self._passed and leap > self._near:  # a pause: later pictures must be decoded later
            self.sound &= min([number, *(n for _, n in self._window)]) > self._passed
        self._below, self._passed = pts, max(self._passed, number)


class Entry(NamedTuple):
    """A key packet where decoding may begin."""

    pts: int
    packets: Packets  # from that packet on


def entered(packets: Packets, order: Order, start: int, back: int = 0) -> Entry | None:
    """Finds the last key packet at or before ``start - back`` ticks; None if stamps are unsound.

    Args:
        packets: those from a key packet before it on, or from the beginning on.
        order: checks their stamps.
        start: the stamp that is wanted, in ticks.
        back: how far before it decoding shall begin, in ticks.
    """
    held: list[Packet] = []
    entry: int | None = None
    size = 0
    for packet in packets:
        if not order.add(packet) or packet.pts is None:
            return None
        if packet.is_keyframe and (entry is None or packet.pts <= start - back):
            held, entry, size = [], packet.pts, 0
        elif entry is None:
            continue
        held.append(packet)
        size += packet.size
        if packet.pts > start or size > _HELD:
            break
    if entry is None or entry > start:
        return None
    return Entry(entry, chain(held, packets))


def seeks(container: Container, stream: av.VideoStream) -> bool:
    """Whether a seek is reliable in such a container."""
    if "mp4" in container.format.name:  # its table has every packet, unless it has fragments
        return 0 < stream.frames <= len(stream.index_entries)
    return "matroska" in container.format.name


def indexed(container: Container, stream: av.VideoStream, clock: Clock, limits: Limits) -> bool:
    """Whether the index, as far as it is known after a seek, has the stamps of a regular clock."""
    if "matroska" not in container.format.name:
        return True
    entries = stream.index_entries
    step = max(1, len(entries) // _ENTRIES)
    known = [(entry.timestamp, entry.pos) for entry in islice(entries, 0, None, step)]
    gap = clock.ticks(limits.gap)
    return bool(known) and all(
        0 < time - before <= gap and at > earlier
        for (before, earlier), (time, at) in pairwise(known)
    )
