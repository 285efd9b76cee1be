"""``open_video``: what it accepts, and which decoder it chooses."""

from __future__ import annotations

from typing import get_args

import torch

from patchgate._check import checked_count, checked_number

from .limits import DEFAULT_LIMITS, Limits
from .nvdec.decoder import backend as nvdec_backend
from .nvdec.decoder_pool import decoder_pool
from .packets.feed import Errors
from .source.access import DEFAULT_TIMEOUT, Access, AccessKwargs
from .source.source import Source, VideoSource, default_threads
from .video import Video


class ReadKwargs(AccessKwargs, total=False):
    """Those keywords of ``open_video`` that mean the same wherever frames are decoded."""

    chunk: int
    threads: int | None
    errors: Errors


class OpenKwargs(ReadKwargs, total=False):
    """The keywords of ``open_video`` beside device, start, end and fps; it documents them."""

    fallback: bool


def open_video(source: VideoSource, *, device: str | torch.device = "cpu",
               start: float | None = None, end: float | None = None, fps: float | None = None,
               chunk: int = 16, threads: int | None = None, errors: Errors = "warn",
               fallback: bool = True, format: str | None = None, allow_playlists: bool = False,
               open_timeout: float | None = DEFAULT_TIMEOUT,
               read_timeout: float | None = DEFAULT_TIMEOUT, stream: int | None = None,
               limits: Limits = DEFAULT_LIMITS) -> Video:  # fmt: skip
    """Open a video for decoding to native YUV planes.

    source: path, bytes, a binary file object (read from its first byte; the caller keeps and closes
        it), or an address (file, http, https, rtsp, rtsps, udp, tcp, srt, pipe). A file that exists
        is that file, whatever its name. What cannot seek is read once, from its beginning.
    device: "cpu" (PyAV), or "cuda", "cuda:1", ... (NVDEC): where it is decoded and the planes are.
    start, end: seconds on the clock of ``pts_seconds``, which need not begin at 0. Frame-exact:
        from the frame shown at ``start`` (the first, where ``start`` lies before it) to the last
        stamped before ``end``. Nothing in between: an empty iteration and a DecodeWarning.
    fps: take the frames shown at start + k / fps, each at most once: never more than there are.
        Time stamps and durations stay the source's.
    chunk: frames in a FrameBatch; the last, and one before a change of size, may have fewer, and
        all where so many would exceed ``limits.chunk_bytes``.
    threads: of PyAV's decoder; None: min(4, CPUs).
    errors: "warn" (damage is skipped, and told in one DecodeWarning at the end), "ignore" (only
        counted, in ``Video.problems``) or "raise" (DecodeError). NVDEC does not tell of damaged
        pictures, only of packets that it refuses.
    format: FFmpeg's name of the format, such as "mp4", "h264" or "hls"; None: FFmpeg finds out.
    allow_playlists: open playlists and scripts (HLS, DASH, ffconcat, SDP), too, and with them the
        files and addresses that they name. Without it, a path, bytes or a file object is a media
        file, and nothing else is opened.
    open_timeout, read_timeout: seconds to the first frame, and seconds without a packet after it;
        None: for ever. They hold for all but plain files and bytes, which do not wait.
    stream: the number of the file's stream to decode, counted from 0 among all of its streams;
        None: the one that shows the video (what moves before stills, colour before gray masks).
    limits: what the video may ask for (``patchgate.Limits``).
    fallback: where NVDEC cannot decode this codec, format or size: True: PyAV does, its batches
        are copied to the device, and one DecodeWarning says why; False: ValueError.

    Returns a Video: iterate it for FrameBatch. FileNotFoundError, PermissionError; TimeoutError,
    which names the option; ConnectionError or OSError for what a server does; ValueError for what
    is not a video, has no frames, or options out of range; NvdecUnavailable (a RuntimeError)
    where a CUDA device is asked for and the driver, its video libraries or PyNvVideoCodec are not
    there, in words of what to install.

    On a GPU the host never waits for a batch: its planes are ready for the stream that is current
    when it is taken. Device memory: two batches, and a decoder (see ``decoder_pool.py``).
    """
    where = _checked_device(device)
    start, end = _checked_seconds(start, end)
    if fps is not None:
        fps = checked_number("fps", fps, 1e-9, 1e9, "frames a second")
    chunk = checked_count("chunk", chunk, 1)
    threads = default_threads() if threads is None else checked_count("threads", threads, 1)
    if errors not in get_args(Errors):
        raise ValueError(f"errors must be one of {get_args(Errors)}, got {errors!r}")
    access = Access(format, allow_playlists, open_timeout, read_timeout, stream, limits)
    opened = Source(source, access)
    nvdec = None if where.type == "cpu" else decoder_pool(nvdec_backend(where))
    return Video(opened, start=start, end=end, fps=fps, chunk=chunk, threads=threads,
                 errors=errors, device=where if nvdec is None else nvdec.backend.device,
                 nvdec=nvdec, fallback=fallback)  # fmt: skip


def _checked_device(device: str | torch.device) -> torch.device:
    try:
        where = torch.device(device)
    except (RuntimeError, TypeError):
        where = None
    if where is None or where.type not in ("cpu", "cuda"):
        raise ValueError(f'device: expected "cpu", "cuda" or "cuda:<number>", got {device!r}')
    return where


def _checked_seconds(start: float | None, end: float | None) -> tuple[float | None, float | None]:
    if start is not None:
        start = checked_number("start", start, -1e18, 1e18, "seconds")
    if end is not None:
        end = checked_number("end", end, -1e18, 1e18, "seconds")
    if start is not None and end is not None and end <= start:
        raise ValueError(f"end must lie after start, got start={start}, end={end} (seconds)")
    return start, end
