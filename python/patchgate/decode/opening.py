"""``open_video``: its arguments, and how it chooses a decoder."""

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
    """The keywords of ``open_video`` that other functions that decode frames take, too."""

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
    """Opens a video for decoding to native YUV planes.

    Args:
        source: a path, bytes, a binary file object (read from its first byte; the caller keeps and
            closes it), or an address (file, http, https, rtsp, rtsps, udp, tcp, srt, pipe). If a
            file has this name, it is opened, even if the name looks like an address. A source that
            cannot seek is read once, from its beginning.
        device: "cpu" (PyAV), or "cuda", "cuda:1", ... (NVDEC): the device of decoding and planes.
        start, end: seconds on the clock of ``pts_seconds``, which need not begin at 0. They are
            exact: from the frame shown at ``start`` (the first one if ``start`` lies before it) to
            the last frame with a stamp before ``end``. If there is none, the iteration is empty
            and a DecodeWarning is raised.
        fps: take the frames shown at start + k / fps, each at most once, so never more than the
            video has. Time stamps and durations stay those of the source.
        chunk: the number of frames of a FrameBatch. The last one, and one before a change of size,
            may have fewer; all have fewer if so many would exceed ``limits.chunk_bytes``.
        threads: the number of threads of PyAV's decoder; None: min(4, CPUs).
        errors: "warn" (damage is skipped, and one DecodeWarning at the end reports it), "ignore"
            (damage is only counted, in ``Video.problems``) or "raise" (DecodeError). NVDEC reports
            no damaged pictures, only packets that it refuses.
        format: FFmpeg's name of the format, such as "mp4", "h264" or "hls"; None: FFmpeg finds it.
        allow_playlists: open playlists and scripts (HLS, DASH, ffconcat, SDP), too, and the files
            and addresses in them. Without it, a path, bytes or a file object must be a media file,
            and nothing else is opened.
        open_timeout, read_timeout: the most seconds to the first frame, and without a packet after
            it; None: no limit. They hold for all sources but plain files and bytes, which never
            wait.
        stream: the number of the file's stream to decode, counted from 0 among all of its streams;
            None: the one that shows the video (moving before still, colour before gray masks).
        limits: the most that the video may ask for (``patchgate.Limits``).
        fallback: if NVDEC cannot decode this codec, format or size: True lets PyAV decode, copies
            its batches to the device, and one DecodeWarning says why; False raises a ValueError.

    Returns:
        A Video; iterating it yields FrameBatch after FrameBatch. On a GPU the host never waits for
        a batch: its planes are ready for the stream that is current when it is taken. It needs
        device memory for two batches and a decoder (see ``decoder_pool.py``).

    Raises:
        FileNotFoundError, PermissionError: the file is missing or cannot be read.
        TimeoutError: a timeout is over; the message names the option.
        ConnectionError, OSError: a server failed or refused.
        ValueError: the source is not a video or has no frames, or an option is out of range.
        NvdecUnavailable: (a RuntimeError) ``device`` is a CUDA device, and the driver, its video
            libraries or PyNvVideoCodec are missing; the message says what to install.
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
