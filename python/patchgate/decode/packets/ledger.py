"""Notes which packet each picture came from, and which packets gave none.

A decoder gets packet numbers in place of times, and returns them with the pictures. So pictures
have exactly the container's stamps.
"""

from __future__ import annotations

from collections import deque
from itertools import dropwhile, islice
from typing import Any, NamedTuple

from ..bitstream import HIDES, is_shown
from ..ffmpeg import Packet
from ..frames import Problems
from .clock import LOOK_AHEAD, Clock

NEXT_FEW = 6  # packets that are checked for every picture
_HORIZON = 64  # after so many packets, a missing picture counts as lost
# FFmpeg does not know the order in which pictures of these codecs are shown. If the container has
# only times of decoding (AVI), the stamps that FFmpeg makes up (genpts) are wrong.
_ORDERUNKNOWN = ("h264", "hevc", "vvc")
# With these codecs, every packet that is not hidden gives a picture. With others, a packet of a few
# bytes may mean "as before", for which some decoders return no picture.
_ONE_EACH = (*_ORDERUNKNOWN, "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mjpeg", "prores",
             "dnxhd", "ffv1")  # fmt: skip
_MOST_EMPTY = 16  # the most bytes of a packet that may mean "as before"


def makes_up_stamps(codec: str) -> bool:
    """Whether missing stamps of this codec's packets may be made up (FFmpeg's ``genpts``)."""
    return codec not in _ORDERUNKNOWN


class Sent(NamedTuple):
    """The container's facts about a packet. Times are in ticks."""

    pts: int | None
    dts: int | None
    duration: int
    key: bool
    hidden: bool  # decoded only for later pictures: before an edit list, or a golden frame
    damaged: bool
    size: int


UNKNOWN = Sent(None, None, 0, False, False, True, 0)


class Ledger:
    """The packets of one pass over a stream, by number, until their pictures come.

    Args:
        codec: FFmpeg's name of the codec.
        problems: counts lost pictures.
        clock: the stream's clock.

    Attributes:
        entry: the stamp of the key packet where decoding begins. Pictures before it are incomplete,
            and do not count as lost. None: the file's beginning.
    """

    def __init__(self, codec: str, problems: Problems, clock: Clock) -> None:
        self._codec, self._problems, self._clock = codec, problems, clock
        self.entry: int | None = None
        self.read = 0  # the number of packets so far
        self.failures = 0  # packets that the decoder refused, which are reported already
        self._now = 0  # the packet of the picture shown last; its facts are in ``_latest``
        self._latest: tuple[Any, ...] | None = None
        self._waiting: dict[int, tuple[Any, ...]] = {}  # fields of ``Sent``; a tuple is faster
        self._fields: deque[int] = deque(maxlen=_HORIZON)  # numbers of interlaced pictures
        self._decoded_at: deque[int] | None = None  # times of decoding, if there are no stamps
        self._hides = codec in HIDES

    def enter(self, packet: Packet) -> Packet:
        """Notes a packet's facts, and sets its ``pts`` to its number."""
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
        """Returns the facts about a packet whose picture has not come yet."""
        found = None if number is None else self._waiting.get(number)
        return UNKNOWN if found is None else Sent._make(found)

    def shown(self, number: int | None, *, key: bool, interlaced: bool = False) -> int | None:
        """Notes the next picture in the order of showing, and returns its stamp.

        If packets have only times of decoding, pictures get these in order, because a picture is
        shown at the rate at which packets are decoded.
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
        """The number of packets whose pictures have not come yet."""
        return len(self._waiting)

    @property
    def lead(self) -> int:
        """The number of packets read after that of the picture shown last."""
        return self.read - self._now

    def undercuts(self, stamp: int) -> bool:
        """Whether one of the next few pictures has this stamp or an earlier one."""
        for pts, _, _, _, hidden, _, _ in islice(self._waiting.values(), NEXT_FEW):
            if pts is not None and pts <= stamp and not hidden:
                return True
        return False

    def later(self) -> tuple[list[int | None], list[int | None]]:
        """Returns the container's stamps of packets whose pictures have not come yet.

        These are packets before that of the picture shown last, and packets after it, as far as a
        codec may reorder. Pictures that are shown before a key picture and decoded after it are
        left out: if they depend on missing pictures, they do not come.
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
            after = led or after  # if all stamps are before the key's, the key's itself is wrong
        return before, [sent.pts for sent in after]

    def close(self) -> None:
        """Notes that there are no more pictures."""
        self._give_up(self.read + 1)

    def _give_up(self, before: int) -> None:
        """Counts the pictures of packets before a number as lost.

        A codec holds back at most 16 pictures, and shows none after a key picture that was decoded
        before it.
        """
        missing = [number for number in self._waiting if number < before]
        lost = []
        for number in missing:
            sent = Sent._make(self._waiting.pop(number))
            if self._decoded_at and not sent.hidden:
                self._decoded_at.popleft()
            of_a_field = number - 1 in self._fields or number + 1 in self._fields
            nothing = sent.size <= _MOST_EMPTY and self._codec not in _ONE_EACH
            excused = sent.hidden or sent.damaged or nothing or of_a_field
            if not (excused or self._leads(number, sent)):
                lost.append(sent)
        reported = min(self.failures, len(lost))
        self.failures -= reported
        for sent in lost[reported:]:
            stamp = sent.dts if sent.pts is None else sent.pts
            self._problems.lose(None if stamp is None else self._clock.seconds(stamp))

    def _leads(self, number: int, sent: Sent) -> bool:
        """Whether a picture is shown before the key picture where decoding began."""
        if self.entry is None or sent.pts is None or number > LOOK_AHEAD:
            return False
        return sent.pts < self.entry
