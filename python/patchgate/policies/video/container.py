"""What a container tells of its frames, decoding as few as can be: times and key frames."""

from collections.abc import Mapping
from dataclasses import fields
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
    """Every frame that is shown: its number, its time and whether the stream can be entered there.

    Packets are read and not decoded, but for stretches where some are missing and others may lean
    on them. Where the container's time stamps are not what decoding makes of them (there are none,
    one is bad, the clock begins again) the whole video is decoded.

    Args:
        video: what ``open_video`` takes and can be opened again: a path, bytes, a file object that
            can seek. A pipe can be read for this, is decoded, and can then be read no more.
        access: ``format``, ``allow_playlists``, ``stream``, ``limits``, ``open_timeout`` and
            ``read_timeout``, as ``open_video`` takes them.

    Returns:
        Frames whose ``pts`` are bit for bit those of decoding.

    Raises:
        OSError, ValueError: as ``open_video``.
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
    """Those of ``open_video``'s options that ``container_frames`` takes."""
    names = {field.name for field in fields(Access)}
    return {name: value for name, value in options.items() if name in names}


def positions_of(frames: Frames, pts: Tensor) -> Tensor:
    """Where decoded frames stand among a container's, ``[n]``.

    Raises:
        ValueError: a time stamp that the container does not have.
    """
    at = torch.searchsorted(frames.pts, pts).clamp(max=max(len(frames) - 1, 0))
    strange = pts[frames.pts[at] != pts]
    if len(strange):
        raise ValueError(
            f"the container has no frame at {float(strange[0]):g} s: its stamps were repaired "
            "while decoding"
        )
    return at
