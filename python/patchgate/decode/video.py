"""``Video``: an opened video, as an iterable of FrameBatch."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import torch

from .batch import FrameBatch
from .changes import described_change
from .description import Described
from .ffmpeg import Frame
from .frames import DecodeError, DecodeWarning, Problems
from .iteration import Run
from .nvdec.capabilities import why_not
from .nvdec.decoder_pool import DecoderPool
from .nvdec.surface import BorrowedPicture, Coded, Shown
from .nvdec.surface_packer import SurfacePacker
from .nvdec.surface_reader import SurfaceReader
from .openings import Openings, close_at_exit
from .packer import Packer
from .packets.clock import Clock
from .packets.feed import Errors
from .planes import FrameFormat, format_of, native
from .pool import Pool
from .pyav import PyAVReader
from .source.source import Source
from .timeline import P, Timed, clipped, resampled, timed, timed_ahead

Item = TypeVar("Item")


class Video(Described):
    """An opened video, made by ``open_video``. Iterating it yields FrameBatch after FrameBatch.

    Each ``iter()`` starts at the beginning, if the source can seek. If the source is a file object,
    a new iteration ends the one before; for paths and bytes, any number may run at the same time.

    Attributes:
        width, height: the size of the first frame as shown, with rotation applied, in pixels.
        codec: FFmpeg's name of the codec, such as "h264".
        decoder: "pyav" or "nvdec".
        device: the device of the planes.
        chunk: the number of frames of a batch.
        threads: the number of threads of PyAV's decoder.
        begin_stream_seconds: the time stamp of the first frame.
        duration_seconds: from there to the end, by the container; None: unknown.
        average_fps: frames a second; None: unknown.
        num_frames: the container's count, or an estimate (duration x rate); None: unknown.
        rotation: the degrees by which the stored picture is turned, counter-clockwise, in
            (-180, 180].
        sample_aspect_ratio: width over height of a pixel as shown, a Fraction; 1 if unknown.
        colour: the Colour of the first frame.
        container: FFmpeg's title of the file's format.
        streams: the kinds of its streams, in their order.
        bit_rate: of all streams, in bits a second; None: unknown.
        reach: how a later frame is reached: "seek"; "read": all packets before it are read;
            "decode": all frames before it are decoded, because the container has no time stamps.
        problems: the Problems of the latest iteration (before the first one: of the opening).
    """

    def __init__(self, source: Source, *, start: float | None, end: float | None,
                 fps: float | None, chunk: int, threads: int, errors: Errors,
                 device: torch.device, nvdec: DecoderPool | None, fallback: bool,
                 ) -> None:  # fmt: skip
        self._source, self._start, self._end, self._fps = source, start, end, fps
        self._name = source.name
        self.chunk, self.threads, self._errors, self.device = chunk, threads, errors, device
        self._nvdec = nvdec
        self._closed = False
        self._runs: weakref.WeakSet[Run[Any]] = weakref.WeakSet()
        self._openings = Openings(
            source, partial(PyAVReader, source, threads=threads, errors=errors)
        )
        reader = self._openings.first()
        try:
            self._describe(reader)
            if oblong := self._oblong():
                self._warn(oblong, depth=4)
            self._check_start()
            self._choose(reader, fallback)
        except BaseException:
            self.close()
            raise
        close_at_exit(self)

    def _check_start(self) -> None:
        if self._start is not None and self._start < min(0.0, self.begin_stream_seconds):
            raise ValueError(
                f"start={self._start} lies before the video; seconds count on the "
                f"video's clock, which begins at {self.begin_stream_seconds:g}, and "
                "never from the end"
            )

    def _choose(self, reader: PyAVReader, fallback: bool) -> None:
        """Chooses the decoder: NVDEC if a CUDA device was asked for and supports the video."""
        self.decoder = "pyav" if self._nvdec is None else "nvdec"
        if self._nvdec is None:
            return
        reason = why_not(self._nvdec.backend, self.codec, Coded.of(reader.first))
        if reason is None:
            return
        if not fallback:
            raise ValueError(
                f"{self._source.name} cannot be decoded by NVDEC: {reason}. fallback=True decodes "
                "it on the CPU"
            )
        self.decoder, self._nvdec = "pyav", None
        warnings.warn(
            f"{self._source.name} is decoded on the CPU by PyAV and its frames copied to "
            f"{self.device}, because {reason}",
            DecodeWarning,
            stacklevel=4,
        )

    def __iter__(self) -> Iterator[FrameBatch]:
        return self._run(self._packed)

    def _borrowed(self) -> Run[BorrowedPicture]:
        """Yields pictures in the decoder's memory, uncopied; only for the pipeline, on NVDEC."""
        return self._run(self._borrow)

    def _run(self, made_of: Callable[[PyAVReader], Iterable[Item]]) -> Run[Item]:
        if self._closed:
            raise ValueError(f"{self._source.name} is closed; open it again with open_video")
        if self._openings.follow_fork():
            self._runs = weakref.WeakSet()
        check = (lambda: None) if self._nvdec is None else self._nvdec.backend.check_process
        check()
        if self._source.is_file_object:
            for run in list(self._runs):
                run.close()
        run = Run(self._items(made_of), check)
        self._runs.add(run)
        return run

    def _items(
        self, made_of: Callable[[PyAVReader], Iterable[Item]]
    ) -> Generator[Item, None, None]:
        reader = self._openings.take()
        try:
            self.problems = reader.problems
            given = False
            for item in made_of(reader):
                given = True
                yield item
            self._report(reader, given)
        finally:
            self._openings.done(reader)

    def _selected(self, frames: Iterator[Timed[P]], clock: Clock) -> Iterator[Timed[P]]:
        if self._start is not None or self._end is not None:
            frames = clipped(frames, clock, start=self._start, end=self._end)
        if self._fps is not None:
            return resampled(frames, clock, fps=self._fps, start=self._start)
        return frames

    def _decoded(self, reader: PyAVReader) -> Iterator[Timed[Frame]]:
        frames = timed(reader.frames(start=self._start), reader.mender(), reader)
        return self._selected(frames, reader.clock)

    def _on_surfaces(self, reader: PyAVReader) -> Iterator[Timed[Shown]]:
        assert self._nvdec is not None
        surfaces = SurfaceReader(reader, self._nvdec, self._errors)
        with closing(surfaces.pictures(start=self._start)) as pictures:
            frames = timed_ahead(pictures, reader.mender(), reader)
            yield from self._selected(frames, reader.clock)

    def _borrow(self, reader: PyAVReader) -> Iterator[BorrowedPicture]:
        was: FrameFormat | None = None
        for frame in self._on_surfaces(reader):
            seconds = reader.clock.seconds(frame.ticks)
            now = frame.picture.coded.format
            if was is not None and now != was:
                self._changed(reader.problems, was, now, seconds)
            was = now
            yield BorrowedPicture(frame.picture, seconds, reader.clock.seconds(frame.span))

    def _packing(
        self, reader: PyAVReader
    ) -> tuple[Iterator[Timed[Any]], Callable[[Any], tuple[Any, FrameFormat]], Callable[..., Any]]:
        """Returns frames, the function that makes one ready to be copied, and the packer."""
        if self._nvdec is not None:
            return self._on_surfaces(reader), _as_lent, SurfacePacker
        return self._decoded(reader), _as_native, partial(Packer, pool=Pool())

    def _packed(self, reader: PyAVReader) -> Iterator[FrameBatch]:
        """Yields batches of one format each: a new size or format ends a batch early."""
        frames, ready, packing = self._packing(reader)
        packer: Any = None  # of the one kind or the other
        was: FrameFormat | None = None
        for frame in frames:
            picture, now = ready(frame.picture)
            if packer is None or now != was:
                if packer is not None and was is not None:
                    if len(packer):
                        yield packer.finish().to(self.device)
                    self._changed(reader.problems, was, now, reader.clock.seconds(frame.ticks))
                packer = packing(picture, chunk=self.chunk, clock=reader.clock,
                                 limits=reader.limits, name=self._source.name)  # fmt: skip
                was = now
            packer.add(frame, picture)
            if packer.is_full:
                yield packer.finish().to(self.device)
        if packer is not None and len(packer):
            yield packer.finish().to(self.device)

    def _changed(
        self, problems: Problems, was: FrameFormat, now: FrameFormat, seconds: float
    ) -> None:
        new_size = (was.width, was.height) != (now.width, now.height)
        reported = bool(problems.size_changes or problems.format_changes)
        if new_size:
            problems.size_changes.append((seconds, (now.width, now.height)))
        if was[2:] != now[2:]:
            problems.format_changes.append((seconds, now.pixels))
        if not reported:
            self._warn(described_change(was, now, seconds), depth=6)

    def _report(self, reader: PyAVReader, given: bool) -> None:
        """Reports all problems of an iteration in one warning, at its end."""
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

    def stop(self) -> None:
        """Ends reading, as if the video ended here.

        A read that waits for a server or a pipe ends, too, within a fraction of a second. An
        iteration still yields the frames that were read; one that has not begun yields one frame.
        Iterations that are started later read the whole video.

        Any thread and signal handlers may call it.
        """
        self._openings.stop()

    def close(self) -> None:
        """Ends every iteration and frees the decoders. The user's file object stays open."""
        self.close_within(-1)

    def close_within(self, seconds: float) -> None:
        """Does what ``close`` does, but waits for at most so many seconds (-1: for ever).

        It does not free a decoder that is busy for longer.
        """
        self._closed = True
        self.stop()
        for run in list(self._runs):
            run.close(seconds)
        self._openings.close()

    def __del__(self) -> None:
        """Closes the video: a reader that was never read refers to itself.

        Otherwise only the garbage collector would free it, or the end of Python, when decoders
        cannot be freed any more.
        """
        if hasattr(self, "_openings"):
            self._openings.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self._source.name}: an open Video cannot be pickled; send the path (or the bytes) "
            "and call open_video in the process that reads it, such as in a Dataset's __getitem__"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()


def _as_native(frame: Frame) -> tuple[Frame, FrameFormat]:
    frame = native(frame)
    return frame, format_of(frame)


def _as_lent(shown: Shown) -> tuple[Shown, FrameFormat]:
    return shown, shown.coded.format
