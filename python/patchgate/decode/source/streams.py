"""Which of a file's streams is the video."""

from __future__ import annotations

from ..ffmpeg import Container, av


def video_stream(container: Container, name: str, number: int | None = None) -> av.VideoStream:
    """Returns the stream that shows the video.

    Moving pictures are preferred to stills, and colour to gray masks.

    Args:
        container: the opened file.
        name: the name of the source, for messages.
        number: the number of the wanted stream among all streams of the file; None: the preferred
            one and, among equals, the one that FFmpeg chooses.

    Raises:
        ValueError: there is no such stream, or none that can be decoded.
    """
    stream = _chosen(container, name) if number is None else _wanted(container, name, number)
    if stream.codec_context is None:
        raise ValueError(
            f"{name}: no decoder for its video codec in this build of FFmpeg; convert "
            "it, for instance to H.264"
        )
    return stream


def _wanted(container: Container, name: str, number: int) -> av.VideoStream:
    streams = container.streams
    if number < len(streams) and isinstance(found := streams[number], av.VideoStream):
        return found
    has = "there is none" if number >= len(streams) else f"that is {streams[number].type}"
    videos = ", ".join(_described(stream) for stream in streams.video) or "none"
    raise ValueError(f"{name}: expected the number of a video stream, got stream={number}: {has}; "
                     f"its video streams are {videos}")  # fmt: skip


def _chosen(container: Container, name: str) -> av.VideoStream:
    videos = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not videos:
        kinds = sorted({stream.type for stream in container.streams} - {"video"})
        cover = " and a cover picture" if container.streams.video else ""
        held = ", ".join(kinds) or "nothing"
        raise ValueError(f"{name} has no video stream: it holds {held}{cover}; give a video file")
    most = max(map(_rank, videos))
    equals = [stream for stream in videos if _rank(stream) == most]
    best = container.streams.best("video")
    return next((stream for stream in equals if stream is best), equals[0])


def _rank(stream: av.VideoStream) -> tuple[bool, bool, bool, bool]:
    """Ranks a stream: whether it can be decoded, moves, depends on no other, and has colour."""
    disposition = stream.disposition
    kind = type(disposition)
    if stream.codec_context is None:
        return False, False, False, False
    still = stream.frames == 1 or bool(disposition & kind.still_image)
    pixels = stream.codec_context.pix_fmt or ""
    return True, not still, not disposition & kind.dependent, not pixels.startswith("gray")


def _is_cover(stream: av.VideoStream) -> bool:
    kind = type(stream.disposition)
    return bool(stream.disposition & (kind.attached_pic | kind.timed_thumbnails))


def _described(stream: av.VideoStream) -> str:
    context = stream.codec_context
    if context is None:
        return f"{stream.index} (no decoder)"
    return f"{stream.index} ({context.name} {context.width}x{context.height})"
