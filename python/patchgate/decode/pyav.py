"""The CPU reader: PyAV's demuxer and decoder, seeking, and what was wrong on the way."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Literal

import av
from av.packet import Packet
from av.video.stream import VideoStream

from .demuxer import Demuxer, hold_on
from .frames import DecodeError, Problems
from .memory import check_memory
from .refusals import explained_timeout, has_late_index, late_index
from .source import Source, video_stream
from .timeline import Clock
from .waiting import Halt, Stopped

Frame = av.VideoFrame
Packets = Iterator["Packet[VideoStream]"]
Errors = Literal["warn", "ignore", "raise"]

_DEMUX_FAILURES = 8  # in a row, before the rest of a file is given up
_MICROSECONDS = 1_000_000  # a container's clock


class PyAVReader:
    """One pass over one video stream; `frames()` once, then `close()`.

    Attributes: `first` (the first frame), `problems`, `clock`. ValueError where the source holds no
    video or not one frame that decodes.
    """

    def __init__(
        self, source: Source, halt: Halt | None = None, *, threads: int, errors: Errors
    ) -> None:
        self.source, self._threads, self._errors = source, threads, errors
        self.halt = halt or Halt()  # raised: the file ends here
        self.problems = Problems()
        self._process = os.getpid()
        self._open()
        try:
            self.clock = _clock(self.stream)
            self.first = self._probe()
            self._demuxer.is_open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        self._forget()
        self._demuxer = Demuxer(self.source, self.halt)
        self.container = self._demuxer.container
        try:
            self.stream = video_stream(self.container, self.source.name)
        except BaseException:
            self._demuxer.close()
            raise
        self.stream.codec_context.thread_count = self._threads
        self.stream.thread_type = "AUTO"  # frame threads where the codec has them, else slices

    def _forget(self) -> None:
        """Count anew (in the same object: Video shows it): what was read so far is read again."""
        vars(self.problems).update(vars(Problems()))
        self._shown: tuple[float, float] | None = None  # first stamp, latest end (seconds) so far
        self._count = 0  # frames with a stamp so far

    def close(self) -> None:
        """Free the decoder and its threads. Again is fine; the user's file object stays open."""
        self._decoded: Iterator[Frame] = iter(())
        if hasattr(self, "stream"):
            context = self.stream.codec_context
            if self._process != os.getpid():
                hold_on(self.stream, context)
            elif context is not None:
                # PyAV frees a decoder without letting go of Python's lock, for which the decoder's
                # threads may be waiting to write a log: here they come to rest, and it is let go.
                context.flush_buffers()
            del self.stream
        self._demuxer.close()

    def __del__(self) -> None:
        if hasattr(self, "container"):
            self.close()

    def _probe(self) -> Frame:
        """The first frame: only it knows rotation, colour and whether the video decodes at all."""
        self._probed: list[Packet[VideoStream]] = []
        self._probing = True
        self._decoded = self._decode_all(self._remembered(self._packets()))
        try:
            first = next(self._decoded, None)
        except TimeoutError as error:
            raise explained_timeout(error, self.source, self.container.format.name) from error
        self._probing = False
        if first is None:
            if self.halt.asked:
                raise Stopped(f"{self.source.name}: opening was stopped")
            if not self.source.seekable and has_late_index(self.source.head()):
                raise ValueError(late_index(self.source.name))
            bad = self.problems.corrupt_packets
            why = f"{bad} damaged packet(s), no other" if bad else "its video stream is empty"
            raise ValueError(
                f"{self.source.name} holds no frame that can be decoded: {why}; "
                "record or fetch it again"
            )
        return first

    def frames(self, *, start: float | None = None) -> Iterator[Frame]:
        """Decoded frames as presented, from the first or any frame at or before `start` seconds.

        Yields nothing that a decode from the beginning would not have given, bit for bit.
        """
        self._probed = []
        if start is not None and self.source.seekable and start > self._seconds(self.first.pts):
            self._decoded = self._frames_from(start)
        else:
            self._decoded = chain([self.first], self._decoded)
        yield from self._decoded
        self.judge_end()

    def packets(self, *, start: float | None = None) -> tuple[Packets, int | None]:
        """For another decoder, in place of `frames`: what a decode from the beginning takes, or
        from a key packet at or before `start` seconds. Call `judge_end` after the last.

        Returns:
            The packets, and the stamp of that key packet: pictures before it are not whole.
        """
        self._decoded = iter(())
        probed, self._probed = self._probed, []
        if start is not None and self.source.seekable and start > self._seconds(self.first.pts):
            for entry, packets in self._entries(start):
                return self._counted(packets), entry
            self._reopen()
            return self._counted(self._packets()), None
        self._shown, self._count = None, 0  # but what the first of them lacked stays counted
        return chain(probed, self._counted(self._packets())), None

    def _remembered(self, packets: Packets) -> Packets:
        for packet in packets:
            if self._probing:
                self._probed.append(packet)
            yield packet

    def _counted(self, packets: Packets) -> Packets:
        for packet in packets:
            self.problems.corrupt_packets += packet.is_corrupt
            yield packet

    def _frames_from(self, start: float) -> Iterator[Frame]:
        for entry, packets in self._entries(start):
            frames = self._decode_all(packets)
            first = next(_from(frames, entry), None)
            if first is not None and self._seconds(first.pts) <= start:
                return chain([first], _from(frames, entry))
        self._reopen()
        return self._decode_all(self._packets())

    def _entries(self, start: float) -> Iterator[tuple[int, Packets]]:
        """Stamps of key packets at or before `start` seconds, ever earlier, and all from there."""
        for back in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0):
            if start - back <= self._seconds(self.first.pts):
                return
            packets = self._seek(start - back)
            if packets is None:
                return
            key = next((p for p in packets if p.is_keyframe and p.size), None)
            if key is not None and key.pts is not None and self._seconds(key.pts) <= start:
                yield key.pts, chain([key], packets)

    def _seek(self, seconds: float) -> Packets | None:
        """Packets from about `seconds` on; None where the container cannot seek."""
        self._forget()
        self._decoded = iter(())
        try:
            self._demuxer.seek(int(seconds / self.clock.tick), self.stream)
        except av.FFmpegError as error:
            check_memory(error, self.source.name)
            return None
        return self._packets()

    def _reopen(self) -> None:
        self._demuxer.close()
        self._open()
        self._demuxer.is_open()

    def _seconds(self, pts: int | None) -> float:
        return float("inf") if pts is None else self.clock.seconds(pts)

    def _packets(self) -> Packets:
        """The stream's packets. Past a damaged stretch the demuxer is asked to go on."""
        failures = 0
        while failures < _DEMUX_FAILURES:
            try:
                for packet in self._demuxer.packets(self.stream):
                    if self.halt.asked:
                        return
                    if packet.size:  # the demuxer's own flush packets, and frames dropped in AVI
                        failures = 0
                        yield packet
                return
            except Stopped:
                self.halt.asked = True
                return
            except IndexError:  # PyAV, at the end of a damaged TS that announced one more stream
                return
            except av.FFmpegError as error:
                failures += 1
                self.damaged(error)
        self.problems.truncated = True

    def _decode_all(self, packets: Packets) -> Iterator[Frame]:
        for packet in self._counted(packets):
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: Packet[VideoStream] | None) -> list[Frame]:
        """The frames this packet completes (None: what is left); none where it is damaged."""
        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError as error:
            if not isinstance(error, EOFError):
                self.damaged(error, known=packet is not None and packet.is_corrupt)
            return []
        for frame in frames:
            self.problems.corrupt_frames += frame.is_corrupt
            self.note(frame.pts, frame.duration)
        return frames

    def note(self, pts: int | None, duration: int) -> None:
        """A picture was decoded: `judge_end` compares with what the header promised."""
        if pts is not None:
            end = self.clock.seconds(pts + (duration or self.clock.nominal))
            begin, latest = self._shown or (self.clock.seconds(pts), end)
            self._shown = begin, max(latest, end)
            self._count += 1

    def damaged(self, error: av.FFmpegError, *, known: bool = False) -> None:
        """Counts a packet that nothing can be made of. DecodeError where that is asked for;
        MemoryError where it is not the packet's fault."""
        check_memory(error, self.source.name)
        self.problems.corrupt_packets += not known
        if self._errors == "raise":
            raise DecodeError(
                f'{self.source.name} is damaged: {error.strerror}; errors="warn" skips the damage'
            ) from error

    def judge_end(self) -> None:
        """At the end of the file: was that the end its header, or its packet grid, promised?"""
        if self.halt.asked:
            return
        promised = self.promised_end()
        if promised is not None and self._shown is not None:
            begin, end = self._shown
            frame = max((end - begin) / self._count, self.clock.seconds(self.clock.nominal))
            self.problems.truncated |= end < promised - max(2.5 * frame, 0.005 * promised)
        if self.container.format.name == "mpegts":
            size = self.source.size() or 0
            self.problems.truncated |= all(size % packet for packet in (188, 192, 204))

    def promised_end(self) -> float | None:
        """When the video stream ends, on the clock of its stamps, if the header says so."""
        stream = self.stream
        begin = self.clock.seconds(stream.start_time or 0)
        if self.container.format.name == "avi" and stream.frames:
            return begin + self.clock.seconds(stream.frames)  # its duration follows the file's size
        if stream.duration:
            return begin + self.clock.seconds(stream.duration)
        if "matroska" in self.container.format.name:  # durations count from 0, not from the start
            begin = 0.0
        said = " ".join(v for k, v in stream.metadata.items() if k.startswith("DURATION"))
        if found := re.match(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", said):
            hours, minutes, seconds = found.groups()
            return begin + int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        if self.container.duration and len(self.container.streams) == 1:
            return begin + self.container.duration / _MICROSECONDS
        return None

    def wrapping(self) -> tuple[str, tuple[str, ...], int | None]:
        """The format's title, the kinds of all streams, and their bits a second or None."""
        container = self.container
        kinds = tuple(stream.type for stream in container.streams)
        return container.format.long_name, kinds, container.bit_rate or None

    def codec(self) -> str:
        """FFmpeg's name of the codec, not of its decoder."""
        return self.stream.codec_context.codec.canonical_name

    def average_fps(self) -> float | None:
        """Frames a second, as the container says or FFmpeg guessed; None where unknown."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        return float(rate) if rate else None

    def header_frames(self) -> int | None:
        """The number of frames, where the container says it."""
        return self.stream.frames or None


def _from(frames: Iterator[Frame], pts: int) -> Iterator[Frame]:
    """Without the leading pictures of an open GOP: they need frames from before the seek."""
    return (frame for frame in frames if frame.pts is None or frame.pts >= pts)


def _clock(stream: VideoStream) -> Clock:
    tick = stream.time_base or Fraction(1, 90_000)
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    return Clock(tick, max(1, round(1 / (rate * tick))))
