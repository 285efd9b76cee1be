"""Decoders, used again: making one takes longer than decoding many frames."""

from __future__ import annotations

import atexit
import os
import threading
from functools import lru_cache

from .decoder import Backend, Decoder, Kind, NvdecError

IDLE = 4  # decoders kept for the next video


class DecoderPool:
    """Lends decoders by codec, size, bit depth and sequence headers (``Kind``).

    Device memory: that of the decoders on loan, one for each video being read, and of at most
    ``idle`` others (see ``Decoder``); the one longest unused goes first. Any number of threads.
    """

    def __init__(self, backend: Backend, idle: int = IDLE) -> None:
        self.backend, self._idle = backend, idle
        # The collector may end an iteration, which gives its decoder back, inside of any of these.
        self._lock = threading.RLock()
        self._free: list[Decoder] = []  # the one longest unused first

    def take(self, kind: Kind) -> Decoder:
        """A decoder that has been given nothing, or everything to its end."""
        self.backend.check_process()
        with self._lock:
            for decoder in self._free:
                if decoder.kind == kind:
                    self._free.remove(decoder)
                    return decoder
        try:
            return Decoder(self.backend, kind)
        except NvdecError:
            self.clear()  # its memory may be what the other lacked
            return Decoder(self.backend, kind)

    def give(self, decoder: Decoder) -> None:
        """Takes a decoder back; what is left in it is thrown away. Not for one that failed."""
        if os.getpid() != self.backend.process:
            self._free.append(decoder)  # held on to: a fork cannot free it, and must not try
            return
        try:
            decoder.decode(None, 0)
        except NvdecError:
            decoder.close()
            return
        decoder.turn += 1  # those surfaces were nobody's
        with self._lock:
            self._free.append(decoder)
            many = max(0, len(self._free) - self._idle)
            spare, self._free[:many] = self._free[:many], []
        for one in spare:
            one.close()

    def clear(self) -> None:
        """Frees the decoders that nobody uses."""
        if os.getpid() != self.backend.process:
            return  # a fork's copies of them: not its own to free
        with self._lock:
            spare, self._free = self._free, []
        for one in spare:
            one.close()

    def __len__(self) -> int:
        return len(self._free)


@lru_cache
def decoder_pool(backend: Backend) -> DecoderPool:
    """The one pool of a device."""
    pool = DecoderPool(backend)
    atexit.register(pool.clear)  # the driver goes before Python's own last objects do
    return pool
