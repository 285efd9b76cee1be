"""The GPU reader: PyAV's demuxer before a hardware decoder, which lends one picture at a time.

Both readers share the demuxer, so that their stamps agree. The hardware decoder gets packet numbers
in place of times, and returns them with the pictures. So pictures have exactly the container's
stamps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from ..bitstream import Bitstream, first_picture, sequence_headers
from ..ffmpeg import Packet, av
from ..frames import DecodeError
from ..packets.feed import Errors
from ..packets.ledger import UNKNOWN, Sent
from ..pyav import PyAVReader
from ..timeline import Ahead
from .capabilities import kind_of, why_not
from .decoder import Decoder, Kind, NvdecError
from .decoder_pool import DecoderPool
from .surface import Coded, Shown, Surface

_REMEMBERED = 256  # the most packets whose pictures may still come
_FAILURES = 4  # after so many refused packets in a row, the rest is given up


class SurfaceReader:
    """One pass over a video by a hardware decoder; call ``pictures()`` once.

    Args:
        demuxed: an opened reader; it must not decode any more.
        pool: the decoders of the device.
        errors: "raise" raises a DecodeError at the first refused packet.
    """

    def __init__(self, demuxed: PyAVReader, pool: DecoderPool, errors: Errors) -> None:
        self._demuxed, self._pool, self._errors = demuxed, pool, errors
        self._codec = demuxed.codec()
        self._first = self._coded = Coded.of(demuxed.first)
        self._decoder: Decoder | None = None
        self._sent: dict[int, tuple[int, Sent]] = {}  # packet numbers of the ledger
        self._serial = 0
        self._entry: int | None = None  # stamp of the key packet where decoding (re)started
        self._headers: bytes | None = None  # those of the sequence; None: there were none yet
        self._began = False  # whether a picture has come
        self._failures = 0  # the number of refused packets in a row
        self._to_key = False  # after a refusal, packets are skipped up to the next key packet

    def pictures(self, *, start: float | None = None) -> Generator[Shown, None, None]:
        """Yields pictures in the order of showing; each is valid until the next step.

        Args:
            start: seconds; the first picture may be any at or before it. None: begin with the
                first.

        Raises:
            DecodeError: the coded picture changes to a kind that NVDEC cannot decode.
            NvdecError: NVDEC decodes no packet at all.
        """
        packets = self._demuxed.packets(start=start)
        self._entry = self._demuxed.ledger.entry
        self._bitstream = Bitstream(self._codec, self._demuxed.stream)
        self._ahead = Ahead((packet, self._stamp(packet)) for packet in packets)
        try:
            for packet in self._ahead:
                number, known = packet.pts or 0, packet.is_corrupt
                sent = self._demuxed.ledger.sent(number)
                try:
                    parts = self._bitstream.prepared(packet)
                except av.FFmpegError as error:
                    self._demuxed.damaged(error, known=known)
                    continue
                for part in parts:
                    yield from self._decoded(part, number, sent)
            yield from self._flushed()
            self._demuxed.ledger.close()
            if self._serial and not self._began:
                raise NvdecError(
                    f"{self._demuxed.source.name}: NVDEC returned no picture for {self._serial} "
                    'packets; device="cpu" uses PyAV'
                )
            self._demuxed.judge_end()
        finally:
            self._give_back()

    def _stamp(self, packet: Packet) -> int | None:
        sent = self._demuxed.ledger.sent(packet.pts)
        return None if sent.hidden else sent.pts

    def _decoded(self, packet: Packet, number: int, sent: Sent) -> Iterator[Shown]:
        if sent.key:
            yield from self._reshaped(bytes(packet))
            if self._decoder is None:
                packet = self._bitstream.entered(packet)
                self._headers = sequence_headers(self._codec, bytes(packet))
            if self._to_key:
                self._entry = sent.pts
        elif self._to_key:
            return
        self._serial += 1
        self._sent[self._serial] = number, sent
        self._sent.pop(self._serial - _REMEMBERED, None)
        yield from self._shown(lambda decoder: decoder.decode(packet, self._serial))

    def _flushed(self) -> Iterator[Shown]:
        if self._decoder is not None:
            yield from self._shown(lambda decoder: decoder.decode(None, 0))

    def _shown(self, decode: Callable[[Decoder], list[Surface]]) -> Iterator[Shown]:
        try:
            if self._decoder is None:
                self._decoder = self._pool.take(self._kind())
            surfaces = decode(self._decoder)
        except NvdecError as error:
            self._refused(error)
            return
        self._failures, self._to_key = 0, False
        self._began |= bool(surfaces)
        for surface in surfaces:
            number, sent = self._sent.pop(surface.serial, (0, UNKNOWN))
            broken = self._entry is not None and sent.pts is not None and sent.pts < self._entry
            if sent.hidden or broken:
                continue
            self._entry = None
            pts = self._demuxed.ledger.shown(number, key=sent.key)
            self._demuxed.note(pts, sent.duration)
            after = self._ahead.after(pts)
            yield Shown(surface, self._coded, pts, sent.dts, sent.duration, after, sent.key)

    def _kind(self) -> Kind:
        return kind_of(self._codec, self._coded, self._headers or b"")

    def _refused(self, error: NvdecError) -> None:
        """Counts a refused packet, and goes on at the next key packet with a new decoder."""
        if self._decoder is not None:
            self._decoder.close()
        self._decoder, self._to_key = None, True
        self._failures += 1
        self._demuxed.problems.corrupt_packets += 1
        self._demuxed.ledger.failures += 1
        name = self._demuxed.source.name
        if not self._began or self._failures >= _FAILURES:
            raise NvdecError(
                f'{name}: NVDEC cannot decode it ({error}); device="cpu" uses PyAV'
            ) from error
        if self._errors == "raise":
            raise DecodeError(
                f'{name} is damaged: {error}; errors="warn" skips the damage'
            ) from error

    def _reshaped(self, data: bytes) -> Iterator[Shown]:
        """If a new sequence begins, yields the rest of the old pictures and changes the decoder.

        The old decoder would scale a new size to the old one, and keep its number of surfaces.
        """
        headers = sequence_headers(self._codec, data)
        at_first = self._headers is None and self._entry is None  # the reader has decoded this one
        changed = headers not in (b"", self._headers)
        self._headers = headers or self._headers
        if at_first or not changed:
            return
        frame = first_picture(self._demuxed.stream.codec_context.name, data)
        coded = self._coded if frame is None else Coded.of(frame).turned_like(self._first)
        yield from self._flushed()
        reason = why_not(self._pool.backend, self._codec, coded)
        if reason is not None:
            raise DecodeError(
                f"{self._demuxed.source.name} changes from {self._coded.format.pixels} "
                f"{self._coded.format.width}x{self._coded.format.height} into something that NVDEC "
                f'does not decode: {reason}; open it with device="cpu"'
            )
        self._give_back()
        self._coded = coded

    def _give_back(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            self._pool.give(decoder)
