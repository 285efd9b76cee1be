"""Where a video's bytes come from, and opening them with errors a user can act on."""

from __future__ import annotations

import io
import os
from typing import IO, Any

import av
from av.container import InputContainer
from av.video.stream import VideoStream

VideoSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]


class Source:
    """A path, URL, bytes, or binary file object, which can be opened again where it can seek."""

    def __init__(self, what: VideoSource) -> None:
        self._what: Any = what
        self._opened = False
        if isinstance(what, (bytes, bytearray, memoryview)):
            self._what = bytes(what)
            self.name = f"<{len(self._what)} bytes>"
        elif isinstance(what, (str, os.PathLike)):
            self._what = self.name = os.fsdecode(what)
            _check_path(self.name)
        elif hasattr(what, "read"):
            self.name = str(getattr(what, "name", None) or f"<{type(what).__name__}>")
        else:
            raise TypeError(
                f"open_video takes a path, bytes or a binary file object, got {type(what).__name__}"
            )

    @property
    def is_file_object(self) -> bool:
        """True where all readers share one position: only one of them can read."""
        return not isinstance(self._what, (str, bytes))

    @property
    def seekable(self) -> bool:
        """False for pipes and sockets: read once, from the beginning."""
        if not self.is_file_object:
            return True
        can = getattr(self._what, "seekable", None)
        return hasattr(self._what, "seek") and hasattr(self._what, "tell") and (not can or can())

    def handle(self) -> Any:
        """What `av.open` takes, standing at the first byte. RuntimeError the second time round,
        where the source cannot seek."""
        if isinstance(self._what, bytes):
            return io.BytesIO(self._what)
        if self.is_file_object and self.seekable:
            self._what.seek(0)
        elif self.is_file_object and self._opened:
            raise RuntimeError(
                f"{self.name} cannot seek, so it can be read only once; open a path "
                "or bytes to iterate again"
            )
        self._opened = True
        return self._what

    def size(self) -> int | None:
        """In bytes, or None where unknown. Leaves a file object at its end."""
        if isinstance(self._what, bytes):
            return len(self._what)
        if not self.is_file_object:
            return os.path.getsize(self._what) if os.path.exists(self._what) else None
        return self._what.seek(0, os.SEEK_END) if self.seekable else None

    def head(self) -> bytes:
        """The first bytes, or none where they cannot be had again."""
        if self.is_file_object and not self.seekable:
            return b""
        handle = self.handle()
        if not isinstance(handle, str):
            return bytes(handle.read(16))
        if not os.path.isfile(handle):
            return b""
        with open(handle, "rb") as file:
            return file.read(16)


def _check_path(path: str) -> None:
    if "://" in path or os.path.isfile(path):
        return
    if os.path.isdir(path):
        raise ValueError(f"{path} is a directory; give the path of one video file in it")
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file (looked from {os.getcwd()}); check the path")


def open_container(source: Source) -> InputContainer:
    """The demuxer of `source`. ValueError or OSError, naming the source, where there is none."""
    try:
        # GENPTS (PyAV's default) fills missing time stamps; odd bytes in titles must not stop us.
        container: InputContainer = av.open(source.handle(), mode="r", metadata_errors="replace")
        return container
    except PermissionError as error:
        raise PermissionError(f"{source.name}: no permission to read it") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{source.name}: no such file or address") from error
    except TypeError as error:
        raise TypeError(
            f"{source.name}: its read() does not give bytes; open it in binary mode, "
            'open(path, "rb")'
        ) from error
    except av.FFmpegError as error:
        raise ValueError(_why_not(source, error)) from error


def _why_not(source: Source, error: av.FFmpegError) -> str:
    if source.size() == 0:
        return f"{source.name} is empty (0 bytes); it was not written or not fetched to its end"
    if isinstance(error, EOFError):
        return (
            f"{source.name} ends before its first frame: it holds no frame at all; record or "
            "fetch it again"
        )
    if source.head()[4:8] == b"ftyp":
        return (
            f"{source.name} is an MP4 that cannot be opened: its index ('moov') is missing or "
            "damaged, as when a recording or download was cut off. Nothing can be decoded "
            "without it; fetch the file again, or repair it with a tool such as untrunc"
        )
    return (
        f"{source.name} is not a video that FFmpeg can read ({error.strerror}); check that it "
        "is a video file and whole"
    )


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The main video stream. ValueError where there is none that moves or none we can decode."""
    kinds = sorted({stream.type for stream in container.streams})
    if container.format.name == "tty":  # FFmpeg draws any text file as a film of a terminal
        raise ValueError(f"{name} is a text file, not a video")
    pictures = [s for s in container.streams.video if not _is_cover(s)]
    if not pictures:
        cover = " and a cover picture" if container.streams.video else ""
        held = ", ".join(kind for kind in kinds if kind != "video") or "nothing"
        raise ValueError(f"{name} has no video stream: it holds {held}{cover}; give a video file")
    best = container.streams.best("video")
    stream = best if best in pictures else pictures[0]
    assert isinstance(stream, VideoStream)
    if stream.codec_context is None:
        raise ValueError(
            f"{name}: no decoder for its video codec in this build of FFmpeg; convert "
            "it, for instance to H.264"
        )
    return stream


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def usable_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """min(4, usable CPUs): more has stalled FFmpeg's slice threads elsewhere."""
    return min(4, usable_cpus())
