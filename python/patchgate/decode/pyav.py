"""The CPU reader: PyAV's demuxer and decoder, and the problems that they meet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain, dropwhile

from .ffmpeg import Frame, Packet, av
from .frames import Problems
from .packets.feed import Errors, Feed, Packets
from .packets.ledger import Ledger, Sent
from .packets.promises import ends_early, is_cut
from .source.reasons import no_frame
from .source.refusals import explained_timeout, has_late_index, late_index
from .source.source import Source
from .source.waiting import Halt, Stopped


class PyAVReader(Feed):
    """One pass over one video stream; call ``frames()`` once, then ``close()``.

    Attributes:
        first: the first frame.
        problems: what was wrong so far.
        clock: the stream's clock.

    Raises:
        ValueError: the source has no video, or no frame that can be decoded.
    """

    def __init__(
        self, source: Source, halt: Halt | None = None, *, threads: int, errors: Errors
    ) -> None:
        super().__init__(source, halt, threads=threads, errors=errors)
        try:
            self.first = self._probe()
            self._demuxer.is_open()
            self.begin = self.mender(Problems()).stamp(self.first, self)
        except BaseException:
            self.close()
            raise

    def _forget(self) -> None:
        super()._forget()
        self._shown: tuple[int, int] | None = None  # the first stamp and the latest end, in ticks
        self._count = 0  # the number of frames with a stamp

    def close(self) -> None:
        """Frees the decoder and its threads; the user's file object stays open.

        It may be called again.
        """
        self._decoded: Iterator[Frame] = iter(())
        super().close()

    def _probe(self) -> Frame:
        """Decodes the first frame, to know rotation, colour, and whether the video decodes."""
        self._probed: list[tuple[Packet, Sent]] = []
        self._probing = True
        self._decoded = self._decode_all(self._remembered(self.numbered()))
        try:
            first = next(self._decoded, None)
        except TimeoutError as error:
            raise explained_timeout(error, self.source, self.container.format.name) from error
        self._probing = False
        self.untimed = any(sent.pts is None for _, sent in self._probed[:1])
        if first is None:
            if self.halt.asked:
                raise Stopped(f"{self.source.name}: opening was stopped")
            if not self.source.seekable and has_late_index(self.source.head()):
                raise ValueError(late_index(self.source.name))
            bad, sized = self.problems.corrupt_packets, self.stream.codec_context.width > 0
            raise no_frame(self.source, self.limits, damaged=bad, sized=sized)
        return first

    def frames(self, *, start: float | None = None) -> Iterator[Frame]:
        """Yields frames in the order of showing.

        Args:
            start: seconds; the first frame may be any at or before it. None: begin with the first.

        All frames are bit for bit those of a decode from the beginning.
        """
        self._probed = []
        if start is not None and self.source.seekable and start > self.clock.seconds(self.begin):
            self._decoded = self._frames_from(start)
        else:
            self._decoded = chain([self.first], self._decoded)
        yield from self._decoded
        self.judge_end()

    def all_frames(self) -> Iterator[Frame]:
        """Yields all frames in the order of showing, even if some were read before."""
        self.reopen()
        yield from self._decode_all(self.numbered())
        self.judge_end()

    def packets(self, *, start: float | None = None) -> Packets:
        """Yields packets for another decoder, instead of ``frames``; their ``pts`` are numbers.

        They begin at the beginning, or at a key packet at or before ``start`` seconds. The stamp of
        that is ``ledger.entry``; pictures before it are incomplete. Call ``judge_end`` after the
        last packet.
        """
        self._decoded = iter(())
        probed, self._probed = self._probed, []
        if start is not None and self.source.seekable and start > self.clock.seconds(self.begin):
            packets = next(self.entries(start), None)
            if packets is None:
                self.reopen()
                packets = self.numbered()
            return self._counted(packets)
        self._shown, self._count = None, 0  # problems before the first frame stay counted
        probed += [(packet, self.ledger.sent(packet.pts)) for packet in self._ahead]
        raw, self._ahead = self._raw, deque()
        self.ledger = Ledger(self.codec(), self.problems, self.clock)
        again = [self.ledger.enter(_unnumbered(packet, sent)) for packet, sent in probed]
        return chain(again, self._counted(self._entered(raw)))

    def _remembered(self, packets: Packets) -> Packets:
        for packet in packets:
            if self._probing:
                self._probed.append((packet, self.ledger.sent(packet.pts)))
            yield packet

    def _frames_from(self, start: float) -> Iterator[Frame]:
        for packets in self.entries(start):
            frames = _from(self._decode_all(packets), self.ledger.entry)
            first = next(frames, None)
            if first is not None and self._seconds(first.pts) <= start:
                return chain([first], frames)
        self.reopen()
        return self._decode_all(self.numbered())

    def _seconds(self, pts: int | None) -> float:
        return float("inf") if pts is None else self.clock.seconds(pts)

    def _decode_all(self, packets: Packets) -> Iterator[Frame]:
        for packet in chain(self._counted(packets), [None]):
            for frame in self._decode(packet):
                if frame.is_corrupt:
                    self.problems.corrupt_frames += 1
                # Only here, because the ledger counts from the picture that was shown last.
                frame.pts = pts = self.ledger.shown(
                    frame.pts, key=frame.key_frame, interlaced=frame.interlaced_frame
                )
                self.note(pts, frame.duration)
                yield frame
                del frame  # so that the decoder can use its memory for the next frame
        self.ledger.close()

    def _decode(self, packet: Packet | None) -> list[Frame]:
        """Returns the frames that a packet completes (None: all that are left).

        There are none if the packet is damaged.
        """
        try:
            return self.stream.decode(packet)
        except av.FFmpegError as error:
            if not isinstance(error, EOFError):
                self.ledger.failures += 1
                self.damaged(error, known=packet is not None and packet.is_corrupt)
            return []

    def note(self, pts: int | None, duration: int) -> None:
        """Notes a decoded picture for ``judge_end``."""
        if pts is not None:
            end = pts + (duration or self.clock.nominal)
            begin, latest = self._shown or (pts, end)
            self._shown = begin, (latest if latest > end else end)
            self._count += 1

    def judge_end(self) -> None:
        """Compares the end of the file with the one that its header or its packets promise."""
        if self.halt.asked:
            return
        promised = self.promised_end()
        if promised is not None and self._shown is not None:
            begin, end = map(self.clock.seconds, self._shown)
            frame = max((end - begin) / self._count, self.clock.seconds(self.clock.nominal))
            self.problems.truncated |= ends_early(self.container, end, promised, frame)
        if not self._demuxer.waits:
            self.problems.truncated |= is_cut(self.container, self.source, self._end())


def _from(frames: Iterator[Frame], pts: int | None) -> Iterator[Frame]:
    """Drops the leading pictures of an open GOP, which need frames from before the seek."""
    return dropwhile(lambda f: pts is not None and f.pts is not None and f.pts < pts, frames)


def _unnumbered(packet: Packet, sent: Sent) -> Packet:
    packet.pts = sent.pts
    return packet
