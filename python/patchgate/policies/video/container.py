"""Reads the times and key frames of a video from its container; it decodes as little as it can.

Letters: N frames of the container, n decoded ones.
"""

from collections.abc import Mapping
from typing import Any, Unpack

import torch
from torch import Tensor

from patchgate._signature import spelled
from patchgate._tensors import doubles
from patchgate.decode.packets.listing import listing
from patchgate.decode.pyav import PyAVReader
from patchgate.decode.source.access import Access, AccessKwargs
from patchgate.decode.source.source import Source, VideoSource, default_threads
from patchgate.policies.frames import Frames


@spelled(Access)
def container_frames(video: VideoSource, **access: Unpack[AccessKwargs]) -> Frames:
    """Lists every frame that the video shows: its number, its time, and whether it is a key frame.

    Packets are read without decoding them. Only stretches are decoded where packets are missing and
    others may depend on them. If decoding would repair the container's time stamps (there are none,
    one is bad, the clock starts again), the whole video is decoded.

    Args:
        video: a source of ``open_video`` that can be opened again: a path, bytes or a file object
            that can seek. A pipe can be given, too: it is decoded, and cannot be read again.
        access: ``format``, ``allow_playlists``, ``stream``, ``limits``, ``open_timeout`` and
            ``read_timeout`` of ``open_video``.

    Returns:
        ``Frames`` with ``pts`` and ``key``; ``pts`` are bit for bit those of decoding.

    Raises:
        OSError, ValueError: in the cases in which ``open_video`` raises them.
    """
    source = Source(video, Access(**access))
    reader = PyAVReader(source, threads=default_threads(), errors="ignore")
    try:
        found = listing(reader)
    finally:
        reader.close()
    pts = [found.clock.seconds(ticks) for ticks in found.ticks.tolist()]
    return Frames(pts=doubles(pts), key=torch.from_numpy(found.key))


def of_access(options: Mapping[str, object]) -> dict[str, Any]:
    """Returns those of ``open_video``'s options that ``container_frames`` takes, too."""
    names = AccessKwargs.__annotations__
    return {name: value for name, value in options.items() if name in names}


def positions_of(frames: Frames, pts: Tensor) -> Tensor:
    """Finds decoded frames among a container's by their times.

    Args:
        frames: those of the container.
        pts: ``[n]`` float64, seconds.

    Returns:
        Positions in ``frames``, ``[n]`` int64.

    Raises:
        ValueError: the container has no frame of such a time.
    """
    at = torch.searchsorted(frames.pts, pts).clamp(max=max(len(frames) - 1, 0))
    strange = pts[frames.pts[at] != pts]
    if len(strange):
        raise ValueError(
            f"the container has no frame at {float(strange[0]):g} s: its stamps were repaired "
            "while decoding"
        )
    return at
