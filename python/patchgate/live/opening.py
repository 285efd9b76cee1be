"""``open_live``, and what its arguments mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from patchgate.decode.limits import DEFAULT_LIMITS, Limits
from patchgate.decode.pictures import Channels
from patchgate.decode.source.access import DEFAULT_TIMEOUT

from .backoff import Backoff
from .beginning import LiveSource, Transport, begin, no_event
from .events import LiveEvent
from .handover import Policy
from .live import Live


def open_live(source: LiveSource, *, policy: Policy = "newest", fps: float | None = None,
              max_delay: float | None = None, channels: Channels = "rgb",
              device: str | torch.device = "cpu", transport: Transport = "auto",
              open_timeout: float | None = DEFAULT_TIMEOUT,
              read_timeout: float | None = DEFAULT_TIMEOUT,
              reconnect: bool | Backoff = True, chunk: int = 1, room: int = 64,
              threads: int = 1, format: str | None = None, allow_playlists: bool = False,
              stream: int | None = None, options: Mapping[str, str] | None = None,
              limits: Limits = DEFAULT_LIMITS,
              on_event: Callable[[LiveEvent], None] = no_event) -> Live:  # fmt: skip
    """Opens a camera, or anything else that gives pictures as they happen.

    It returns at once: a thread of its own opens the source and reads it for as long as it is open,
    whether anybody takes its pictures or not. Every picture is decoded, because later ones depend
    on it, and dropped after that, before it is copied. A gate compares the next picture with what
    its tokens say, and not with the picture before it: so dropped pictures do no harm.

    Args:
        source: an address (rtsp, rtsps, http, https, udp, tcp, srt), a capture device
            ("v4l2:/dev/video0", "/dev/video0", "x11grab::0.0"), a pipe ("-" is standard input,
            "pipe:3", the path of a FIFO, a file object such as ``Popen.stdout``), or an iterable of
            ``(picture, seconds)``. These pictures are uint8 RGB ``[H, W, 3]`` of numpy or torch, on
            any device, or frames of PyAV; seconds may be None.
        policy: "newest": who asks for a picture gets the one that arrived last, and those before it
            are dropped. "all": none is dropped; while ``room`` of them wait, the source waits, too.
        fps: take the pictures shown at first + k / fps only.
        max_delay: with "all", pictures that have waited for longer than so many seconds are dropped
            as long as there is a later one; None: no limit. (``watch`` has a budget that also makes
            the gate coarser.)
        channels: "rgb", or "bgr" for arrays of OpenCV.
        device: the device of the planes; decoding is done on the CPU.
        transport: of RTSP. "auto" prefers TCP, which loses nothing, and takes UDP where the server
            has nothing else.
        open_timeout: the most seconds until the first picture, and for each later attempt.
        read_timeout: the most seconds without a packet after it. None: no limit.
        reconnect: whether a source that has given a picture, and fails, is opened again, after
            waits as ``Backoff`` has them. False raises its error. The end of an address or a device
            is a failure; that of a pipe or an iterable ends the iteration.
        chunk: the most frames of a batch. More than 1 makes sense with "all".
        room: the most pictures that wait, with "all".
        threads: the number of threads of the decoder, which share the slices of a picture. (Threads
            that take a picture each would hold pictures back.)
        format, allow_playlists, stream, limits: as in ``open_video``; HLS is a playlist.
        options: further options of FFmpeg for an address or a device, such as ``{"video_size":
            "1280x720", "framerate": "30"}``.
        on_event: is called with each ``LiveEvent``, in the reading thread; it should return soon.

    Returns:
        A ``Live``. Time stamps are the source's own as long as they rise. Where its clock jumps,
        starts again, or has no stamps, they go on by the time that has passed: they never run back.

    Raises:
        TypeError, ValueError: an option is out of range, or the source is a file, or an address of
            a kind that is not opened. Whatever is found out later, the first iteration raises.
    """
    given = dict(locals())
    return begin(given.pop("source"), patient=False, given=given)


def defaults() -> dict[str, Any]:
    """Returns the keywords of ``open_live`` with their defaults."""
    return {name: each.default for name, each in inspect.signature(open_live).parameters.items()
            if each.kind is each.KEYWORD_ONLY}  # fmt: skip
