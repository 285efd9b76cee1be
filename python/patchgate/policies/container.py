"""What a container tells of its frames without decoding one: times and key frames."""

from typing import Any

import torch
from torch import Tensor

from patchgate._tensors import doubles, truths, whole
from patchgate.decode.access import Access
from patchgate.decode.demuxer import Demuxer
from patchgate.decode.source import Source, VideoSource, video_stream
from patchgate.decode.timeline import Clock
from patchgate.policies.frames import Frames


def container_frames(video: VideoSource, **access: Any) -> Frames:
    """Every frame's number, time and whether the stream can be entered there: by demuxing alone.

    Args:
        video: what ``open_video`` takes and can be opened again: a path, bytes, a file object that
            can seek. A pipe can be read for this, and then no more.
        access: ``format``, ``allow_playlists``, ``open_timeout`` and ``read_timeout``, as
            ``open_video`` takes them.

    Returns:
        Frames whose ``pts`` are bit for bit those of decoding.

    Raises:
        OSError, ValueError: as ``open_video``; a stream without time stamps, or with one twice.
    """
    source = Source(video, Access(**access))
    with Demuxer(source) as demuxer:
        stream = video_stream(demuxer.container, source.name)
        demuxer.is_open()
        tick = stream.time_base
        ticks: list[int] = []
        keys: list[bool] = []
        for packet in demuxer.packets(stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.pts is None or tick is None:
                raise ValueError(
                    f"{source.name}: its frames have no time stamps; take those of decoding, "
                    "Frames(pts=batch.pts_seconds, key=batch.key_frame)"
                )
            ticks.append(packet.pts)
            keys.append(bool(packet.is_keyframe))
    if not ticks or tick is None:
        raise ValueError(f"{source.name} holds no frame")
    order = whole(ticks).argsort(stable=True)
    clock = Clock(tick, 1)
    pts = doubles([clock.seconds(ticks[i]) for i in order.tolist()])
    if bool((pts.diff() <= 0).any()):
        raise ValueError(f"{source.name}: two frames have the same time stamp")
    return Frames(pts=pts, key=truths(keys)[order])


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
