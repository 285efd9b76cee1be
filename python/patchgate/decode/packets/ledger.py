"""Packets in, pictures out: which packet a picture came from, and which gave none.

A decoder is given packet numbers where it expects times and gives them back with the pictures, so
what a picture's stamp is, only the container says.
"""

from __future__ import annotations

from collections import deque
from itertools import dropwhile, islice
from typing import Any, NamedTuple

from ..bitstream import HIDES, is_shown
from ..ffmpeg import Packet
from ..frames import Problems
from .clock import LOOK_AHEAD, Clock

NEXT_FEW = 6  # packets that are looked at for every picture
_HORIZON = 64  # packets after which a picture that has not come will not come
# FFmpeg cannot tell in which order these are shown. Where the container says only when a packet is
# decoded (AVI), the stamps that PyAV asks it to make up are wrong.
_ORDERUNKNOWN = ("h264", "hevc", "vvc")
# Of these every packet that is to be shown makes a picture. Others may say "as before" in a few
# bytes, and some decoders then give nothing.
_ONE_EACH = (*_ORDERUNKNOWN, "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mjpeg", "prores",
             "dnxhd", "ffv1")  # fmt: skip
_SAYS_NOTHING = 16  # bytes


def makes_up_stamps(codec: str) -> bool:
    """Whether missing stamps of this codec's packets may be made up (FFmpeg's ``genpts``)."""
    return codec not in _ORDERUNKNOWN


class Sent(NamedTuple):
    """What the container says of a packet. Times in ticks."""

    pts: int | None
    dts: int | None
    duration: int
    key: bool
    hidden: bool  # decoded for what leans on it, not shown: before an edit list, a golden frame
    damaged: bool
    size: int


UNKNOWN = Sent(None, None, 0, False, False, True, 0)


class Ledger:
    """The packets of one pass over a stream, by number, until their pictures come.

    Args:
        codec: FFmpeg's name of it.
        problems: counts the pictures that do not come.
        entry: stamp of the key packet where decoding begins; pictures before it are not whole, and
            nobody misses them. None: the file's beginning.
    """

    def __init__(self, codec: str, problems: Problems, clock: Clock) -> None:
        self._codec, self._problems, self._clock = codec, problems, clock
        self.entry: int | None = None
        self.read = 0  # packets so far
        self.failures = 0  # packets that the decoder refused, so that they are told of already
        self._now = 0  # the packet of the picture shown last, and what it says
        self._latest: tuple[Any, ...] | None = None
        self._waiting: dict[int, tuple[Any, ...]] = {}  # of ``Sent``, which takes longer to make
        self._fields: deque[int] = deque(maxlen=_HORIZON)  # interlaced pictures
        self._decoded_at: deque[int] | None = None  # stamps to give out, where there are no others
        self._hides = codec in HIDES

    def enter(self, packet: Packet) -> Packet:
        """Notes what the packet says; from here on its ``pts`` is its number."""
        pts, dts = packet.pts, packet.dts
        hidden = packet.is_discard or (self._hides and not is_shown(self._codec, packet))
        if pts is None:
            if not self.read and dts is not None and not makes_up_stamps(self._codec):
                self._decoded_at = deque()
            if self._decoded_at is not None and dts is not None and not hidden:
                self._decoded_at.append(dts)
        self.read = number = self.read + 1
        self._waiting[number] = (pts, dts, packet.duration or 0, packet.is_keyframe, hidden,
                                 packet.is_corrupt, packet.size)  # fmt: skip
        packet.pts = number
        return packet

    def sent(self, number: int | None) -> Sent:
        """What is known of a packet whose picture has not come."""
        found = None if number is None else self._waiting.get(number)
        return UNKNOWN if found is None else Sent._make(found)

    def shown(self, number: int | None, *, key: bool, interlaced: bool = False) -> int | None:
        """A picture came, next in the order of showing: its stamp.

        Where packets say only when they are decoded, pictures take these times in order: every
        picture is shown for as long as a packet is decoded.
        """
        if number is None or (sent := self._waiting.pop(number, None)) is None:
            return None
        self._now, self._latest = number, sent
        if interlaced:
            self._fields.append(number)
        if not number % _HORIZON:
            self._give_up(number - _HORIZON)
        if self._decoded_at is None:
            stamp: int | None = sent[0]
            return stamp
        if key:
            self._give_up(number)
        return self._decoded_at.popleft() if self._decoded_at else None

    @property
    def waiting(self) -> int:
        """Packets whose pictures have not come."""
        return len(self._waiting)

    @property
    def lead(self) -> int:
        """Packets read after that of the picture shown last."""
        return self.read - self._now

    def undercuts(self, stamp: int) -> bool:
        """Whether one of the next few pictures has this stamp or an earlier one."""
        for pts, _, _, _, hidden, _, _ in islice(self._waiting.values(), NEXT_FEW):
            if pts is not None and pts <= stamp and not hidden:
                return True
        return False

    def later(self) -> tuple[list[int | None], list[int | None]]:
        """Stamps of the packets whose pictures have not come, as the container has them: of packets
        before that of the picture shown last and after it, as far as a codec may reorder.

        Without the pictures that are shown before a key picture and decoded after it: they may
        lean on what is missing, and then do not come.
        """
        if self._decoded_at is not None:
            return [], list(self._decoded_at)
        near = [(number, self.sent(number)) for number in self._waiting
                if abs(number - self._now) <= LOOK_AHEAD]  # fmt: skip
        before = [sent.pts for number, sent in near if number < self._now and not sent.hidden]
        after = [sent for number, sent in near if number > self._now and not sent.hidden]
        shown = UNKNOWN if self._latest is None else Sent._make(self._latest)
        if shown.key and shown.pts is not None:
            key = shown.pts
            led = list(dropwhile(lambda s: not s.key and (s.pts or key) < key, after))
            after = led or after  # were all before it, it would be the one out of place
        return before, [sent.pts for sent in after]

    def close(self) -> None:
        """No picture comes any more."""
        self._give_up(self.read + 1)

    def _give_up(self, before: int) -> None:
        """Pictures of packets before a number will not come: a codec holds at most 16 back, and
        none that was decoded before a key picture is shown after it."""
        missing = [number for number in self._waiting if number < before]
        lost = []
        for number in missing:
            sent = Sent._make(self._waiting.pop(number))
            if self._decoded_at and not sent.hidden:
                self._decoded_at.popleft()
            of_a_field = number - 1 in self._fields or number + 1 in self._fields
            nothing = sent.size <= _SAYS_NOTHING and self._codec not in _ONE_EACH
            excused = sent.hidden or sent.damaged or nothing or of_a_field
            if not (excused or self._leads(number, sent)):
                lost.append(sent)
        told = min(self.failures, len(lost))
        self.failures -= told
        for sent in lost[told:]:
            stamp = sent.dts if sent.pts is None else sent.pts
            self._problems.lose(None if stamp is None else self._clock.seconds(stamp))

    def _leads(self, number: int, sent: Sent) -> bool:
        """Whether it is shown before the key picture where decoding began."""
        if self.entry is None or sent.pts is None or number > LOOK_AHEAD:
            return False
        return sent.pts < self.entry
