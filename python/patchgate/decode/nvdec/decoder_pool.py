"""Keeps decoders for the next video: making one takes longer than decoding many frames."""

from __future__ import annotations

import atexit
import os
import threading
from functools import lru_cache

from .decoder import Backend, Decoder, Kind, NvdecError

IDLE = 4  # the most decoders that are kept for the next video


class DecoderPool:
    """Lends decoders by codec, size, bit depth and sequence headers (``Kind``).

    Its device memory is that of the lent decoders, one for each video being read, and of at most
    ``idle`` others (see ``Decoder``). The one that was unused for longest is freed first. Any
    number of threads may use it.
    """

    def __init__(self, backend: Backend, idle: int = IDLE) -> None:
        self.backend, self._idle = backend, idle
        # Reentrant: the garbage collector may end an iteration inside of any of these methods, and
        # that gives a decoder back.
        self._lock = threading.RLock()
        self._free: list[Decoder] = []  # the one that was unused for longest is the first

    def take(self, kind: Kind) -> Decoder:
        """Lends a decoder that is new, or has finished its earlier video."""
        self.backend.check_process()
        with self._lock:
            for decoder in self._free:
                if decoder.kind == kind:
                    self._free.remove(decoder)
                    return decoder
        try:
            return Decoder(self.backend, kind)
        except NvdecError:
            self.clear()  # frees memory, of which there may have been too little
            return Decoder(self.backend, kind)

    def give(self, decoder: Decoder) -> None:
        """Takes a decoder back, and discards its remaining pictures. It must not have failed."""
        if os.getpid() != self.backend.process:
            self._free.append(decoder)  # kept, because a fork must not free it
            return
        try:
            decoder.decode(None, 0)
        except NvdecError:
            decoder.close()
            return
        decoder.turn += 1  # nobody holds the discarded surfaces
        with self._lock:
            self._free.append(decoder)
            many = max(0, len(self._free) - self._idle)
            spare, self._free[:many] = self._free[:many], []
        for one in spare:
            one.close()

    def clear(self) -> None:
        """Frees the unused decoders."""
        if os.getpid() != self.backend.process:
            return  # a fork must not free its copies
        with self._lock:
            spare, self._free = self._free, []
        for one in spare:
            one.close()

    def __len__(self) -> int:
        return len(self._free)


@lru_cache
def decoder_pool(backend: Backend) -> DecoderPool:
    """Returns the pool of a device; each device has one."""
    pool = DecoderPool(backend)
    atexit.register(pool.clear)  # the driver is unloaded before Python frees its last objects
    return pool
