"""``Watch``: many cameras and one tower, as an iterator of ``Seen``."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

from patchgate.encoders.gated.tower import GatedTower
from patchgate.gate.memory import TokenIdsUsedUp
from patchgate.pipeline import push_together
from patchgate.tokens import TokenChunk

from .batch import LiveBatch
from .beginning import LiveKwargs, LiveSource
from .camera import Camera, CameraStats, Seen
from .changes import Box
from .events import LiveEvent
from .store import Segments

_POLL = 0.2  # seconds after which silence is looked for
_FAREWELL = 0.8  # seconds that ``close`` waits at most

OnTokens = Callable[[str, TokenChunk], None]
OnChange = Callable[[str, list[Box], float], None]
OnEvent = Callable[[str, LiveEvent], None]
Opened = Callable[[str, Any, Mapping[str, Any], Callable[[LiveEvent], None]], Camera]


class Watch:
    """Many cameras and one tower, made by ``watch``. Iterating it yields ``Seen`` after ``Seen``.

    All of the work is done in the thread that iterates (or is in ``run``): in rounds, each of
    which takes at most one frame of each camera, and brings them through the tower together.
    ``add``, ``remove``, ``stats`` and ``close`` may be called in any thread.
    """

    def __init__(self, opened: Opened, on_tokens: OnTokens | None, on_change: OnChange | None,
                 on_event: OnEvent | None, output: Segments | None) -> None:  # fmt: skip
        """``opened``: opens a camera, of its name, its source, options and a hearer of events."""
        self._opened = opened
        self._on_tokens, self._on_change, self._on_event = on_tokens, on_change, on_event
        self._output = output
        self._cameras: dict[str, Camera] = {}
        self._lock = threading.Lock()
        self._new = threading.Event()  # something may have happened
        self._told: deque[tuple[str, LiveEvent]] = deque()
        self._seen: deque[Seen] = deque()
        self._gone: dict[str, CameraStats] = {}
        self._closed = False
        self._listened = 0.0  # when silence was looked for last

    def add(self, name: str, source: LiveSource, **options: Unpack[LiveKwargs]) -> None:
        """Begins to watch another camera.

        Args:
            name: its name, which no other has.
            source: as ``open_live`` takes it.
            options: keywords of ``open_live`` for this camera, in place of those of ``watch``.

        Raises:
            TypeError, ValueError: the name is used, or ``open_live`` refuses the source.
        """
        if not isinstance(name, str):
            raise TypeError(f"camera: expected a name, got {name!r}")
        with self._lock:
            if self._closed:
                raise ValueError("watch: it is closed")
            if name in self._cameras:
                raise ValueError(f"camera: {name!r} is watched already; remove it first")
            camera = self._opened(name, source, options, lambda e: self._hear(name, e))
            self._cameras[name] = camera
        self._new.set()

    def remove(self, name: str) -> None:
        """Ends watching a camera. Tokens that were made of its frames are still given.

        Raises:
            KeyError: there is no such camera.
        """
        with self._lock:
            self._gone.pop(name, None)
            camera = self._cameras.pop(name)
        camera.live.close()
        self._new.set()

    @property
    def stats(self) -> dict[str, CameraStats]:
        """The numbers of each camera at this moment, and the last ones of those that have ended."""
        return {**self._gone, **{camera.name: camera.stats() for camera in self._all()}}

    def run(self) -> None:
        """Watches until it is closed, or all cameras have ended; the callbacks get everything."""
        for _ in self:
            pass

    def __iter__(self) -> Iterator[Seen]:
        return self

    def __next__(self) -> Seen:
        """Returns the next tokens of any camera. Works and waits until there are some."""
        while not self._seen:
            if self.ended:
                raise StopIteration
            self._tell()
            self._round(_POLL)
        return self._seen.popleft()

    @property
    def ended(self) -> bool:
        """Whether it was closed or stopped, or all cameras have ended and all is told."""
        return self._closed or not (self._cameras or self._told)

    def work(self, seconds: float) -> list[Seen]:
        """Does one round: the newest frame of each camera, or a wait of so many seconds for one.

        A program with a loop of its own calls it instead of iterating. It returns what was found.
        """
        self._tell()
        self._round(seconds)
        found = list(self._seen)
        self._seen.clear()
        return found

    def stop(self) -> None:
        """Asks for the end, which comes in a fraction of a second. Signal handlers may call it."""
        self._closed = True

    def close(self) -> None:
        """Ends the iteration and closes all cameras, within a second."""
        with self._lock:
            self._closed = True
            cameras, self._cameras = list(self._cameras.values()), {}
        self._new.set()
        for camera in cameras:
            camera.live.close_within(0)
        end = time.monotonic() + _FAREWELL
        for camera in cameras:
            camera.live.close_within(end - time.monotonic())

    # The work of a round.

    def _round(self, seconds: float) -> None:
        frames = self._arrived()
        if not frames:
            self._new.wait(min(seconds, _POLL))
            self._new.clear()
            return
        restarts = {camera: camera.prepare(batch, self._due(camera, batch))
                    for camera, batch in frames.items()}  # fmt: skip
        chunks = self._pushed(frames, restarts)
        ready = time.monotonic()
        for camera, chunk in chunks.items():
            seen = camera.done(frames[camera], chunk, restarts[camera], ready)
            if seen is not None:
                self._give(seen)

    def _due(self, camera: Camera, frames: LiveBatch) -> bool:
        """Whether a new segment begins with a frame."""
        assert frames.arrived is not None
        return self._output is not None and self._output.due(camera.name, float(frames.arrived[0]))

    def _arrived(self) -> dict[Camera, LiveBatch]:
        """Takes a frame of each camera that has one."""
        found, now = {}, time.monotonic()
        due = now - self._listened >= _POLL
        if due:
            self._listened = now
        for camera in self._all():
            try:
                batch = camera.live.poll()
            except StopIteration:
                self._leave(camera)
                continue
            except Exception as error:  # of one camera: the others go on
                self._hear(camera.name, LiveEvent("failed", str(error), time.monotonic()))
                self._leave(camera)
                continue
            if batch is not None:
                self._comes_back(camera)
                found[camera] = batch
            else:
                self._listen(camera)
                if due:
                    self._look_for_silence(camera, now)
        return found

    def _pushed(
        self, frames: dict[Camera, LiveBatch], restarts: dict[Camera, bool]
    ) -> dict[Camera, TokenChunk]:
        """Makes the tokens of all frames together, or, if that fails, of each alone."""
        try:
            chunks = push_together({each.tokenizer: batch for each, batch in frames.items()})
            return dict(zip(frames, chunks, strict=True))
        except Exception:  # whose fault it is shows when each is alone
            return {camera: chunk for camera, batch in frames.items()
                    if (chunk := self._alone(camera, batch, restarts)) is not None}  # fmt: skip

    def _alone(
        self, camera: Camera, batch: LiveBatch, restarts: dict[Camera, bool]
    ) -> TokenChunk | None:
        try:
            try:
                return camera.tokenizer.push(batch)
            except TokenIdsUsedUp:
                camera.tokenizer.reset()
                restarts[camera] = True
                return camera.tokenizer.push(batch)
        except Exception as error:
            camera.failures += 1
            if not camera.failed:  # once, until a frame succeeds
                text = f"{camera.name}: its tokens cannot be made: {error}"
                self._hear(camera.name, LiveEvent("failed", text, time.monotonic()))
            camera.failed = True
            return None

    def _give(self, seen: Seen) -> None:
        """Hands the tokens of a frame to the callbacks and to the iteration."""
        camera = self._cameras.get(seen.camera)
        if camera is not None and camera.failed:
            camera.failed = False
            self._hear(seen.camera, LiveEvent("back", "its tokens are made again", seen.ready))
        self._seen.append(seen)
        if self._output is not None:
            arrived = seen.ready - seen.delay
            self._output.add(seen.camera, seen.chunk, seen.layout, arrived, seen.restart)
        if self._on_tokens is not None:
            self._on_tokens(seen.camera, seen.chunk)
        if self._on_change is not None and (boxes := seen.boxes()):
            self._on_change(seen.camera, boxes, float(seen.chunk.pts_seconds[-1]))
        if seen.scene_cut:
            self._hear(seen.camera, LiveEvent("scene cut", "a whole frame is new", seen.ready))

    # What is heard of cameras, which may come from their threads.

    def _hear(self, name: str, event: LiveEvent) -> None:
        self._told.append((name, event))
        self._new.set()

    def _tell(self) -> None:
        """Calls ``on_event`` for all that was heard, in this thread."""
        while self._told:
            name, event = self._told.popleft()
            if self._on_event is not None:
                self._on_event(name, event)

    def _listen(self, camera: Camera) -> None:
        if camera.listening:
            return
        camera.listening = True

        def wake() -> None:
            camera.listening = False
            self._new.set()

        camera.live.on_change(wake)

    def _look_for_silence(self, camera: Camera, now: float) -> None:
        """Tells that an iterable is silent; threads of other sources know that themselves."""
        limit, last = camera.read_timeout, camera.live.last_arrival
        if limit is not None and last is not None and now - last > limit and not camera.stalled:
            camera.stalled = True
            text = f"{camera.live.name} gave nothing within read_timeout={limit:g} seconds"
            self._hear(camera.name, LiveEvent("stalled", text, time.monotonic()))

    def _comes_back(self, camera: Camera) -> None:
        if camera.stalled:
            camera.stalled = False
            self._hear(camera.name, LiveEvent("back", "it gives pictures again", time.monotonic()))

    def _leave(self, camera: Camera) -> None:
        with self._lock:
            if self._cameras.get(camera.name) is camera:
                del self._cameras[camera.name]
                self._gone[camera.name] = camera.stats()
        if self._output is not None:
            self._output.end(camera.name)

    def _all(self) -> list[Camera]:
        with self._lock:
            return list(self._cameras.values())

    def __repr__(self) -> str:
        return f"Watch({', '.join(camera.name for camera in self._all())})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()


def tower_device(tower: GatedTower | None) -> str:
    """Returns where the planes of cameras go: to the tower, or to the CPU."""
    return "cpu" if tower is None else str(next(tower.parameters()).device)
