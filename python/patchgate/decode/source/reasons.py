"""Errors for sources without a frame; they say what to do."""

from __future__ import annotations

import errno
import re

from ..ffmpeg import Packet, av
from ..limits import Limits
from .source import Source

_ANIMATED = 0x02  # a flag of a WebP's VP8X chunk


def is_encrypted(packet: av.Packet[av.stream.Stream] | Packet) -> bool:
    """Whether the container says that a packet is encrypted."""
    return packet.has_sidedata("encryption_info")


def is_too_large(error: av.FFmpegError, stream: av.VideoStream, limits: Limits) -> bool:
    """Whether the decoder refused a picture for its size.

    Its context then has no size, or a size beyond the limit.
    """
    context = stream.codec_context
    if limits.pixels is None:
        return False
    forgotten = error.errno == errno.EINVAL and context.width == 0
    return forgotten or context.width * context.height > limits.pixels


def too_large(source: Source, limits: Limits) -> ValueError:
    """Makes the error for a picture of too many pixels; it has their number if the head has it."""
    check_head(source.name, source.head(), limits)
    return ValueError(
        f"{source.name}: a picture has more pixels than are allowed: {limits.described('pixels')}"
    )


def check_head(name: str, head: bytes, limits: Limits) -> None:
    """Raises a ``ValueError`` if a file's first bytes ask for a picture that is too large."""
    width = height = 0
    if head.startswith(b"\x89PNG"):
        width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    elif head.startswith(b"GIF8"):
        width, height = (int.from_bytes(head[at : at + 2], "little") for at in (6, 8))
    elif found := re.match(rb"YUV4MPEG2 (?=[^\n]*\bW(\d+))(?=[^\n]*\bH(\d+))", head):
        width, height = int(found[1]), int(found[2])
    limits.check_picture(name, width, height)


def encrypted(name: str) -> str:
    """Says that nothing can be decoded without a key."""
    return (
        f"{name} is encrypted (DRM): its frames need a key, and nothing here takes one; decrypt it "
        "first"
    )


def no_frame(source: Source, limits: Limits, *, damaged: int, sized: bool) -> ValueError:
    """Makes the error for a source of which nothing can be decoded.

    Args:
        source: the source.
        limits: those of the video.
        damaged: the number of damaged packets.
        sized: whether the container has the size of its pictures.
    """
    name, head = source.name, source.head()
    if head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and head[20] & _ANIMATED:
        return ValueError(
            f"{name} is an animated WebP, which the FFmpeg of PyAV {av.__version__} here does not "
            "decode; convert it first, for instance to MP4 or GIF"
        )
    why = f"{damaged} damaged packet(s), no other" if damaged else "its video stream is empty"
    hint = ""
    if damaged and not sized and limits.pixels is not None:
        hint = f". Or its pictures are larger than is allowed: {limits.described('pixels')}"
    return ValueError(
        f"{name} holds no frame that can be decoded: {why}; record or fetch it again{hint}"
    )
