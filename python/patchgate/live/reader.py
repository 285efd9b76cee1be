"""Reads an address, a device or a pipe as pictures, each with the time at which it arrived."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from patchgate.decode.ffmpeg import Frame, Packet
from patchgate.decode.packets.feed import Packets
from patchgate.decode.pyav import PyAVReader
from patchgate.decode.source.source import Source
from patchgate.decode.source.waiting import Halt

from .handover import Picture
from .meter import Meter

_MOST_PENDING = 64  # packets whose pictures may still come: a codec reorders 16 at most
# Their stamps are made up by FFmpeg at 25 frames a second, whatever the real rate is.
_WITHOUT_CLOCK = ("mpjpeg", "mjpeg")


class LiveReader(PyAVReader):
    """A pass over a live source. Its decoder holds no picture back for the sake of threads.

    Attributes:
        arrivals: when the packets of the pictures that come next arrived, on the meter's clock.
    """

    def __init__(self, source: Source, halt: Halt, meter: Meter, *, threads: int) -> None:
        self._meter = meter
        self._pending: dict[int, float] = {}
        self._counted_damage = 0
        self.arrivals: deque[float] = deque()
        super().__init__(source, halt, threads=threads, errors="ignore")

    def _open(self, *, again: bool = False) -> None:
        super()._open(again=again)
        # Threads that each decode a picture of their own would hold back as many pictures.
        self.stream.thread_type = "SLICE"

    def _entered(self, packets: Packets) -> Packets:
        for packet in super()._entered(packets):
            self._meter.received += 1
            if packet.pts is not None:
                self._pending[packet.pts] = self._meter.now()
                self._pending.pop(packet.pts - _MOST_PENDING, None)
            yield packet

    def _decode(self, packet: Packet | None) -> list[Frame]:
        frames = super()._decode(packet)
        for frame in frames:
            known = None if frame.pts is None else self._pending.pop(frame.pts, None)
            self.arrivals.append(self._meter.now() if known is None else known)
        return frames

    def pictures(self) -> Iterator[Picture]:
        """Yields the pictures, with the source's own time stamps."""
        timeless = self.untimed or self.container.format.name in _WITHOUT_CLOCK
        for frame in self.frames():
            stamp = None if timeless or frame.pts is None else self.clock.seconds(frame.pts)
            frame.pts = None  # otherwise the batch would check times that the source may get wrong
            self._count_damage()
            yield Picture(frame, stamp, self.arrivals.popleft(), bool(frame.key_frame),
                          bool(frame.is_corrupt))  # fmt: skip
            del frame  # so that the decoder can use its memory for the next one
        self._count_damage()

    def _count_damage(self) -> None:
        damage = self.problems.corrupt_packets + self.problems.corrupt_frames
        self._meter.corrupt += damage - self._counted_damage
        self._counted_damage = damage


class ContainerFeed:
    """A source that FFmpeg reads.

    Attributes:
        name: its name in messages.
        ends: whether its end is one: a pipe's is, that of an address is a failure.
        again: whether it can be opened again.
        iterates: False.
    """

    iterates = False

    def __init__(self, source: Source, threads: int) -> None:
        self._source, self._threads = source, threads
        self.name = source.name
        self.ends = source.address is None and not hasattr(source, "device")
        self.again = not self.ends

    @contextmanager
    def opened(self, halt: Halt, meter: Meter) -> Iterator[Iterator[Picture]]:
        """Opens it, and gives its pictures. Raising the flag ends them."""
        reader = LiveReader(self._source, halt, meter, threads=self._threads)
        try:
            yield reader.pictures()
        finally:
            reader.close()
