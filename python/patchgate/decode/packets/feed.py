"""Reads one stream's packets, numbers them and seeks; has the container's facts about it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

from ..ffmpeg import Packet, av
from ..frames import DecodeError, Problems
from ..memory import check_memory
from ..source.demuxer import Demuxer, hold_on
from ..source.reasons import encrypted, is_encrypted, is_too_large, too_large
from ..source.source import Source
from ..source.streams import video_stream
from ..source.waiting import Halt, Stopped
from .clock import Clock, Mender, Stamps
from .entry import Order, entered, indexed, seeks
from .ledger import NEXT_FEW, Ledger, makes_up_stamps
from .promises import promised_end

Packets = Iterator[Packet]
Errors = Literal["warn", "ignore", "raise"]
Reach = Literal["seek", "read", "decode"]

_DEMUX_FAILURES = 8  # after so many in a row, the rest of a file is given up
_GENPTS = 1  # AVFMT_FLAG_GENPTS
_BACK = (0.0, 2.0, 8.0, 32.0, 128.0)  # seconds before the start, if a key packet is not enough


class Feed:
    """The packets of a source's video stream, for a decoder.

    Attributes:
        container, stream: those of PyAV.
        clock: the stream's clock.
        ledger: the packets read since the beginning or the last seek.
        problems: what was wrong so far.
        begin: the tick of the first picture; the decoder sets it.
        untimed: whether the container has no time stamps; the decoder sets it.

    Raises:
        ValueError: there is no video, or it exceeds the limits.
    """

    begin = 0
    untimed = False

    def __init__(
        self, source: Source, halt: Halt | None = None, *, threads: int, errors: Errors
    ) -> None:
        self.source, self._threads, self._errors = source, threads, errors
        self.limits = source.access.limits
        self.halt = halt or Halt()  # raising it ends the file here
        self.problems = Problems()
        self._process = os.getpid()
        self._open()

    def _open(self, *, again: bool = False) -> None:
        self._demuxer = Demuxer(self.source, self.halt, again=again)
        self.container = self._demuxer.container
        try:
            self._check_streams()
            self.stream = video_stream(self.container, self.source.name, self.source.access.stream)
            self._check_picture()
        except BaseException:
            self._demuxer.close()
            raise
        self.clock = _clock(self.stream)
        self._forget()
        if not makes_up_stamps(self.codec()):
            self.container.flags &= ~_GENPTS
        self.stream.codec_context.thread_count = self._threads
        self.stream.thread_type = "AUTO"  # frame threads if the codec has them, or else slices

    def _check_streams(self) -> None:
        count = len(self.container.streams)
        self.limits.check(self.source.name, "streams", count, f"a file of {count:,} streams")

    def _check_picture(self) -> None:
        """Checks the header's size. FFmpeg itself checks sizes that decoding finds."""
        context = self.stream.codec_context
        self.limits.check_picture(self.source.name, context.width, context.height)
        context.options = {**context.options, **self.limits.of_decoder()}

    def _forget(self) -> None:
        """Resets all counts, because packets are read again.

        ``problems`` stays the same object, because ``Video`` shows it.
        """
        vars(self.problems).update(vars(Problems()))
        self.ledger = Ledger(self.codec(), self.problems, self.clock)
        self._ahead: deque[Packet] = deque()  # packets that the decoder has not got yet
        self._raw: Packets = iter(())  # yields further packets
        self._last: Packet | None = None

    def close(self) -> None:
        """Frees the decoder and its threads; the user's file object stays open.

        It may be called again.
        """
        if hasattr(self, "stream"):
            context = self.stream.codec_context
            if self._process != os.getpid():
                hold_on(self.stream, context)
            elif context is not None:
                # PyAV frees a decoder while it holds the GIL, for which the decoder's threads may
                # wait to write a log. This call stops these threads, and releases the GIL.
                context.flush_buffers()
            del self.stream
        self._demuxer.close()

    def __del__(self) -> None:
        if hasattr(self, "container"):
            self.close()

    def mender(self, problems: Problems | None = None) -> Mender:
        """Makes a mender for the stamps of one iteration."""
        return Mender(self.clock, problems or self.problems, self.limits, self.source.name)

    def undercuts(self, stamp: int) -> bool:
        """See ``Following``; only for files, because a live source must not wait for packets."""
        if self._demuxer.waits:
            return False
        while self.ledger.waiting < NEXT_FEW and self._read_ahead():
            pass
        return self.ledger.undercuts(stamp)

    def later(self, packets: int) -> tuple[Stamps, Stamps]:
        """See ``Following``; only files are read ahead."""
        while not self._demuxer.waits and self.ledger.lead < packets and self._read_ahead():
            pass
        return self.ledger.later()

    def _read_ahead(self) -> bool:
        packet = next(self._raw, None)
        if packet is None:
            return False
        self._ahead.append(self.ledger.enter(packet))
        return True

    def _counted(self, packets: Packets) -> Packets:
        for packet in packets:
            if packet.is_corrupt:
                self.problems.corrupt_packets += 1
            yield packet

    def entries(self, start: float) -> Iterator[Packets]:
        """Yields packets from a key packet at or before ``start`` seconds on, then earlier ones.

        ``ledger.entry`` is the stamp of each key packet. Nothing is yielded if only a decode from
        the beginning shows the right frames.
        """
        wanted = self.clock.ticks(start)
        for back in _BACK:
            reached = self._reached(wanted - self.clock.ticks(back))
            order = Order(self.stream, self.clock, self.limits)
            found = entered(reached, order, wanted, self.clock.ticks(back))
            if found is None:
                return
            self.ledger.entry = found.pts
            yield self._entered(found.packets)
            if found.pts <= self.begin:
                return

    def _reached(self, wanted: int) -> Packets:
        """Returns packets from a key packet before the wanted tick on, or from the beginning."""
        if seeks(self.container, self.stream) and self._sought(wanted):
            self._forget()
            key = next(self.read(), None)
            if key is not None and indexed(self.container, self.stream, self.clock, self.limits):
                stamps = [ticks for ticks in (key.pts, key.dts) if ticks is not None]
                if stamps and self._sought(min(stamps) - 1):
                    return self.read()
        self.reopen()
        return self.read()

    def _sought(self, ticks: int) -> bool:
        """Seeks to a key packet at or before ``ticks``; returns False if the container cannot."""
        try:
            self._demuxer.seek(ticks, self.stream)
        except av.FFmpegError as error:
            check_memory(error, self.source.name)
            return False
        return True

    def reopen(self) -> None:
        """Starts at the beginning, with a new decoder."""
        self._demuxer.close()
        self._open(again=True)

    def numbered(self) -> Packets:
        """Yields the demuxer's next packets, with numbers."""
        return self._entered(self.read())

    def _entered(self, packets: Packets) -> Packets:
        self._raw = packets
        while True:
            if self._ahead:
                yield self._ahead.popleft()
                continue
            packet = next(self._raw, None)
            if packet is None:
                return
            yield self.ledger.enter(packet)

    def read(self) -> Packets:
        """Yields the demuxer's packets, and goes on after damaged stretches."""
        failures = 0
        while failures < _DEMUX_FAILURES:
            try:
                for packet in self._demuxer.packets(self.stream):
                    if self.halt.asked:
                        return
                    if packet.size:  # flush packets and frames dropped in AVI are empty
                        failures = 0
                        self._last = packet
                        if packet.is_keyframe and is_encrypted(packet):
                            raise ValueError(encrypted(self.source.name))
                        yield packet
                return
            except Stopped:
                self.halt.asked = True
                return
            except IndexError:  # of PyAV, at the end of a damaged TS that announces one more stream
                return
            except av.FFmpegError as error:
                failures += 1
                self.damaged(error)
        self.problems.truncated = True

    def _end(self) -> int | None:
        """Returns where the last packet ends, in bytes of the file."""
        last = self._last
        return None if last is None or last.pos is None else last.pos + last.size

    def damaged(self, error: av.FFmpegError, *, known: bool = False) -> None:
        """Counts a packet that cannot be decoded.

        Raises:
            DecodeError: the video was opened with ``errors="raise"``.
            MemoryError: the cause is a lack of memory.
        """
        check_memory(error, self.source.name)
        if is_too_large(error, self.stream, self.limits):
            raise too_large(self.source, self.limits) from error
        self.problems.corrupt_packets += not known
        if self._errors == "raise":
            raise DecodeError(
                f'{self.source.name} is damaged: {error.strerror}; errors="warn" skips the damage'
            ) from error

    def promised_end(self) -> float | None:
        """Returns when the video stream ends, in seconds of its clock, if the header has this."""
        return promised_end(self.container, self.stream, self.clock, self.limits)

    def wrapping(self) -> tuple[str, tuple[str, ...], int | None]:
        """Returns the format's title, the kinds of all streams, and their bits a second or None."""
        container = self.container
        kinds = tuple(stream.type for stream in container.streams)
        return container.format.long_name, kinds, container.bit_rate or None

    def reach(self) -> Reach:
        """Returns how a later frame is reached, see ``Video.reach``."""
        if self.untimed or not self.source.seekable:
            return "decode"
        return "seek" if seeks(self.container, self.stream) else "read"

    def codec(self) -> str:
        """Returns FFmpeg's name of the codec, not that of its decoder."""
        return self.stream.codec_context.codec.canonical_name

    def average_fps(self) -> float | None:
        """Returns frames a second, from the container or FFmpeg's guess; None if unknown."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(rate) if rate else None

    def sample_aspect_ratio(self) -> Fraction:
        """Returns width over height of a stored pixel; 1 if unknown."""
        return self.stream.sample_aspect_ratio or Fraction(1)

    def header_frames(self) -> int | None:
        """Returns the number of frames if the container has it."""
        return self.stream.frames or None


def _clock(stream: av.VideoStream) -> Clock:
    tick = stream.time_base or Fraction(1, 90_000)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return Clock(tick, max(1, round(1 / (rate * tick))))
