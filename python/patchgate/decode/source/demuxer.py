"""A source's container, opened: its packets, read by calls that can be abandoned."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from ..ffmpeg import Container, Packet, av
from .origins import Handle
from .refusals import refusal
from .source import Source
from .waiting import Direct, Halt, Stopped, Waiting

Answer = TypeVar("Answer")


class Demuxer:
    """Opens a source, and reads packets from it.

    ``open_timeout`` holds for all calls until ``is_open`` is called; after that, ``read_timeout``
    holds for each call. Raising the flag ``halt`` ends a call that waits, with ``Stopped``.

    Attributes:
        container: PyAV's container. Attributes that never wait may be read directly.
        waits: whether a call may wait for a server, or for the writer of a pipe.

    Raises:
        ValueError, OSError: the source is no container that can be read; the message names it.
        TimeoutError: a timeout of ``Access`` is over.
    """

    def __init__(self, source: Source, halt: Halt | None = None, *, again: bool = False) -> None:
        self.source, self._process, self._closed = source, os.getpid(), False
        self._handle = handle = source.handle()
        self._calls: Direct | Waiting = Direct()
        self.waits = handle.waits
        try:
            if handle.waits:
                reader = handle.reader
                wake = (lambda: None) if reader is None else reader.leave
                self._calls = Waiting(source.name, wake, halt or Halt())
            if again:
                self.is_open()
            else:
                self._calls.limit(source.access.open_timeout, "open_timeout", together=True)
            self.container: Container = self._call(lambda: _opened(handle, source))
        except BaseException:
            self._calls.end(lambda: _let_go(handle))
            raise

    def is_open(self) -> None:
        """Notes that there is a first frame: from now on ``read_timeout`` holds."""
        self._calls.limit(self.source.access.read_timeout, "read_timeout")

    def packets(self, stream: av.VideoStream) -> Iterator[Packet]:
        """Yields the stream's next packets. FFmpeg's errors end it; it may be called again."""
        packets = self.container.demux(stream)
        if isinstance(self._calls, Direct):
            return packets
        return iter(lambda: self._call(lambda: next(packets, None)), None)

    def seek(self, ticks: int, stream: av.VideoStream) -> None:
        """Seeks to a key packet at or before ``ticks``.

        Raises:
            av.FFmpegError: the container cannot seek.
        """
        self._call(lambda: self.container.seek(ticks, stream=stream))

    def close(self) -> None:
        """Closes the container; it may be called again.

        If a call was abandoned, the container is closed when that call returns.
        """
        if self._closed:
            return
        self._closed = True
        container, handle = self.container, self._handle
        if self._process == os.getpid():
            self._calls.end(lambda: _close(container, handle))
        else:
            hold_on(container)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.close()

    def _call(self, job: Callable[[], Answer]) -> Answer:
        """Makes a call. Errors of the user's file object take precedence over FFmpeg's."""
        reader = self._handle.reader
        try:
            answer = self._calls.call(job)
        except (Stopped, TimeoutError):
            raise
        except Exception:
            if reader is not None and reader.error is not None:
                raise reader.error from None
            raise
        if reader is not None and reader.error is not None:
            raise reader.error
        return answer


def _opened(handle: Handle, source: Source) -> Container:
    try:
        # GENPTS (PyAV's default) fills missing time stamps. Invalid bytes in titles are no error.
        return av.open(handle.file, mode="r", format=handle.format, timeout=handle.timeouts,
                       options=source.access.limits.of_decoder(),
                       container_options=handle.options, metadata_errors="replace")  # fmt: skip
    except TypeError as error:
        raise TypeError(
            f"{source.name}: its read() does not return bytes; open it in binary mode, "
            'open(path, "rb")'
        ) from error
    except av.FFmpegError as error:
        # FFmpeg's own error, which a traceback would show, has the whole address.
        raise refusal(source, error) from (None if source.has_secrets else error)
    finally:
        handle.given()


def _close(container: Container, handle: Handle) -> None:
    container.close()
    _let_go(handle)


def _let_go(handle: Handle) -> None:
    if close := getattr(handle.reader, "close", None):
        close()


def hold_on(*things: Any) -> None:
    """Never frees these: in a forked process, FFmpeg would wait for threads that do not exist."""
    for thing in things:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
