"""Writes the tokens of cameras to a folder, in files that each hold a stretch of time."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from patchgate._check import checked_count, checked_number
from patchgate.pipeline.collect import checked_whole
from patchgate.tokens import TokenChunk, TokenLayout
from patchgate.tokens.chunk import no_frames

from ..events import LiveEvent
from .index import Index, Segment, folder_name

_WAITING = 4  # segments that wait for the disk; memory holds no more
_FAREWELL = 30.0  # seconds that ``close`` waits for the disk

OnEvent = Callable[[str, LiveEvent], None]


@dataclass
class _Part:
    """The segment of a camera that is in hand."""

    camera: str
    layout: TokenLayout | None
    begin_unix: float
    begin_arrival: float  # on our clock
    end_unix: float = 0.0
    chunks: list[TokenChunk] = field(default_factory=list)
    size: int = 0  # bytes


class Segments:
    """A folder of ``VideoTokens`` in segments; ``watch(..., output=Segments(folder))`` writes it.

    A segment is a file that ``VideoTokens.load`` reads, and needs no other: it begins with a whole
    frame. It is written beside its place and moved there, and then entered in an index
    (``index.sqlite``). So what is finished can be read while the cameras go on
    (``read_segments``), and a crash loses no more than the segments in hand. A thread of its own
    writes. If the disk is full, too slow, or gone, the segment is lost, ``on_event`` is told
    ("disk"), finished ones stay, and the cameras go on; later segments are tried again.

    Args:
        folder: is made if it is not there. One program at a time writes to it.
        seconds: the length of a segment. The first of each camera is shorter, so that many cameras
            do not begin anew in the same moment.
        most_bytes: the most memory that a camera's segment in hand takes; it ends there.
        on_event: is called with a camera's name and a ``LiveEvent``, in the writing thread.

    Raises:
        OSError: the folder cannot be made or written to.
        TypeError, ValueError: a number is out of range; its index is none.
    """

    def __init__(self, folder: str | os.PathLike[str], seconds: float = 60.0,
                 most_bytes: int = 2**26, on_event: OnEvent | None = None) -> None:  # fmt: skip
        self.folder = Path(folder)
        self._seconds = checked_number("seconds", seconds, 1e-3, 1e9, "seconds")
        self._most = checked_count("most_bytes", most_bytes, 1)
        self._on_event = on_event
        self.folder.mkdir(parents=True, exist_ok=True)
        index = Index(self.folder)
        index.adopt()
        index.close()
        self._parts: dict[str, _Part] = {}
        self._begun: dict[str, int] = {}  # cameras, in their order
        self._unentered: list[Segment] = []
        self._jobs: queue.Queue[_Part | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._work, name="patchgate-segments", daemon=True)
        self._thread.start()

    def due(self, camera: str, arrived: float) -> bool:
        """Whether a camera's next frame, which arrived then on our clock, begins a new segment."""
        part = self._parts.get(camera)
        if part is None:
            return False
        number = self._begun[camera]
        # The first segments of 16 cameras end one after the other.
        share = 1.0 if number < 0 else (1 + number % 16) / 16
        return arrived - part.begin_arrival >= share * self._seconds or part.size >= self._most

    def add(self, camera: str, chunk: TokenChunk, layout: TokenLayout | None, arrived: float,
            restart: bool) -> None:  # fmt: skip
        """Adds a frame's tokens; it never waits for the disk.

        Args:
            camera: its name.
            chunk: the tokens.
            layout: theirs, if they are pixels.
            arrived: when the frame arrived, on ``time.monotonic()``.
            restart: whether the tokens are numbered from 0 again: a new segment begins.
        """
        unix = time.time() - (time.monotonic() - arrived)
        part = self._parts.get(camera)
        if part is not None and restart:
            self._finish(camera)
            self._begun[camera] = -1
            part = None
        if part is None:
            part = self._parts[camera] = _Part(camera, layout, unix, arrived)
            self._begun.setdefault(camera, len(self._begun))
        chunk = chunk._replace(features=chunk.features.detach().cpu())
        part.chunks.append(chunk)
        part.end_unix = unix
        part.size += sum(each.numel() * each.element_size() for each in chunk.tensors().values())

    def end(self, camera: str) -> None:
        """Finishes the segment of a camera that is not watched any more."""
        if camera in self._parts:
            self._finish(camera)

    def close(self) -> None:
        """Finishes all segments, and waits until they are written, for half a minute at most."""
        for camera in list(self._parts):
            self._finish(camera, wait=True)
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join(_FAREWELL)

    def _finish(self, camera: str, wait: bool = False) -> None:
        part = self._parts.pop(camera)
        try:
            self._jobs.put(part, block=wait, timeout=_FAREWELL if wait else None)
        except queue.Full:
            self._tell(camera, "the disk is too slow: a segment was lost")

    # The writing thread.

    def _work(self) -> None:
        while (part := self._jobs.get()) is not None:
            try:
                self._unentered.append(self._written(part))
                self._enter()
            except Exception as error:  # the disk; later segments are tried again
                self._tell(part.camera, f"a segment could not be written: {error}")

    def _written(self, part: _Part) -> Segment:
        tokens = checked_whole(part.chunks, no_frames(part.chunks[0]), part.layout).to("cpu")
        folder = self.folder / folder_name(part.camera)
        folder.mkdir(exist_ok=True)
        path = folder / f"{part.begin_unix:017.6f}.safetensors"
        tokens.save(path)
        seconds = float(tokens.pts_seconds[0]), float(tokens.pts_seconds[-1])
        return Segment(part.camera, path, part.begin_unix, part.end_unix, *seconds,
                       len(tokens.pts_seconds), len(tokens.features))  # fmt: skip

    def _enter(self) -> None:
        """Enters the segments that are written; those that could not be entered before, too."""
        index = Index(self.folder)
        try:
            index.enter(self._unentered)
        finally:
            index.close()
        self._unentered = []

    def _tell(self, camera: str, text: str) -> None:
        if self._on_event is not None:
            self._on_event(camera, LiveEvent("disk", text, time.monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("Segments cannot be pickled: one program at a time writes to its folder")
