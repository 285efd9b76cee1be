"""Damage to files: what disks, networks and people do, and what somebody would try on purpose."""

import numpy as np

_SPECIAL = tuple(
    value.to_bytes(4, order)
    for value in (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x10000000)
    for order in ("little", "big")
)
_MOST = 8  # places that are damaged at once


def mutated(data: bytes, other: bytes, chance: np.random.Generator) -> bytes:
    """A file with some damage; ``other``: a file that parts are taken from."""
    text = bytearray(data)
    for _ in range(int(chance.integers(1, _MOST + 1))):
        if not text:
            return bytes(text)
        kind = int(chance.integers(0, 9))
        # Headers are where numbers stand that are believed: half of the damage goes there.
        reach = len(text) if chance.integers(0, 2) else min(len(text), 512)
        at = int(chance.integers(0, reach))
        span = int(chance.integers(1, 1 + min(64, len(text) - at)))
        if kind == 0:
            text[at] ^= 1 << int(chance.integers(0, 8))
        elif kind == 1:
            text[at : at + span] = chance.bytes(span)
        elif kind in (2, 3):
            text[at : at + 4] = _SPECIAL[int(chance.integers(0, len(_SPECIAL)))]
        elif kind == 4:
            del text[at : at + span]
        elif kind == 5:
            text[at:at] = text[at : at + span]
        elif kind == 6:
            text[at : at + span] = bytes(span)
        elif kind == 7 and other:
            start = int(chance.integers(0, len(other)))
            text[at : at + span] = other[start : start + span]
        elif kind == 8 and not chance.integers(0, 4):
            del text[at:]
    return bytes(text)
