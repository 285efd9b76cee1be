"""Long videos in spans: where they are cut, and how the tokens of the spans become one file.

A span begins with a key frame of the gate, so that it can be made alone.
Letters: T frames of a span, K tokens of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from patchgate.corpus.settings import Settings
from patchgate.decode import Video
from patchgate.gate import CHANGED
from patchgate.policies.video.container import container_frames
from patchgate.tokens import TokenChunk, VideoTokens
from patchgate.tokens.chunk import split
from patchgate.tokens.spill import TokenSpill

_LONGER = 1.5  # a video is cut if it has so many times the frames of a span
_AT_ONCE = 256  # frames that are copied at once

Cut = tuple[float | None, float | None]  # start and end in seconds


def cuts(
    path: str, video: Video, settings: Settings, start: float | None, end: float | None
) -> list[Cut] | None:
    """Says where a video is cut; None: it is done as a whole.

    Only its packets are read. It is cut at the container's key frame that is nearest to the length
    of a span, and where there is none near, at another frame. Videos that cannot seek are not cut,
    nor are those of which only some frames are looked at (``fps``).

    Args:
        path: the video.
        video: the same one, open.
        settings: those of the corpus, with ``span_frames``.
        start, end: the part of the video that is asked for, in seconds.
    """
    length = settings.span_frames
    if length is None or settings.fps is not None or video.reach != "seek":
        return None
    if (video.num_frames or 0) <= _LONGER * length:
        return None
    found = container_frames(path, limits=settings.limits)
    assert found.pts is not None
    assert found.key is not None
    pts, key = found.pts.numpy(), found.key.numpy()
    first = 0 if start is None else max(0, int(np.searchsorted(pts, start, "right")) - 1)
    last = len(pts) if end is None else int(np.searchsorted(pts, end, "left"))
    places = _places(key[first:last], length)
    if not places:
        return None
    times = [start, *(float(pts[first + place]) for place in places), end]
    return list(pairwise(times))


def _places(key: Any, length: int) -> list[int]:
    """Returns the frames at which spans begin, but for the first one.

    They are even, because a tubelet of two frames must not be cut.
    """
    keys = np.flatnonzero(key)
    keys = keys[keys % 2 == 0]
    places, at = [], 0
    while len(key) - at > _LONGER * length:
        wanted = at + length
        near = keys[(keys > at + length // 2) & (keys <= at + _LONGER * length)]
        at = int(near[np.abs(near - wanted).argmin()]) if len(near) else wanted + wanted % 2
        if at < len(key):
            places.append(at)
    return places


def join(
    parts: Sequence[Path],
    target: Path,
    about: Mapping[str, str],
    replace: bool,
    check: Callable[[], None],
) -> dict[str, Any]:
    """Joins the tokens of a video's spans in one file, in memory that does not grow with it.

    Args:
        parts: their files, in order.
        target: the file to write.
        about, replace: as of ``TokenSpill``.
        check: is called often; if it raises, no file is left.

    Returns:
        Columns of the index.
    """
    first = VideoTokens.load(parts[0])
    empty, _ = split(first._chunk(), 0)
    kept, begin = 0, float(first.pts_seconds[0])
    with TokenSpill(target, empty, first.layout, about, replace, first.grid) as out:
        for part in parts:
            tokens = VideoTokens.load(part)
            for chunk in _chunks(tokens, out.frames, out.tokens):
                check()
                out.add(chunk)
            kept += int((tokens.kind == CHANGED).sum())
        shape, frames, every = first.shape, out.frames, out.tokens
        until = float(tokens.shown_until()[-1])
        written = out.finish(check)
    dtype = str(first.features.dtype).removeprefix("torch.")
    return {
        "frames": frames, "begin_seconds": begin, "seconds": until - begin,
        "cells_high": shape.h, "cells_wide": shape.w, "tokens": every,
        "kept_share": kept / (frames * shape.h * shape.w), "features": first.features.shape[1],
        "dtype": dtype, "bytes": written.stat().st_size,
    }  # fmt: skip


def _chunks(tokens: VideoTokens, frames: int, before: int) -> Iterator[TokenChunk]:
    """Yields a span's tokens a few frames at a time, numbered as those of the whole video.

    Args:
        tokens: of the span.
        frames, before: the frames and tokens of the spans before it.
    """
    left, at = tokens._chunk(), 0
    while len(left.kind):
        chunk, left = split(left, _AT_ONCE, at)
        at += len(chunk.kind)
        yield chunk._replace(frame=chunk.frame + frames, source=chunk.source + before)
