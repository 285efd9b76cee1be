"""`open_video` and `Video`: a video as an iterable of FrameBatch."""

from __future__ import annotations

import math
import threading
import warnings
import weakref
from collections.abc import Generator, Iterator
from numbers import Real
from types import TracebackType
from typing import Self, get_args

import torch

from .frames import Colour, DecodeError, DecodeWarning, FrameBatch, Problems
from .planes import Frame, Look, Packer, colour_of, look_of, native, orientation_of
from .pool import Pool
from .pyav import Errors, PyAVReader
from .source import Source, VideoSource, default_threads
from .timeline import Timed, clipped, resampled, timed


class _Run:
    """One iteration, which another thread than the one that takes its batches may end."""

    def __init__(self, batches: Generator[FrameBatch, None, None]) -> None:
        self._batches, self._lock, self._ended = batches, threading.RLock(), False

    def __iter__(self) -> _Run:
        return self

    def __next__(self) -> FrameBatch:
        with self._lock:
            if self._ended:
                raise StopIteration
            return next(self._batches)

    def close(self) -> None:
        """Waits for the batch that is being made: its decoder cannot be freed before."""
        self._ended = True
        with self._lock:
            self._batches.close()


class Video:
    """A video, opened. Iterate it for FrameBatch; made by `open_video`.

    Each `iter()` starts afresh, as long as the source can seek. On a file object a new iteration
    ends the one before; on paths and bytes any number may run side by side.

    width, height: of the picture as shown, rotation applied, in pixels (of the first frame).
    codec: FFmpeg's name, such as "h264". decoder: "pyav".
    begin_stream_seconds: pts of the first frame. duration_seconds: from there to the end, as the
        container says, or None. average_fps: or None. num_frames: the container's count, or else
        duration x rate, or None: an estimate.
    rotation: degrees counter-clockwise that the stored picture is turned, (-180, 180].
    colour: Colour of the first frame.
    problems: Problems of the latest iteration (of the opening, before the first).
    """

    decoder = "pyav"

    def __init__(self, source: Source, *, start: float | None, end: float | None,
                 fps: float | None, chunk: int, threads: int, errors: Errors) -> None:  # fmt: skip
        self._source, self._start, self._end, self._fps = source, start, end, fps
        self._chunk, self.threads, self._errors = chunk, threads, errors
        self._closed = False
        self._runs: weakref.WeakSet[_Run] = weakref.WeakSet()
        self._pending: PyAVReader | None = self._reader()
        try:
            self._describe(self._pending)
        except BaseException:
            self.close()
            raise

    def _reader(self) -> PyAVReader:
        return PyAVReader(self._source, threads=self.threads, errors=self._errors)

    def _describe(self, reader: PyAVReader) -> None:
        first = native(reader.first)
        self.problems: Problems = reader.problems
        self.codec: str = reader.codec()
        self.colour: Colour = colour_of(first)
        turned = orientation_of(first)
        self.rotation: int = 180 if first.rotation == -180 else first.rotation
        size = (first.height, first.width) if turned.transpose else (first.width, first.height)
        self.width, self.height = size
        self._stored = f"{first.format.name}"
        begin = next(timed([reader.first], reader.clock, Problems())).ticks
        self.begin_stream_seconds: float = reader.clock.seconds(begin)
        self.average_fps: float | None = reader.average_fps()
        end = reader.promised_end()
        self.duration_seconds: float | None = None
        if end is not None:
            self.duration_seconds = end - self.begin_stream_seconds
        self.num_frames: int | None = reader.header_frames()
        if self.num_frames is None and self.duration_seconds and self.average_fps:
            self.num_frames = max(1, round(self.duration_seconds * self.average_fps))
        if self._start is not None and self._start < min(0.0, self.begin_stream_seconds):
            raise ValueError(
                f"start={self._start} lies before the video; seconds count on the "
                f"video's clock, which begins at {self.begin_stream_seconds:g}, and "
                "never from the end"
            )

    def __iter__(self) -> Iterator[FrameBatch]:
        if self._closed:
            raise ValueError(f"{self._source.name} is closed; open it again with open_video")
        if self._source.is_file_object:
            for run in list(self._runs):
                run.close()
        run = _Run(self._batches())
        self._runs.add(run)
        return run

    def _batches(self) -> Generator[FrameBatch, None, None]:
        reader, self._pending = self._pending or self._reader(), None
        try:
            self.problems = reader.problems
            given = 0
            for batch in self._packed(reader):
                given += len(batch)
                yield batch
            self._report(reader, given)
        finally:
            reader.close()

    def _selected(self, reader: PyAVReader) -> Iterator[Timed[Frame]]:
        frames = timed(reader.frames(start=self._start), reader.clock, reader.problems)
        frames = clipped(frames, reader.clock, start=self._start, end=self._end)
        if self._fps is not None:
            return resampled(frames, reader.clock, fps=self._fps, start=self._start)
        return frames

    def _packed(self, reader: PyAVReader) -> Iterator[FrameBatch]:
        """Batches of one look each: a new size or format closes the batch before its time."""
        packer: Packer | None = None
        look: Look | None = None
        pool = Pool()
        for frame in self._selected(reader):
            picture = native(frame.picture)
            now = look_of(picture)
            if packer is None or now != look:
                if packer is not None and look is not None:
                    if len(packer):
                        yield packer.finish()
                    self._changed(reader.problems, look, now, reader.clock.seconds(frame.ticks))
                packer = Packer(picture, chunk=self._chunk, clock=reader.clock, pool=pool)
                look = now
            packer.add(frame, picture)
            if len(packer) == self._chunk:
                yield packer.finish()
        if packer is not None and len(packer):
            yield packer.finish()

    def _changed(self, problems: Problems, was: Look, now: Look, seconds: float) -> None:
        new_size = (was.width, was.height) != (now.width, now.height)
        told = bool(problems.size_changes or problems.format_changes)
        if new_size:
            problems.size_changes.append((seconds, (now.width, now.height)))
        if was[2:] != now[2:]:
            problems.format_changes.append((seconds, now.pixels))
        if not told:
            self._warn(
                f"the picture changes at {seconds:.3f} s from {_look(was)} to {_look(now)}"
                f"{_recoloured(was, now)}; "
                "a new batch begins there, and at every further change",
                depth=6,
            )

    def _report(self, reader: PyAVReader, given: int) -> None:
        """Once, at the end of an iteration: what was wrong, in one warning."""
        damage = reader.problems.damage()
        if damage and self._errors == "raise":
            raise DecodeError(f"{self._source.name}: {'; '.join(damage)}")
        if damage:
            self._warn("; ".join(damage), depth=5)
        if not given:
            self._warn(
                f"no frame lies between start={self._start} and end={self._end} s: the "
                f"video begins at {self.begin_stream_seconds:g} s and lasts "
                f"{self.duration_seconds or 0:g} s",
                depth=5,
            )

    def _warn(self, what: str, *, depth: int) -> None:
        if self._errors != "ignore":
            warnings.warn(f"{self._source.name}: {what}", DecodeWarning, stacklevel=depth)

    def close(self) -> None:
        """End every iteration and free the decoders. The user's file object stays open."""
        self._closed = True
        for run in list(self._runs):
            run.close()
        if self._pending is not None:
            self._pending.close()
            self._pending = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def __repr__(self) -> str:
        fps = f"{self.average_fps:.4g} fps" if self.average_fps else "unknown fps"
        lasts = f"{self.duration_seconds:.3f} s" if self.duration_seconds else "unknown length"
        return (
            f"Video({self._source.name!r}, {self.codec}, {self._stored}, {self.width}x"
            f"{self.height}, {fps}, {lasts}, {self.colour})"
        )


def _recoloured(was: Look, now: Look) -> str:
    if (was.space, was.range) == (now.space, now.range):
        return ""
    return ", with other colours: RGB made of its tokens takes the first matrix for all"


def _look(look: Look) -> str:
    turned = f" turned by {look.rotation}" if look.rotation else ""
    return f"{look.width}x{look.height} {look.pixels}{turned}"


def open_video(source: VideoSource, *, device: str | torch.device = "cpu",
               start: float | None = None, end: float | None = None, fps: float | None = None,
               chunk: int = 16, threads: int | None = None, errors: Errors = "warn",
               ) -> Video:  # fmt: skip
    """Open a video for decoding to native YUV planes.

    source: path, URL, bytes, or a binary file object (read from its first byte; the caller keeps
        and closes it). One that cannot seek is read once and decoded from its beginning.
    device: "cpu" (PyAV).
    start, end: seconds on the clock of `pts_seconds`, which need not begin at 0. Frame-exact: from
        the frame shown at `start` (the first, where `start` lies before it) to the last stamped
        before `end`. Nothing in between: an empty iteration and a DecodeWarning.
    fps: take the frames shown at start + k / fps, each at most once: never more than there are.
        Time stamps and durations stay the source's.
    chunk: frames in a FrameBatch; the last, and one before a change of size, may have fewer.
    threads: of the decoder; None: min(4, CPUs).
    errors: "warn" (damage is skipped, and told in one DecodeWarning at the end), "ignore" (only
        counted, in `Video.problems`) or "raise" (DecodeError).

    Returns a Video: iterate it for FrameBatch. FileNotFoundError, PermissionError; ValueError for
    what is not a video, has no frames, or options out of range.
    """
    _check_device(device)
    _check_seconds(start, end)
    if fps is not None and not (_is_number("fps", fps) and math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number of frames a second or None, got {fps}")
    threads = default_threads() if threads is None else threads
    for name, count in (("chunk", chunk), ("threads", threads)):
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {count!r}")
    if errors not in get_args(Errors):
        raise ValueError(f"errors must be one of {get_args(Errors)}, got {errors!r}")
    return Video(Source(source), start=start, end=end, fps=fps, chunk=chunk, threads=threads,
                 errors=errors)  # fmt: skip


def _check_device(device: str | torch.device) -> None:
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError):
        raise ValueError(f'device: expected "cpu", got {device!r}') from None
    if kind != "cpu":
        raise ValueError(
            f"open_video decodes on the CPU only in this release, got device="
            f"{str(device)!r}; decoding on the GPU (NVDEC) comes with another. Use "
            'device="cpu" and move the planes'
        )


def _is_number(name: str, value: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number or None, got {value!r}")
    return True


def _check_seconds(start: float | None, end: float | None) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (_is_number(name, value) and math.isfinite(value)):
            raise ValueError(f"{name} must be a finite number of seconds or None, got {value}")
    if start is not None and end is not None and end <= start:
        raise ValueError(f"end must lie after start, got start={start}, end={end} (seconds)")
