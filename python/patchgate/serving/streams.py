"""Live streams: chunks of one video that come in request after request.

A request has all chunks of a stream so far, in order, each a video of its own with the stream's
name and its number. A chunk is gated once, with the gate's state after the chunk before it, and
what was kept of it is remembered: whatever comes later, it stays the same, byte for byte.

Letters: T tubelets, N cells of a frame, m merge side.
"""

import hashlib
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from patchgate.serving.budget import fitted, most_tokens
from patchgate.serving.gating import GatedVideo, Normalised, only_given, patch_grid, row_planes
from patchgate.serving.settings import ServingSettings
from patchgate.serving.times import ChunkName

_REMEMBERED = 512  # chunks of a stream; what was kept of older ones is forgotten


class _Chunk(NamedTuple):
    """What was kept of a chunk."""

    digest: str  # of its pixels
    kind: Tensor  # [T, N] uint8
    source: Tensor  # [T, N] int64
    threshold: float
    start_seconds: float  # since the stream's begin


@dataclass
class _Stream:
    """A stream as it is after its last chunk."""

    begun: str
    used: float  # on the clock of ``Streams``
    size: tuple[int, int] | None = None  # patches down and across
    state: dict[str, Tensor] = field(default_factory=dict)  # of the gate
    chunks: dict[int, _Chunk] = field(default_factory=dict)  # by their numbers
    count: int = 0  # chunks so far
    end_seconds: float = 0.0


class StreamVideo(NamedTuple):
    """A chunk, gated, and when it begins."""

    video: GatedVideo
    start_seconds: float


class Streams:
    """The streams that a processor remembers. Any thread may call it."""

    def __init__(
        self, settings: ServingSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._clock = settings, clock
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Stream] = OrderedDict()  # the longest unused first

    def __len__(self) -> int:
        return len(self._known)

    def opened(self, name: str, number: int) -> ChunkName:
        """Finds the stream of a chunk, or begins it with chunk 0.

        Returns:
            The chunk's name with the stream's beginning, which an engine's caches must tell apart.

        Raises:
            ValueError: the server does not gate as streams need it; it has too many streams; or
                this chunk is not the first, and the stream is not known.
        """
        if self._settings.fidelity.context != "kept":
            raise ValueError(
                f'stream {name!r}: streams need context="kept" in the server\'s settings: with '
                '"full" the tower would need the states of earlier chunks, which the engine may '
                "have dropped"
            )
        with self._lock:
            self._forget()
            stream = self._known.get(name)
            if stream is None:
                stream = self._begin(name, number)
            stream.used = self._clock()
            self._known.move_to_end(name)
            return ChunkName(name, number, stream.begun)

    def gated(
        self,
        name: ChunkName,
        rows: Tensor,
        grid_thw: tuple[int, int, int],
        seconds: float | None,
        normalised: Normalised | None = None,
    ) -> StreamVideo:
        """Gates a chunk, or returns what was kept of it before.

        Args:
            name: as ``opened`` returned it.
            rows: all patches, as a processor makes them.
            grid_thw: tubelets, and patches down and across.
            seconds: the chunk's length.
            normalised: how the processor normalised, if the rows are floats.

        Returns:
            The chunk. If nothing in it is new, its first cell is a token nevertheless, because an
            engine's item needs one.

        Raises:
            ValueError: another chunk should come; it has other pixels than the chunk that came
                under this name before, or another size; its length is not known; or it exceeds its
                budget. The stream is left as it was.
        """
        digest = _digest(rows)
        with self._lock:
            stream = self._known.get(name.stream)
            if stream is None or stream.begun != name.begun:
                raise ValueError(self._unknown(name.stream, name.number))
            chunk = stream.chunks.get(name.number)
            if chunk is None:
                chunk = self._next(stream, name, rows, grid_thw, seconds, normalised, digest)
            elif chunk.digest != digest:
                raise ValueError(
                    f"stream {name.stream!r}: chunk {name.number} came before with other pixels: "
                    "two streams have one name; give each a name of its own"
                )
        video = only_given(rows, chunk.kind, chunk.source, self._settings, chunk.threshold)
        return StreamVideo(video, chunk.start_seconds)

    def _next(
        self,
        stream: _Stream,
        name: ChunkName,
        rows: Tensor,
        grid_thw: tuple[int, int, int],
        seconds: float | None,
        normalised: Normalised | None,
        digest: str,
    ) -> _Chunk:
        """Gates the next chunk of a stream."""
        if name.number != stream.count:
            came = "was forgotten" if name.number < stream.count else "is not the next one"
            raise ValueError(
                f"stream {name.stream!r}: chunk {name.number} {came}; expected chunk {stream.count}"
            )
        if stream.size not in (None, grid_thw[1:]):
            raise ValueError(
                f"stream {name.stream!r}: its frames have {stream.size} patches, those of chunk "
                f"{name.number} {grid_thw[1:]}; begin another stream"
            )
        if seconds is None:
            raise ValueError(
                f"stream {name.stream!r}: the length of chunk {name.number} is not known; give "
                "duration in its metadata, in seconds"
            )
        settings, grid = self._settings, patch_grid(self._settings.geometry, *grid_thw[1:])
        least = 1 if stream.state else grid.h * grid.w
        most = most_tokens(settings.budget, seconds, least)
        planes = row_planes(rows, grid, normalised)
        gate, result = fitted(planes, settings.gate, most, stream.state)
        kind = result.kind.flatten(1)  # [T, N]
        if not bool((kind == 2).any()):
            kind = kind.clone()
            kind[0, 0] = 2
        chunk = _Chunk(
            digest, kind, result.source.flatten(1), gate.settings.threshold, stream.end_seconds
        )
        stream.chunks[name.number] = chunk
        stream.chunks.pop(name.number - _REMEMBERED, None)
        stream.state, stream.size = gate.state_dict(), grid_thw[1:]
        stream.count, stream.end_seconds = stream.count + 1, stream.end_seconds + seconds
        return chunk

    def _begin(self, name: str, number: int) -> _Stream:
        if number:
            raise ValueError(self._unknown(name, number))
        limits = self._settings.streams
        if len(self._known) >= limits.max_streams:
            raise ValueError(
                f"stream {name!r}: the server remembers max_streams={limits.max_streams} streams "
                f"and has as many; try again when one has had no request for "
                f"{limits.stream_seconds:g} s"
            )
        self._known[name] = stream = _Stream(uuid.uuid4().hex, self._clock())
        return stream

    def _unknown(self, name: str, number: int) -> str:
        seconds = self._settings.streams.stream_seconds
        return (
            f"stream {name!r}: chunk {number} came, and no such stream is known: it never began, "
            f"or it had no request for {seconds:g} s and was forgotten; begin again with chunk 0"
        )

    def _forget(self) -> None:
        """Drops the streams that had no request for too long."""
        oldest = self._clock() - self._settings.streams.stream_seconds
        while self._known and next(iter(self._known.values())).used < oldest:
            self._known.popitem(last=False)


def _digest(rows: Tensor) -> str:
    """Returns a digest of pixels, their dtype and their number."""
    data = rows.detach().cpu().contiguous()
    kind = f"{data.dtype} {list(data.shape)}".encode()
    pixels = data.flatten().view(torch.uint8).numpy()
    return hashlib.blake2b(kind + b"\0" + pixels.tobytes(), digest_size=16).hexdigest()
